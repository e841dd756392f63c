/** FileHandle's methods that are made of reads and writes: whole files, lines and streams. */

import type { NonSharedBuffer } from "node:buffer";
import type { ReadStream, WriteStream } from "node:fs";
import type { Interface } from "node:readline";
import type { ReadableStream } from "node:stream/web";
import { type Direction, READ, WRITE } from "../protocol/direction.js";
import { NodeFile } from "./node-file.js";
import { createInterface } from "./node-runtime.js";
import {
  type ReadStreamOptions,
  readStream,
  type Streamable,
  type WriteStreamOptions,
  writeStream,
} from "./streams.js";
import { type WebStreamOptions, webStream } from "./web-stream.js";
import { type Data, type ReadFileOptions, readWhole, type WriteFileOptions, writeWhole } from "./whole-files.js";

type Position = number | null | undefined;

/** Conditions under which a call that may never end by itself is ended. */
export interface StreamCallOptions {
  readonly signal?: AbortSignal | undefined;
  /** True if the call goes on while the file is closing: its stream decides when it ends. */
  readonly ofStream?: boolean;
  /** A position, which pipes and sockets refuse. */
  readonly position?: Position;
}

export abstract class StreamedFile extends NodeFile {
  #locked = false;

  /**
   * True for a pipe, a terminal or a socket.
   *
   * @internal
   */
  protected abstract get isStream(): boolean;

  /**
   * Transfers on a pipe, a terminal or a socket; resolves to the number of bytes.
   *
   * @internal
   */
  protected abstract transferStream(
    direction: Direction,
    views: readonly Uint8Array[],
    end: StreamCallOptions,
  ): Promise<number>;

  /** @internal */
  protected abstract giveBack(parts: readonly Uint8Array[]): void;

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
   * Makes a read stream, as FileHandle's: options, events and errors are those of fs.ReadStream.
   *
   * @param options - `start` and `end` (included) in bytes, `highWaterMark`, `encoding`, `autoClose`, `emitClose`,
   *   `signal`
   */
  createReadStream(options?: ReadStreamOptions): ReadStream {
    return readStream(this.#streamable(true), options);
  }

  /**
   * Makes a write stream, as FileHandle's: options, events and errors are those of fs.WriteStream.
   *
   * @param options - `start` in bytes, `highWaterMark`, `encoding`, `autoClose`, `emitClose`, `flush`, `signal`
   */
  createWriteStream(options?: WriteStreamOptions): WriteStream {
    return writeStream(this.#streamable(true), options);
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
    const stream = webStream(this.#streamable(true), this.#locked, this.lifetime.isClosing, options);
    this.#locked = true;
    return stream;
  }

  /**
   * Adapts the file for streams. It calls the public methods where possible, as Node does, because programs may have
   * replaced them.
   */
  #streamable(ofStream: boolean): Streamable {
    return {
      events: this,
      // The getter `this.fd` isn't used, since it makes the position shared.
      fd: this.isOpen ? this.lifetime.handle.fd : -1,
      memoryFor: (bytes) => this.lifetime.opened.calls.memoryFor(bytes),
      share: () => void this.fd,
      read: async (buffer, offset, length, position, signal) => {
        if (!this.isStream) return (await this.read(buffer, offset, length, position)).bytesRead;
        return this.transferStream(READ, [buffer.subarray(offset, offset + length)], { signal, ofStream, position });
      },
      write: async (buffer, offset, length, position, signal) => {
        if (!this.isStream) return (await this.write(buffer, offset, length, position)).bytesWritten;
        return this.transferStream(WRITE, [buffer.subarray(offset, offset + length)], { signal, ofStream, position });
      },
      writev: async (buffers, position, signal) => {
        if (!this.isStream) return (await this.writev(buffers, position)).bytesWritten;
        return this.transferStream(WRITE, buffers, { signal, ofStream, position });
      },
      giveBack: (parts) => this.giveBack(parts),
      sync: () => this.sync(),
      keep: () => this.lifetime.keep(),
      leave: () => this.lifetime.leave(),
      close: () => this.close(),
    };
  }
}
