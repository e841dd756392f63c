/** `File`: the methods of Node's FileHandle, by direct I/O wherever that's possible. */

import type { NonSharedBuffer } from "node:buffer";
import type { OpenedFile } from "../ports/opened-file.js";
import { type Done, FEW_WAIT, WAITS } from "../protocol/acceptance.js";
import { type Direction, READ, WRITE } from "../protocol/direction.js";
import { EFAULT, EINVAL } from "../protocol/errno.js";
import type { Operation } from "../protocol/scheme.js";
import type { SegmentLocation } from "../protocol/segment.js";
import {
  asOfNow,
  checkSubmission,
  notAView,
  type ReadOptions,
  type ReadOptionsWithBuffer,
  readArguments,
  vectorOf,
  type WriteOptions,
  writeArguments,
} from "./arguments.js";
import { DirectRequests } from "./direct-requests.js";
import { FileCalls } from "./file-calls.js";
import type { FileHost } from "./file-host.js";
import { FileLifetime } from "./file-lifetime.js";
import { FileOptions } from "./file-options.js";
import type { IoPaths } from "./io-paths.js";
import { isExcluded } from "./memory-copies.js";
import { fileClosed, naming } from "./node-errors.js";
import { OwnPosition } from "./own-position.js";
import { writePositionOf } from "./position-arguments.js";
import type { FileFeatures, RequestOptions, UsualHow } from "./request-options.js";
import { StorageFile } from "./storage-file.js";
import type { Transfers } from "./transfers.js";

/**
 * File with the methods, arguments, results and errors of a FileHandle of node:fs/promises. Its I/O goes around the
 * page cache wherever that's possible. Calls with a position run in any order; calls at the file's own position run one
 * after the other; each appending call is a single system call. Within an engine, buffered and direct writes of one
 * file take turns.
 *
 * @example
 * ```ts
 * const file = await engine.openFile("data.bin", "r");
 * await file.read(buffer, { position: 0 });
 * for await (const chunk of file.createReadStream({ start: 4096 })) console.log(chunk.length);
 * await file.close();
 * ```
 */
export class File extends StorageFile {
  readonly #host: FileHost;
  readonly #opened: OpenedFile;
  readonly #transfers: Transfers;
  readonly #paths: IoPaths;
  readonly #position: OwnPosition;
  readonly #requests: DirectRequests;
  readonly #options: FileOptions;
  /** @internal */
  protected override readonly calls: FileCalls;

