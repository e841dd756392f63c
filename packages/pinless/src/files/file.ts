/** `File`: the methods of Node's FileHandle, by direct I/O wherever that's possible. */

import type { NonSharedBuffer } from "node:buffer";
import type { OpenedFile } from "../ports/opened-file.js";
import { BUSY, type Done, FEW_WAIT, type Owner, type Patience, WAITS } from "../protocol/acceptance.js";
import type { Dispatcher } from "../protocol/dispatcher.js";
import { ECANCELED, EFAULT, EINVAL, ESPIPE } from "../protocol/errno.js";
import type { SystemError } from "../protocol/errors.js";
import type { Protocol } from "../protocol/protocol.js";
import type { Operation } from "../protocol/scheme.js";
import { isFreed, locationIn, PLACE, type SegmentLocation } from "../protocol/segment.js";
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
import type { BufferedShare } from "./buffered-share.js";
import type { CallInFlight } from "./calls-in-flight.js";
import { type FileHost, FileLifetime } from "./file-lifetime.js";
import type { IoPaths } from "./io-paths.js";
import { naming } from "./node-errors.js";
import { OwnPosition } from "./own-position.js";
import { type Position, writePositionOf } from "./position-arguments.js";
import { CancellableCall } from "./stream-call-limits.js";
import { type StreamCallOptions, StreamedFile } from "./streamed-file.js";
import type { Transfers } from "./transfers.js";
import type { WaitObserver } from "./wait-observer.js";

/**
 * File with the methods, arguments, results and errors of a FileHandle of node:fs/promises, around the page cache
 * wherever that can be. Calls with a position have no order among each other; calls at the file's own position go one
 * after the other; each call that appends is one call of the kernel's. Writes of one file through the page cache and
 * around it take turns within an engine.
 *
 * @example
 * ```ts
 * const file = await engine.openFile("data.bin", "r");
 * await file.read(buffer, { position: 0 });
 * for await (const chunk of file.createReadStream({ start: 4096 })) console.log(chunk.length);
 * await file.close();
 * ```
 */
export class File extends StreamedFile {
  readonly #host: FileHost;
  readonly #protocol: Protocol;
  readonly #dispatcher: Dispatcher;
  readonly #opened: OpenedFile;
  readonly #transfers: Transfers;
  readonly #owner: Owner;
  readonly #ways: IoPaths;
  readonly #memoryMask: number;
  readonly #offsetMask: number;
  readonly #directWrites: boolean;
  readonly #position: OwnPosition;
  readonly #detours: BufferedShare;

  /**
   * Not for callers: `engine.openFile()` opens files.
   *
   * @hidden
   */
  constructor(host: FileHost, opened: OpenedFile) {
    super(new FileLifetime(host, opened));
    const { transfers, owner, ways } = this.lifetime;
    this.#host = host;
    this.#protocol = host.protocol;
    this.#dispatcher = host.protocol.dispatcher;
    this.#opened = opened;
    this.#transfers = transfers;
    this.#owner = owner;
    this.#ways = ways;
    this.#directWrites = ways.hasDirectWrites;
    this.#memoryMask = opened.memoryAlign - 1;
    this.#offsetMask = opened.offsetAlign - 1;
    this.#detours = ways.share;
    const alone = !opened.traits.shared && ways.hasDirectWrites;
    this.#position = new OwnPosition(opened.calls, alone);
  }

  /**
   * Descriptor that goes through the page cache, for APIs that take one; -1 once the file is closed. Whoever has it may
   * move the file's own position, as of a FileHandle: from the first look at it on, calls at that position go through
   * the page cache, where the kernel keeps it.
   */
  override get fd(): number {
    if (this.isOpen) this.#position.share();
    return super.fd;
  }

  /**
   * Whether aligned I/O goes around the page cache, found out when the file was opened. False where the filesystem has
   * no O_DIRECT, or takes it and goes through the page cache all the same (tmpfs, what btrfs compresses), and for what
   * isn't a file; and from then on where it takes O_DIRECT and refuses the I/O.
   */
  get direct(): boolean {
    return this.#ways.hasDirect;
  }

  /**
   * Multiples in bytes that addresses (`memory`), and offsets and lengths (`offset`), have to be of for I/O around the
   * page cache; 1 where there is none.
   */
  get alignment(): { readonly memory: number; readonly offset: number } {
    const { memoryAlign, offsetAlign } = this.#opened;
    return this.direct ? { memory: memoryAlign, offset: offsetAlign } : { memory: 1, offset: 1 };
  }

