/** FileHandle's methods that are made of reads and writes: whole files, lines and streams. */

import type { NonSharedBuffer } from "node:buffer";
import type { ReadStream, WriteStream } from "node:fs";
import type { Interface } from "node:readline";
import type { ReadableStream } from "node:stream/web";
import { READ, WRITE } from "../protocol/direction.js";
import { type Blocks, type BlocksOptions, blocksOf, blocksRange } from "./block-options.js";
import { readBlocks } from "./file-blocks.js";
import type { FileCalls } from "./file-calls.js";
import { NodeFile } from "./node-file.js";
import { createInterface } from "./node-runtime.js";
import type { ReadAhead } from "./read-ahead.js";
import {
  type ReadStreamOptions,
  readStream,
  type Streamable,
  type WriteStreamOptions,
  writeStream,
} from "./streams.js";
import { type WebStreamOptions, webStream } from "./web-stream.js";
import { type Data, type ReadFileOptions, readWhole, type WriteFileOptions, writeWhole } from "./whole-files.js";
import type { WriteBehind } from "./write-behind.js";

type Position = number | null | undefined;

export abstract class StreamedFile extends NodeFile {
  #locked = false;

  /** @internal */
  protected abstract readonly calls: FileCalls;

  /**
   * True unless a program has replaced the methods that streams call.
   *
   * @internal
   */
  protected abstract get hasOwnCalls(): boolean;

  abstract read(
    buffer: Uint8Array,
    offset?: number | null,
    length?: number | null,
    position?: Position,
  ): Promise<{ bytesRead: number }>;

  abstract write(
    buffer: Uint8Array,
    offset?: number | null,
    length?: number | null,
    position?: Position,
  ): Promise<{ bytesWritten: number }>;

  abstract writev(buffers: readonly Uint8Array[], position?: Position): Promise<{ bytesWritten: number }>;

