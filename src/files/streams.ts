/** Node's own streams, with their reads and writes by a file of ours: options, events and errors are fs.ReadStream's and fs.WriteStream's. */

import fs, { type ReadStream, type WriteStream } from "node:fs";
import type { Readable, Writable } from "node:stream";

/** As they were when this module was loaded: other code may put its own into node:fs. Node's types have no constructors for them. */
const { ReadStream: Reader, WriteStream: Writer } = fs as unknown as {
  ReadStream: new (path: undefined, options: object) => ReadStream;
  WriteStream: new (path: undefined, options: object) => WriteStream;
};

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
  /** Destroys the stream when it's aborted. */
  signal?: AbortSignal;
}

/** What of a file a stream uses. `signal` ends a transfer that may never end, with ECANCELED. */
export interface Streamable {
  readonly fd: number;
  /** Bytes read; `position` null: the file's own. */
  read(view: Uint8Array, position: number | null, signal?: AbortSignal): Promise<number>;
  write(view: Uint8Array, position: number | null, signal?: AbortSignal): Promise<number>;
  writev(views: readonly Uint8Array[], position: number | null, signal?: AbortSignal): Promise<number>;
  /** What was read from a pipe or the like, and can't be given to anybody now, is for the next read. */
  giveBack(parts: readonly Uint8Array[]): void;
  sync(): Promise<void>;
  close(): Promise<void>;
}

type Callback = (error: Error | null, count?: number, buffer?: Uint8Array) => void;

export function readStream(file: Streamable, options: StreamOptions): ReadStream {
  const leaving = new AbortController();
  const { signal } = leaving;
  const operations = {
    open: unused,
    read(
      _fd: number,
      buffer: Uint8Array,
      offset: number,
      length: number,
      position: number | undefined,
      done: Callback,
    ) {
      const view = buffer.subarray(offset, offset + length);
      const ended = (bytesRead: number): void => done(null, bytesRead, buffer);
      file.read(view, position ?? null, signal).then(ended, unlessLeft(signal, done));
    },
    close: (_fd: number, done: Callback) => settle(file.close(), done),
  };
  return leavingWith(new Reader(undefined, { ...options, fd: file.fd, fs: operations }), leaving);
}

export function writeStream(file: Streamable, options: StreamOptions): WriteStream {
  const leaving = new AbortController();
  const { signal } = leaving;
  const operations = {
    open: unused,
    write(
      _fd: number,
      buffer: Uint8Array,
      offset: number,
      length: number,
      position: number | undefined,
      done: Callback,
    ) {
      const view = buffer.subarray(offset, offset + length);
      const ended = (bytesWritten: number): void => done(null, bytesWritten);
      file.write(view, position ?? null, signal).then(ended, unlessLeft(signal, done));
    },
    writev(_fd: number, buffers: Uint8Array[], position: number | undefined, done: Callback) {
      const ended = (bytesWritten: number): void => done(null, bytesWritten);
      file.writev(buffers, position ?? null, signal).then(ended, unlessLeft(signal, done));
    },
    fsync: (_fd: number, done: Callback) => settle(file.sync(), done),
    close: (_fd: number, done: Callback) => settle(file.close(), done),
  };
  return leavingWith(new Writer(undefined, { ...options, fd: file.fd, fs: operations }), leaving);
}

/** Node's streams wait for what is in flight before they're destroyed: on a pipe that may be for ever, so it's ended. */
function leavingWith<T extends Readable | Writable>(stream: T, leaving: AbortController): T {
  const destroy = stream._destroy;
  stream._destroy = (error, done) => {
    leaving.abort();
    destroy.call(stream, error, done);
  };
  return stream;
}

/** What a stream that is being destroyed ended by itself isn't an error of the stream's. */
function unlessLeft(signal: AbortSignal, done: Callback): Callback {
  return (error) => {
    if (signal.aborted) done(null, 0);
    else done(error);
  };
}

function settle(promise: Promise<void>, done: Callback): void {
  promise.then(() => done(null), done);
}

function unused(): never {
  throw new Error("a stream on a descriptor opens nothing");
}