  /**
   * Hands one request over without allocating: the hot path. Aligned memory of an arena goes straight through;
   * everything else, and reads into a mapped file, take the way of `read` and `write`. Requests complete in any order.
   *
   * A read may be short, as read(2); then it has also written what follows in the file's last block, zeros or what was
   * there before it was cut off, because a device does (so does `read` into an arena).
   *
   * @param op - `"read"` from the file, or `"write"` to it
   * @param buffer - All of it is read into, or written
   * @param position - Offset in the file in bytes, a whole number from 0 on
   * @param done - Called once with `(errno, bytes, buffer)`, never before `submit` returns: errno 0 or negative, as
   *   Node's. To save an allocation it's called in whatever asynchronous context the loop's turn has, often that of
   *   another submission; where an AsyncLocalStorage matters, hand over `AsyncResource.bind(done)`. What it throws is
   *   an uncaught exception, and other completions are still delivered
   * @returns `"queued"`; or `"busy"`: nothing was handed over, wait for `engine.drained()`
   * @throws EBADF after `close()`; `ERR_PINLESS_NOT_ALLOCATED` for a buffer that was freed; `ERR_INVALID_ARG_VALUE`,
   *   `ERR_INVALID_ARG_TYPE` or `ERR_OUT_OF_RANGE` for arguments that can't be right
   * @example
   * ```ts
   * const done = (errno: number, bytes: number) => console.log(errno === 0 ? `${bytes} bytes` : `failed: ${errno}`);
   * while (file.submit("read", buffer, 0, done) === "busy") await engine.drained();
   * ```
   */
  submit(op: Operation, buffer: ArrayBufferView, position: number, done: Done): "queued" | "busy" {
    if (this.lifetime.isClosing) throw this.closedError(op);
    const write = op === "write";
    checkSubmission(op, position, done);
    const location = this.#straight(write, buffer, position);
    if (location === null) return this.#submitOtherwise(write, buffer, position, done);
    if (this.#dispatcher.room !== null && this.#host.isBarred()) return "busy";
    return this.#accept(write, location, position, done, FEW_WAIT) ? "queued" : "busy";
  }

  /** Hands a request to the dispatcher; false means busy. */
  #accept(write: boolean, location: SegmentLocation, position: number, done: Done, patience: Patience): boolean {
    const file = this.#ways.straight;
    const answer = this.#dispatcher.accept(write, file, this.#owner, true, location, position, done, patience);
    if (answer === BUSY) return false;
    this.#detours.direct++;
    return true;
  }