  /**
   * Reads everything from the file's own position to its end, as FileHandle's.
   *
   * @param options - `encoding` (default: none, a Buffer), `signal`; or the encoding. If the signal is aborted, bytes
   *   that were read from a pipe are kept for the next read
   * @throws As FileHandle's; `ERR_FS_FILE_TOO_LARGE` from 2 GiB on
   */
  readFile(options?: (ReadFileOptions & { encoding?: null | undefined }) | null): Promise<NonSharedBuffer>;
  /** Reads everything as text, in the encoding given. */
  readFile(options: (ReadFileOptions & { encoding: BufferEncoding }) | BufferEncoding): Promise<string>;
  /** Reads everything, as text if an encoding is given. */
  readFile(options?: ReadFileOptions | BufferEncoding | null): Promise<string | NonSharedBuffer>;
  async readFile(options?: ReadFileOptions | BufferEncoding | null): Promise<string | NonSharedBuffer> {
    this.assertOpen("readFile");
    return readWhole(this.#streamable(false), () => this.stat(), options);
  }

  /**
   * Writes all of `data` at the file's own position, as FileHandle's.
   *
   * @param data - Text, bytes, or an iterable of them, which may be async
   * @param options - `encoding` of text (default `"utf8"`), `signal`, `flush`; or the encoding
   * @throws As FileHandle's
   */
  async writeFile(data: Data, options?: WriteFileOptions | BufferEncoding | null): Promise<void> {
    this.assertOpen("writeFile");
    await writeWhole(this.#streamable(false), data, options);
  }

  /**
   * Same as `writeFile`. To write at the file's end, open it with `"a"`.
   *
   * @param data - Text, bytes, or an iterable of them, which may be async
   * @param options - As of `writeFile`
   */
  appendFile(data: Data, options?: WriteFileOptions | BufferEncoding | null): Promise<void> {
    return this.writeFile(data, options);
  }

  /**
   * Makes a read stream, as FileHandle's: options, events and errors are those of fs.ReadStream. It reads ahead, so
   * what other programs write meanwhile may be missing; what this engine has written is there.
   *
   * @param options - `start` and `end` (included) in bytes, `highWaterMark`, `encoding`, `autoClose`, `emitClose`,
   *   `signal`; `blockBytes` and `readAhead`
   * @throws `ERR_PINLESS_OPTION` for an invalid `blockBytes` or `readAhead`
   */
  createReadStream(options?: ReadStreamOptions): ReadStream {
    return readStream(this.readsAhead(options), options);
  }

  /** @internal */
  readsAhead(options?: ReadStreamOptions | null): Streamable {
    const { readAhead, blockBytes, start = 0, end } = options ?? {};
    const blocks = blocksOf("readAhead", readAhead, blockBytes);
    // Node refuses other types, when it makes the stream.
    const isRange = typeof start === "number" && typeof end === "number";
    return this.#streamable(true, this.#readAhead(blocks, isRange ? end - start + 1 : Number.POSITIVE_INFINITY));
  }

  /**
   * Makes a write stream, as FileHandle's: options, events and errors are those of fs.WriteStream. It writes behind:
   * what was written without a callback is in the file at `"finish"`; until then `bytesWritten` counts what was
   * accepted. After an error the file's contents from there on are undefined.
   *
   * @param options - `start` in bytes, `highWaterMark`, `encoding`, `autoClose`, `emitClose`, `flush`, `signal`;
   *   `blockBytes` and `writeBehind`
   * @throws `ERR_PINLESS_OPTION` for an invalid `blockBytes` or `writeBehind`
   */
  createWriteStream(options?: WriteStreamOptions): WriteStream {
    return writeStream(this.writesBehind(options), options);
  }

  /** @internal */
  writesBehind(options?: WriteStreamOptions | null): Streamable {
    const blocks = blocksOf("writeBehind", options?.writeBehind, options?.blockBytes);
    const writes = blocks.depth > 0 && this.#hasBlocks && this.lifetime.paths.hasDirectWrites;
    return this.#streamable(true, null, writes ? this.calls.writeBehind(blocks) : null);
  }

  /**
   * Reads the file line by line, as FileHandle's.
   *
   * @param options - As of `createReadStream`
   */
  readLines(options?: ReadStreamOptions): Interface {
    return createInterface({ input: this.createReadStream(options), crlfDelay: Number.POSITIVE_INFINITY });
  }

  /**
   * Makes a web stream, as FileHandle's: one for each File. Before Node 22.17, and in Node 23, its chunks are
   * ArrayBuffers unless `type` is `"bytes"`.
   *
   * @param options - `type`, and from Node 24 on `autoClose` (default false)
   * @throws `ERR_INVALID_STATE` for a second one, and on a closed file
   */
  readableWebStream(options?: WebStreamOptions): ReadableStream {
    const ahead = this.#readAhead(blocksOf("readAhead"), Number.POSITIVE_INFINITY);
    const stream = webStream(this.#streamable(true, ahead), this.#locked, this.lifetime.isClosing, options);
    this.#locked = true;
    return stream;
  }

  /**
   * Reads a part of the file in large blocks, several of them ahead: the fastest way to read it, without a copy. The
   * file's own position isn't used.
   *
   * @param options - `start` (default 0) and `end` (included; default: the file's end) in bytes, `blockBytes`,
   *   `readAhead`, `signal`
   * @returns An iterator of the bytes in order. Each `Uint8Array` is memory of the engine: it's valid until the next
   *   step, and until the file is closed
   * @throws As `read`; an AbortError once `signal` is aborted; `ERR_PINLESS_OPTION`
   * @example
   * ```ts
   * const hash = createHash("sha256");
   * for await (const block of file.blocks({ blockBytes: 1 << 20 })) hash.update(block);
   * ```
   */
  blocks(options: BlocksOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const range = blocksRange(options);
    const ahead = this.calls.readAhead(blocksOf("readAhead", options.readAhead, options.blockBytes), range.bytes);
    const { lifetime, calls } = this;
    return readBlocks({ events: this, lifetime, calls }, this.#hasBlocks ? ahead : null, range);
  }

  /** True if the file has blocks: not a pipe, and not a file whose reads may be short anywhere. */
  get #hasBlocks(): boolean {
    return this.isOpen && this.lifetime.opened.traits.ends;
  }

  /** Makes the read-ahead of a stream; null if its reads go through the page cache, where the kernel reads ahead. */
  #readAhead(blocks: Blocks, bytes: number): ReadAhead | null {
    const reads = blocks.depth > 0 && this.#hasBlocks && this.lifetime.paths.hasDirect;
    return reads ? this.calls.readAhead(blocks, bytes) : null;
  }

  /**
   * Adapts the file for streams. It calls the public methods where possible, as Node does, because programs may have
   * replaced them.
   */
  #streamable(ofStream: boolean, ahead: ReadAhead | null = null, behind: WriteBehind | null = null): Streamable {
    const { calls, lifetime } = this;
    const { waits } = lifetime.opened.traits;
    const writesBehind = (by: WriteBehind, views: readonly Uint8Array[], position: Position): Promise<number> =>
      typeof position === "number"
        ? by.write(views, position)
        : calls.atOwnPosition(
            WRITE,
            views,
            lifetime.usual[WRITE],
            (from) => by.write(views, from),
            () => by.drain(),
          );
    return {
      events: this,
      // The getter `this.fd` isn't used, since it makes the position shared.
      fd: this.isOpen ? lifetime.handle.fd : -1,
      memoryFor: (bytes) => lifetime.opened.calls.memoryFor(bytes),
      share: () => void this.fd,
      read: async (buffer, offset, length, position, signal) => {
        const view = buffer.subarray(offset, offset + length);
        if (waits) return calls.stream(READ, [view], { signal, ofStream, position });
        if (ahead === null || !this.hasOwnCalls) return (await this.read(buffer, offset, length, position)).bytesRead;
        if (typeof position === "number") return ahead.read(view, position);
        return calls.atOwnPosition(READ, [view], lifetime.usual[READ], (from) => ahead.read(view, from));
      },
      write: async (buffer, offset, length, position, signal) => {
        const view = buffer.subarray(offset, offset + length);
        if (waits) return calls.stream(WRITE, [view], { signal, ofStream, position });
        if (behind === null || !this.hasOwnCalls)
          return (await this.write(buffer, offset, length, position)).bytesWritten;
        return writesBehind(behind, [view], position);
      },
      writev: async (buffers, position, signal) => {
        if (waits) return calls.stream(WRITE, buffers, { signal, ofStream, position });
        if (behind === null || !this.hasOwnCalls) return (await this.writev(buffers, position)).bytesWritten;
        return writesBehind(behind, buffers, position);
      },
      giveBack: (parts) => lifetime.transfers.giveBack(parts),
      sync: () => this.sync(),
      behind,
      endAhead: async () => ahead?.end(),
      keep: () => lifetime.keep(),
      leave: () => lifetime.leave(),
      close: () => this.close(),
    };
  }
}