  /**
   * Not for callers: `engine.openFile()` opens files.
   *
   * @internal
   */
  constructor(host: FileHost, opened: OpenedFile, usual: UsualHow) {
    super(host, new FileLifetime(host, opened, usual));
    const { transfers, paths } = this.lifetime;
    this.#host = host;
    this.#opened = opened;
    this.#transfers = transfers;
    this.#paths = paths;
    this.#position = new OwnPosition(opened.calls, !opened.traits.shared && paths.hasDirectWrites);
    this.#requests = new DirectRequests(host, opened, this.lifetime);
    this.#options = new FileOptions(host, this.lifetime, this.#requests);
    this.calls = new FileCalls(host, this.lifetime, this.#requests, this.#position);
  }

  /**
   * Descriptor that goes through the page cache, for APIs that take one; -1 once the file is closed. As with a
   * FileHandle, its users may move the file's own position. So once this property has been read, the kernel keeps that
   * position, and calls at it go through the page cache.
   */
  override get fd(): number {
    if (this.isOpen) this.#position.share();
    return super.fd;
  }

  /**
   * True if aligned I/O goes around the page cache, as found out when the file was opened. False if the filesystem has
   * no O_DIRECT, or accepts it and uses the page cache all the same (tmpfs, compressed files of btrfs), and for
   * anything but a regular file or block device. It turns false if the filesystem accepts O_DIRECT but then refuses the
   * I/O.
   */
  get direct(): boolean {
    return this.#paths.hasDirect;
  }

  /**
   * Alignment in bytes that direct I/O needs: of addresses (`memory`), of offsets and lengths (`offset`), and the
   * same of reads (`readOffset`), which may be finer. All are 1 if the file has no direct I/O.
   */
  get alignment(): { readonly memory: number; readonly offset: number; readonly readOffset: number } {
    const { memoryAlign: memory, offsetAlign: offset, readAlign: readOffset } = this.#opened;
    return this.direct ? { memory, offset, readOffset } : { memory: 1, offset: 1, readOffset: 1 };
  }

  /** Options of requests that this file, its filesystem or the kernel has or lacks, as found by trying. */
  get features(): FileFeatures {
    return this.#options.features;
  }

  /**
   * Submits one request without allocating: the hot path. Aligned memory of an arena is transferred directly; any other
   * memory, and a read into an arena of a file, is handled as by `read` and `write`. Requests complete in any order.
   *
   * A read may be short, as read(2). It has then also filled the buffer with the rest of the file's last block, zeros
   * or old contents, because a device transfers whole blocks (so does `read` into an arena).
   *
   * @param op - `"read"` from the file, or `"write"` to it
   * @param buffer - All of it is read into, or written
   * @param position - Offset in the file in bytes, a whole number from 0 on
   * @param done - Called once with `(errno, bytes, buffer)`, never before `submit` returns: errno 0 or negative, as
   *   Node's. To save an allocation its asynchronous context isn't kept: often it's that of another submission. If you
   *   use an AsyncLocalStorage, pass `AsyncResource.bind(done)`. An error that it throws is an uncaught exception;
   *   other completions are still delivered
   * @param options - Of this request; an object may serve many
   * @returns `"queued"`; or `"busy"` if the queue is full: await `engine.drained()` and submit again
   * @throws EBADF after `close()`; `ERR_PINLESS_NOT_ALLOCATED` for a buffer that was freed; `ERR_INVALID_ARG_VALUE`,
   *   `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE` or `ERR_PINLESS_OPTION` for invalid arguments
   * @example
   * ```ts
   * const done = (errno: number, bytes: number) => console.log(errno === 0 ? `${bytes} bytes` : `failed: ${errno}`);
   * while (file.submit("read", buffer, 0, done) === "busy") await engine.drained();
   * ```
   */
  submit<T extends ArrayBufferView>(
    op: Operation,
    buffer: T,
    position: number,
    done: (errno: number, bytes: number, buffer: T) => void,
    options?: RequestOptions,
  ): "queued" | "busy" {
    if (this.lifetime.isClosing) throw fileClosed(op);
    const direction = op === "write" ? WRITE : READ;
    checkSubmission(op, position, done);
    const isPlain = options === undefined && this.lifetime.usual[direction] === 0;
    const how = isPlain ? 0 : this.#options.ofSubmission(direction, buffer, position, options);
    const location = this.#requests.locate(direction, buffer, position, how);
    if (location === null) return this.#submitOtherwise(direction, buffer, position, done as Done, how);
    if (this.#requests.wouldOvertake()) return "busy";
    return this.#requests.accept(direction, location, position, done as Done, FEW_WAIT, how) ? "queued" : "busy";
  }

  #submitOtherwise(
    direction: Direction,
    buffer: ArrayBufferView,
    position: number,
    done: Done,
    how: number,
  ): "queued" | "busy" {
    if (!ArrayBuffer.isView(buffer)) throw notAView(buffer);
    const view = asOfNow(buffer);
    if (!this.#host.submissions.beginIndirect(isExcluded(this.#host.segmentOf(buffer.buffer), direction, buffer)))
      return "busy";
    const answer = (errno: number, bytes: number): void => {
      this.#host.submissions.endIndirect();
      try {
        done(errno, bytes, buffer);
      } catch (error) {
        this.#host.loop.uncaught(error);
      }
    };
    this.calls.transferOtherwise(direction, view, position, how, this.#host.submissions.memoryWaits).then(
      (bytes) => answer(0, bytes),
      (error: { errno?: number; bytesWritten?: number }) => answer(error.errno ?? -EFAULT, error.bytesWritten ?? 0),
    );
    return "queued";
  }

  /**
   * Reads into a buffer: at a position, or at the file's own, which it moves. Arguments, results and errors are
   * FileHandle's.
   *
   * @param options - `buffer` (default: a new one of 16 KiB), `offset` in it (default 0), `length` (default: to its
   *   end), `position` in bytes (default: the file's own)
   * @returns `bytesRead`, which is less than was asked for only at the end of the file (of a pipe: what was there), and
   *   the buffer
   * @throws As FileHandle's `read`; EFAULT where the memory is gone or read-only; `ERR_PINLESS_NOT_ALLOCATED` for a
   *   buffer that was freed
   */
  read<T extends ArrayBufferView = NonSharedBuffer>(
    options?: ReadOptionsWithBuffer<T>,
  ): Promise<{ bytesRead: number; buffer: T }>;
  /**
   * Reads into a buffer: at a position, or at the file's own, which it moves. Arguments, results and errors are
   * FileHandle's.
   *
   * @param buffer - Where to read to
   * @param options - `offset` in the buffer (default 0), `length` (default: to its end), `position` in bytes (default:
   *   the file's own)
   * @returns `bytesRead`, which is less than was asked for only at the end of the file (of a pipe: what was there), and
   *   the buffer
   * @throws As FileHandle's `read`; EFAULT where the memory is gone or read-only; `ERR_PINLESS_NOT_ALLOCATED` for a
   *   buffer that was freed
   */
  read<T extends ArrayBufferView>(buffer: T, options?: ReadOptions): Promise<{ bytesRead: number; buffer: T }>;
  /**
   * Reads into a buffer: at a position, or at the file's own, which it moves. Arguments, results and errors are
   * FileHandle's.
   *
   * @param buffer - Where to read to
   * @param offset - Offset in the buffer. Default 0
   * @param length - Bytes to read. Default: to the end of the buffer
   * @param position - Offset in the file in bytes. Default: the file's own position
   * @returns `bytesRead`, which is less than was asked for only at the end of the file (of a pipe: what was there), and
   *   the buffer
   * @throws As FileHandle's `read`; EFAULT where the memory is gone or read-only; `ERR_PINLESS_NOT_ALLOCATED` for a
   *   buffer that was freed
   */
  read<T extends ArrayBufferView>(
    buffer: T,
    offset?: number | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: T }>;
  read<T extends ArrayBufferView>(
    first?: T | ReadOptionsWithBuffer<T>,
    second?: number | ReadOptions | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: T }> {
    const options = second as ReadOptions | null | undefined;
    if (
      this.isOpen &&
      typeof options?.position === "number" &&
      options.offset === undefined &&
      options.length === undefined &&
      options.uncached === undefined &&
      options.priority === undefined
    ) {
      const quick = this.#readQuickly<T>(first as T, options.position);
      if (quick !== null) return quick;
    }
    return this.#read<T>(first, second, length, position);
  }

  /** Fast path for `read(buffer, { position })` into aligned arena memory: it allocates a single promise. */
  #readQuickly<T extends ArrayBufferView>(
    buffer: T,
    position: number,
  ): Promise<{ bytesRead: number; buffer: T }> | null {
    if (!Number.isSafeInteger(position) || position < 0 || !this.#host.submissions.hasRoom) return null;
    const how = this.lifetime.usual[READ];
    const location = this.#requests.locate(READ, buffer, position, how);
    if (location === null) return null;
    return new Promise((resolve) => {
      const done: Done = (errno, bytes) => {
        if (bytes === location.bytes) resolve({ bytesRead: bytes, buffer });
        else resolve(naming(this.#goOn(location, buffer, position, errno, bytes)));
      };
      this.#requests.accept(READ, location, position, done, WAITS, how);
    });
  }

  /** Ends a quick read that was short or has failed. */
  async #goOn<T extends ArrayBufferView>(
    location: SegmentLocation,
    buffer: T,
    position: number,
    errno: number,
    bytes: number,
  ): Promise<{ bytesRead: number; buffer: T }> {
    // By the next microtask the call's promise follows this one, so that V8 finds the caller for the error's stack.
    await null;
    if (errno !== 0) throw this.#transfers.error(READ, errno, this.lifetime.usual[READ]);
    return { bytesRead: await this.calls.rest(location, buffer, position, bytes), buffer };
  }

  async #read<T extends ArrayBufferView>(
    first?: T | ReadOptionsWithBuffer<T>,
    second?: number | ReadOptions | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: T }> {
    if (!this.isOpen) throw fileClosed("read");
    const transfer = readArguments<T>(first, second, length, position);
    const how = this.#options.ofCall(READ, second ?? first);
    if (transfer.view.byteLength === 0) return { bytesRead: 0, buffer: transfer.buffer };
    return {
      bytesRead: await this.calls.positioned(READ, [transfer.view], transfer.position, how),
      buffer: transfer.buffer,
    };
  }

  /**
   * Writes a buffer or a text: at a position, or at the file's own, which it moves; opened with `"a"`, at the file's
   * end.
   *
   * @param buffer - Bytes to write
   * @param options - `offset` in the buffer (default 0), `length` (default: to its end), `position` in bytes (default:
   *   the file's own)
   * @returns `bytesWritten`, and the buffer
   * @throws As FileHandle's `write`, with the bytes that had been written by then as `bytesWritten`; EFAULT where the
   *   memory is gone
   */
  write<T extends ArrayBufferView>(buffer: T, options?: WriteOptions): Promise<{ bytesWritten: number; buffer: T }>;
  /**
   * Writes a buffer or a text: at a position, or at the file's own, which it moves; opened with `"a"`, at the file's
   * end.
   *
   * @param buffer - Bytes to write
   * @param offset - Offset in the buffer. Default 0
   * @param length - Bytes to write. Default: to the end of the buffer
   * @param position - Offset in the file in bytes. Default: the file's own position
   * @returns `bytesWritten`, and the buffer
   * @throws As FileHandle's `write`, with the bytes that had been written by then as `bytesWritten`; EFAULT where the
   *   memory is gone
   */
  write<T extends ArrayBufferView>(
    buffer: T,
    offset?: number | null,
    length?: number | null,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffer: T }>;
  /**
   * Writes a buffer or a text: at a position, or at the file's own, which it moves; opened with `"a"`, at the file's
   * end.
   *
   * @param text - Text to write
   * @param position - Offset in the file in bytes. Default: the file's own position
   * @param encoding - Encoding of the text. Default `"utf8"`
   * @returns `bytesWritten`, and the buffer
   * @throws As FileHandle's `write`, with the bytes that had been written by then as `bytesWritten`; EFAULT where the
   *   memory is gone
   */
  write(
    text: string,
    position?: number | null,
    encoding?: BufferEncoding | null,
  ): Promise<{ bytesWritten: number; buffer: string }>;
  async write(
    first: ArrayBufferView | string,
    second?: number | WriteOptions | null,
    third?: number | string | null,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffer: unknown }> {
    if (!this.isOpen) throw fileClosed("write");
    if (ArrayBuffer.isView(first) && first.byteLength === 0) return { bytesWritten: 0, buffer: first };
    const transfer = writeArguments(first, second, third, position);
    const how = this.#options.ofCall(WRITE, second);
    return { bytesWritten: await this.calls.positioned(WRITE, [transfer.view], transfer.position, how), buffer: first };
  }

  /**
   * Reads into several buffers, one after the other, as FileHandle's.
   *
   * @param buffers - Where to read to
   * @param position - Offset in the file in bytes. Default: the file's own position
   * @returns `bytesRead` in all, and the buffers
   * @throws As `read`
   */
  async readv<B extends readonly ArrayBufferView[]>(
    buffers: B,
    position?: number | null,
  ): Promise<{ bytesRead: number; buffers: B }> {
    return { bytesRead: await this.#vector(READ, buffers, position), buffers };
  }

  /**
   * Writes several buffers, one after the other, as FileHandle's.
   *
   * @param buffers - Bytes to write
   * @param position - Offset in the file in bytes. Default: the file's own position
   * @returns `bytesWritten` in all, and the buffers
   * @throws As `write`
   */
  async writev<B extends readonly ArrayBufferView[]>(
    buffers: B,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffers: B }> {
    return { bytesWritten: await this.#vector(WRITE, buffers, position), buffers };
  }

  async #vector(direction: Direction, buffers: readonly ArrayBufferView[], position?: number | null): Promise<number> {
    if (!this.isOpen) throw fileClosed(direction === WRITE ? "writev" : "readv");
    const views = vectorOf(buffers);
    // Node answers EINVAL to a read into an empty list of buffers.
    if (views.length === 0 && direction === READ) throw this.#transfers.error(direction, -EINVAL);
    if (views.length === 0) return 0;
    return this.calls.positioned(direction, views, writePositionOf(position));
  }

  /** @internal */
  protected override get hasOwnCalls(): boolean {
    return this.read === OWN.read && this.write === OWN.write && this.writev === OWN.writev;
  }
}

/** Transfers as they are made here: a program may replace them, and streams then call its own. */
const OWN = ((file: File) => ({ read: file.read, write: file.write, writev: file.writev }))(File.prototype);