  /** Location of a buffer that a request can transfer directly; null if it has to take another path. */
  #straight(write: boolean, buffer: ArrayBufferView, position: number): SegmentLocation | null {
    if (write && (!this.#directWrites || !this.#transfers.writeOrder.direct)) return null;
    const location = (buffer as { [PLACE]?: SegmentLocation })[PLACE] ?? this.#placeOf(buffer);
    if (location === null || location.segment.closed || location.segment.protocol !== this.#protocol) return null;
    if (!write && location.segment.copier !== null) return null;
    // Bitwise operators keep the low 32 bits of a double, and alignment needs only those.
    if (((position | location.bytes) & this.#offsetMask) !== 0 || (location.address & this.#memoryMask) !== 0)
      return null;
    return this.#ways.straight >= 0 || this.#ways.openDirect() ? location : null;
  }

  #placeOf(buffer: ArrayBufferView): SegmentLocation | null {
    if (!ArrayBuffer.isView(buffer) || buffer.byteLength === 0) return null;
    const segment = this.#host.segmentOf(buffer.buffer);
    if (segment === null || isFreed(buffer)) return null;
    const address = segment.bufferAddress + buffer.byteOffset;
    const bytes = buffer.byteLength;
    // A view of the mapping that reaches outside of the arena is treated as ordinary memory.
    const inside = address >= segment.range.start && address + bytes <= segment.range.end;
    return inside ? locationIn(segment, buffer, address, bytes) : null;
  }

  #submitOtherwise(write: boolean, buffer: ArrayBufferView, position: number, done: Done): "queued" | "busy" {
    if (!ArrayBuffer.isView(buffer)) throw notAView(buffer);
    const view = asOfNow(buffer);
    if (!this.#host.beginIndirect(this.#transfers.isShut(write, buffer))) return "busy";
    const answer = (errno: number, bytes: number): void => {
      this.#host.endIndirect();
      try {
        done(errno, bytes, buffer);
      } catch (error) {
        this.#host.uncaught(error);
      }
    };
    this.#transferOtherwise(write, view, position, this.#host.pause).then(
      (bytes) => answer(0, bytes),
      (error: { errno?: number; bytesWritten?: number }) => answer(error.errno ?? -EFAULT, error.bytesWritten ?? 0),
    );
    return "queued";
  }

  /** Transfers one buffer for a promise call: directly if possible. */
  #transfer(write: boolean, view: ArrayBufferView, position: number): Promise<number> {
    const location = this.#straight(write, view, position);
    if (location === null) return this.#transferOtherwise(write, view, position);
    const use = { start: location.address, end: location.address + location.bytes, cancellable: null };
    const { writeOrder } = this.#transfers;
    this.#transfers.begin();
    this.#host.uses.begin(use);
    if (write) writeOrder.enterDirect();
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#host.uses.end(use);
        this.#transfers.end();
      };
      const done: Done = (errno, transferred) => {
        if (transferred !== location.bytes && errno >= 0) {
          this.#transfers.rest(write, view, position, transferred).finally(end).then(resolve, reject);
          return;
        }
        end();
        if (errno >= 0) resolve(transferred);
        else reject(this.#transfers.error(write, errno));
      };
      this.#host.enqueue(() => {
        if (!this.#accept(write, location, position, done, WAITS)) return false;
        // From here on the dispatcher counts it among its owner's direct writes, unless it waits for memory.
        if (write) writeOrder.leave(false);
        return true;
      });
    });
  }

  #transferOtherwise(
    write: boolean,
    view: ArrayBufferView,
    position: number,
    observer?: WaitObserver,
  ): Promise<number> {
    if (this.#opened.traits.waits) return this.#stream(write, [view]);
    return this.#during([view], () => this.#transfers.run(write, view, position, observer));
  }

  /** Runs a call on a pipe, a terminal or a socket, which may never end by itself. */
  async #stream(
    write: boolean,
    views: readonly ArrayBufferView[],
    { signal, ofStream = false }: StreamCallOptions = {},
  ): Promise<number> {
    if (ofStream ? this.lifetime.isEnding : this.lifetime.isClosing) throw this.closedError(write ? "write" : "read");
    const call = new CancellableCall(ofStream);
    const abort = (): void => call.end(ECANCELED);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted === true) abort();
    try {
      return await this.#during(views, () => this.#transfers.runStream(write, views, call), call);
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Runs a call, registered so that `close()` and `arena.free()` wait for it. */
  async #during<T>(
    views: readonly ArrayBufferView[],
    run: () => Promise<T>,
    cancellable: CancellableCall | null = null,
  ): Promise<T> {
    const uses: CallInFlight[] = [];
    for (const view of views) {
      const location = this.#placeOf(view);
      if (location !== null)
        uses.push({ start: location.address, end: location.address + location.bytes, cancellable });
    }
    this.#transfers.begin();
    for (const use of uses) this.#host.uses.begin(use);
    try {
      return await run();
    } finally {
      for (const use of uses) this.#host.uses.end(use);
      this.#transfers.end();
    }
  }

  /** Transfers at a position; or at the own position, which it moves, after the calls before it. */
  #positioned(write: boolean, views: readonly ArrayBufferView[], position: Position): Promise<number> {
    return naming(this.#transferAll(write, views, position));
  }

  #transferAll(write: boolean, views: readonly ArrayBufferView[], position: Position): Promise<number> {
    const { waits, ends } = this.#opened.traits;
    if (waits && position !== null) return Promise.reject(this.#transfers.error(write, -ESPIPE));
    if (waits) return this.#stream(write, views);
    const byNode = (at: Position): Promise<number> => this.#transfers.runByNode(write, views, at);
    if (position === null) {
      const bytes = views.reduce((sum, { byteLength }) => sum + byteLength, 0);
      const here = (from: number): Promise<number> => this.#oneAfterTheOther(write, views, from);
      return this.#during(views, () =>
        this.#position.inTurn(() => this.#position.run({ write, bytes }, here, () => byNode(null))),
      );
    }
    if (!ends || (write && this.#opened.append) || typeof position === "bigint")
      return this.#during(views, () => byNode(position));
    if (views.length === 1) return this.#transfer(write, views[0]!, position);
    return this.#during(views, () => this.#oneAfterTheOther(write, views, position));
  }

  /**
   * Transfers several buffers in order. Stops at the first short transfer, or at an error after a read has got some
   * bytes.
   */
  async #oneAfterTheOther(write: boolean, views: readonly ArrayBufferView[], position: number): Promise<number> {
    let total = 0;
    for (const view of views) {
      let bytes: number;
      try {
        bytes = await this.#transfer(write, view, position + total);
      } catch (error) {
        if (!write && total > 0) return total;
        if (write) (error as SystemError).bytesWritten = total + ((error as SystemError).bytesWritten ?? 0);
        throw error;
      }
      total += bytes;
      if (bytes < view.byteLength) break;
    }
    return total;
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
      options.length === undefined
    ) {
      const quick = this.#readQuickly<T>(first as T, options.position);
      if (quick !== null) return naming(quick);
    }
    return this.#read<T>(first, second, length, position);
  }

  /** The common case `read(buffer, { position })` of aligned arena memory, at the cost of a single promise. */
  #readQuickly<T extends ArrayBufferView>(
    buffer: T,
    position: number,
  ): Promise<{ bytesRead: number; buffer: T }> | null {
    if (!Number.isSafeInteger(position) || position < 0 || !this.#host.hasRoom()) return null;
    const location = this.#straight(false, buffer, position);
    if (location === null) return null;
    return new Promise((resolve, reject) => {
      const done: Done = (errno, bytes) => {
        if (bytes === location.bytes) resolve({ bytesRead: bytes, buffer });
        else if (errno !== 0) reject(this.#transfers.error(false, errno));
        else this.#readRest(buffer, location, position, bytes).then(resolve, reject);
      };
      this.#accept(false, location, position, done, WAITS);
    });
  }

  async #readRest<T extends ArrayBufferView>(
    buffer: T,
    location: SegmentLocation,
    position: number,
    done: number,
  ): Promise<{ bytesRead: number; buffer: T }> {
    const use = { start: location.address, end: location.address + location.bytes, cancellable: null };
    this.#transfers.begin();
    this.#host.uses.begin(use);
    try {
      return { bytesRead: await this.#transfers.rest(false, buffer, position, done), buffer };
    } finally {
      this.#host.uses.end(use);
      this.#transfers.end();
    }
  }

  async #read<T extends ArrayBufferView>(
    first?: T | ReadOptionsWithBuffer<T>,
    second?: number | ReadOptions | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesRead: number; buffer: T }> {
    if (!this.isOpen) throw this.closedError("read");
    const transfer = readArguments<T>(first, second, length, position);
    if (transfer.view.byteLength === 0) return { bytesRead: 0, buffer: transfer.buffer };
    return { bytesRead: await this.#positioned(false, [transfer.view], transfer.position), buffer: transfer.buffer };
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
  /** Rejects with what stopped it, and how many bytes had been written by then as `bytesWritten`. */
  async write(
    first: ArrayBufferView | string,
    second?: number | WriteOptions | null,
    third?: number | string | null,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffer: unknown }> {
    if (!this.isOpen) throw this.closedError("write");
    if (ArrayBuffer.isView(first) && first.byteLength === 0) return { bytesWritten: 0, buffer: first };
    const transfer = writeArguments(first, second, third, position);
    return { bytesWritten: await this.#positioned(true, [transfer.view], transfer.position), buffer: first };
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
    return { bytesRead: await this.#vector(false, buffers, position), buffers };
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
    return { bytesWritten: await this.#vector(true, buffers, position), buffers };
  }

  async #vector(write: boolean, buffers: readonly ArrayBufferView[], position?: number | null): Promise<number> {
    if (!this.isOpen) throw this.closedError(write ? "writev" : "readv");
    const views = vectorOf(buffers);
    // Node answers EINVAL to a read into an empty list of buffers.
    if (views.length === 0 && !write) throw this.#transfers.error(write, -EINVAL);
    if (views.length === 0) return 0;
    return this.#positioned(write, views, writePositionOf(position));
  }

  protected override get isStream(): boolean {
    return this.#opened.traits.waits;
  }

  protected override transferStream(
    write: boolean,
    views: readonly Uint8Array[],
    end: StreamCallOptions,
  ): Promise<number> {
    if (end.position !== null && end.position !== undefined)
      return Promise.reject(this.#transfers.error(write, -ESPIPE));
    return this.#stream(write, views, end);
  }

  protected override giveBack(parts: readonly Uint8Array[]): void {
    this.#transfers.giveBack(parts);
  }
}
