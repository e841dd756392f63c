/** Node's own streams, with their reads and writes by a file of ours: options, events and errors are fs.ReadStream's and fs.WriteStream's. */

import { createReadStream, createWriteStream, type ReadStream, type WriteStream } from "node:fs";

/** Of `createReadStream` and `createWriteStream` of a FileHandle. */
export interface StreamOptions {
  encoding?: BufferEncoding;
  autoClose?: boolean;
  emitClose?: boolean;
  start?: number;
  /** Reads only; included. */
  end?: number;
  highWaterMark?: number;
  /** Writes only. */
  flush?: boolean;
}

/** What of a file a stream uses. */
export interface Streamable {
  readonly fd: number;
  read(buffer: Uint8Array, offset: number, length: number, position: number | null): Promise<{ bytesRead: number }>;
  write(buffer: Uint8Array, offset: number, length: number, position: number | null): Promise<{ bytesWritten: number }>;
  writev(buffers: readonly Uint8Array[], position: number | null): Promise<{ bytesWritten: number }>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

type Callback = (error: Error | null, count?: number, buffer?: Uint8Array) => void;

export function readStream(file: Streamable, options: StreamOptions): ReadStream {
  const fs = {
    open: unused,
    read(
      _fd: number,
      buffer: Uint8Array,
      offset: number,
      length: number,
      position: number | undefined,
      done: Callback,
    ) {
      file.read(buffer, offset, length, position ?? null).then(({ bytesRead }) => done(null, bytesRead, buffer), done);
    },
    close: (_fd: number, done: Callback) => settle(file.close(), done),
  };
  // Node's types don't have `fs` with `fd`, nor the subset of functions that a stream uses.
  return createReadStream("", { ...options, fd: file.fd, fs } as unknown as Parameters<typeof createReadStream>[1]);
}

export function writeStream(file: Streamable, options: StreamOptions): WriteStream {
  const fs = {
    open: unused,
    write(
      _fd: number,
      buffer: Uint8Array,
      offset: number,
      length: number,
      position: number | undefined,
      done: Callback,
    ) {
      file.write(buffer, offset, length, position ?? null).then(({ bytesWritten }) => done(null, bytesWritten), done);
    },
    writev(_fd: number, buffers: Uint8Array[], position: number | undefined, done: Callback) {
      file.writev(buffers, position ?? null).then(({ bytesWritten }) => done(null, bytesWritten), done);
    },
    fsync: (_fd: number, done: Callback) => settle(file.sync(), done),
    close: (_fd: number, done: Callback) => settle(file.close(), done),
  };
  return createWriteStream("", { ...options, fd: file.fd, fs } as unknown as Parameters<typeof createWriteStream>[1]);
}

function settle(promise: Promise<void>, done: Callback): void {
  promise.then(() => done(null), done);
}

function unused(): never {
  throw new Error("a stream on a descriptor opens nothing");
}
