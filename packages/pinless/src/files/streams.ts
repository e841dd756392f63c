/**
 * Node's own fs.ReadStream and fs.WriteStream with the reads and writes of a File, so that options, events and errors
 * are the same.
 */

import type { EventEmitter } from "node:events";
import type { ReadStream, WriteStream } from "node:fs";
import type { Readable, Writable } from "node:stream";
import type { ReadAheadOptions, WriteBehindOptions } from "./block-options.js";
import { codedError } from "./node-errors.js";
import { ReadStream as Reader, WriteStream as Writer } from "./node-runtime.js";

/** Options that both kinds of streams have, as Node documents them. */
interface StreamOptions {
  /** Encoding of texts. */
  encoding?: BufferEncoding | null | undefined;
  /**
   * Closes the file at the stream's end.
   *
   * @defaultValue true
   */
  autoClose?: boolean | undefined;
  /**
   * Emits `"close"`.
   *
   * @defaultValue true
   */
  emitClose?: boolean | undefined;
  /**
   * Offset in the file to begin at, in bytes.
   *
   * @defaultValue the file's own position
   */
  start?: number | undefined;
  /**
   * Bytes that the stream buffers.
   *
   * @defaultValue as of Node's streams of files
   */
  highWaterMark?: number | undefined;
  /** Destroys the stream when it is aborted. */
  signal?: AbortSignal | null | undefined;
}

/** Options of {@link File.createReadStream} and {@link File.readLines}. */
export interface ReadStreamOptions extends StreamOptions, ReadAheadOptions {
  /**
   * Offset in the file of the last byte, in bytes.
   *
   * @defaultValue the file's end
   */
  end?: number | undefined;
}

/** Options of {@link File.createWriteStream}. */
export interface WriteStreamOptions extends StreamOptions, WriteBehindOptions {
  /**
   * Brings the data to the device before the file is closed.
   *
   * @defaultValue false
   */
  flush?: boolean | undefined;
}

type Position = number | null | undefined;

/** The write-behind of a stream. */
interface Behind {
  /** Number of the writes whose callers wait until they are written. */
  awaited: number;
  /** Called with the first error of a block. */
  failed: (error: Error) => void;
  /** Resolves once all is written. */
  end(): Promise<void>;
}

/** The part of a File that streams, `readFile` and `writeFile` use. */
export interface Streamable {
  /** Emits "close". */
  readonly events: EventEmitter;
  readonly fd: number;
  /** Makes memory for all of the file. */
  memoryFor(bytes: number): ArrayBuffer;
  /** Notes that the descriptor is handed out, so that its users can move the position from now on. */
  share(): void;
  /**
   * Resolves to the number of bytes. `position` null or undefined means the own position. `signal` ends a call that may
   * never end by itself, with ECANCELED.
   */
  read(buffer: Uint8Array, offset: number, length: number, position: Position, signal?: AbortSignal): Promise<number>;
  write(buffer: Uint8Array, offset: number, length: number, position: Position, signal?: AbortSignal): Promise<number>;
  writev(buffers: readonly Uint8Array[], position: Position, signal?: AbortSignal): Promise<number>;
  /** Puts bytes that were read from a pipe back for the next read, because they couldn't be delivered. */
  giveBack(parts: readonly Uint8Array[]): void;
  sync(): Promise<void>;
  /** Writes behind the stream; null if each write is answered when it's done. */
  readonly behind: Behind | null;
  /** Ends reading ahead, and gives its memory back. */
  endAhead(): Promise<void>;
  /** Keeps the file open until `leave` is called. */
  keep(): void;
  leave(): void;
  close(): Promise<void>;
}

type Callback = (error: Error | null, count?: number, buffers?: unknown) => void;

export function readStream(file: Streamable, options: ReadStreamOptions | undefined): ReadStream {
  return openStream(Reader, file, options);
}

export function writeStream(file: Streamable, options: WriteStreamOptions | undefined): WriteStream {
  const stream = openStream(Writer, file, options);
  if (file.behind !== null) endBehind(stream, file.behind);
  return stream;
}

/**
 * Has a stream end once all is written behind it. A write that was given a callback is answered when it's written,
 * with its own error, as by Node. Other errors are the stream's: at once, or if it has no autoClose at its next write.
 */
function endBehind(stream: WriteStream, behind: Behind): void {
  const { write, _destroy: destroy } = stream;
  stream.write = (chunk: unknown, encoding?: unknown, callback?: unknown): boolean => {
    const told = typeof encoding === "function" ? encoding : callback;
    const writes = write as (...args: unknown[]) => boolean;
    if (typeof told !== "function") return writes.call(stream, chunk, encoding);
    behind.awaited++;
    const answered = (error: unknown): void => {
      behind.awaited--;
      told(error);
    };
    try {
      return writes.call(stream, chunk, typeof encoding === "function" ? undefined : encoding, answered);
    } catch (error) {
      behind.awaited--;
      throw error;
    }
  };
  stream._final = (done) => callBack(behind.end(), done);
  stream._destroy = (error, done) => {
    behind.end().then(
      () => destroy.call(stream, error, done),
      (failure) => destroy.call(stream, error ?? failure, done),
    );
  };
  behind.failed = (error) => {
    if ((stream as unknown as { autoClose: boolean }).autoClose) stream.destroy(error);
  };
}

/**
 * Opens a stream as on a FileHandle: it keeps the file open until it has closed, and closes when the file is closed.
 */
function openStream<S extends ReadStream | WriteStream>(
  Stream: new (path: unknown, options: object) => S,
  file: Streamable,
  options: StreamOptions | undefined,
): S {
  if ((options as { fs?: unknown } | undefined)?.fs)
    throw codedError(new Error("The FileHandle with fs method is not implemented"), "ERR_METHOD_NOT_IMPLEMENTED");
  const leaving = new AbortController();
  const close = (): void => stream.close();
  const closed = (): void => {
    file.events.off("close", close);
    file.leave();
  };
  const operations = operationsOf(file, leaving.signal, closed);
  const stream = new Stream(undefined, { ...options, fd: file.fd, fs: operations });
  shareWhenAsked(stream, file);
  file.keep();
  file.events.on("close", close);
  return leavingWith(stream, leaving);
}

/**
 * Makes a stream's `fd` a getter that shares the position. Reads of it by Node's own code don't share it, because that
 * never hands the descriptor out.
 */
function shareWhenAsked(stream: ReadStream | WriteStream, file: Streamable): void {
  let inside = 0;
  const steps = stream as unknown as Record<string, ((...args: unknown[]) => unknown) | undefined>;
  for (const name of ["_construct", "_read", "_write", "_writev", "_destroy"]) {
    const step = steps[name];
    if (step === undefined) continue;
    steps[name] = (...args) => {
      inside++;
      try {
        return step.apply(stream, args);
      } finally {
        inside--;
      }
    };
  }
  let { fd } = stream as unknown as { fd: number | null };
  Object.defineProperty(stream, "fd", {
    configurable: true,
    enumerable: true,
    get: () => {
      if (inside === 0 && fd !== null) file.share();
      return fd;
    },
    set: (value: number | null) => {
      fd = value;
    },
  });
}

type Opened = (flags?: string | number, mode?: number) => Promise<Streamable>;

/** Opens a read stream as fs.createReadStream does; `open` opens its file. */
export function readStreamOf(path: unknown, options: object, open: Opened): ReadStream {
  return openLater(Reader, path, options, open, new LateBehind());
}

/** Opens a write stream as fs.createWriteStream does; `open` opens its file. */
export function writeStreamOf(path: unknown, options: object, open: Opened): WriteStream {
  const behind = new LateBehind();
  const stream = openLater(Writer, path, options, open, behind);
  endBehind(stream, behind);
  return stream;
}

/** Stands in for the write-behind of a stream whose file isn't open yet. */
class LateBehind implements Behind {
  awaited = 0;
  failed: (error: Error) => void = () => {};
  #real: Behind | null = null;

  become(real: Behind | null): void {
    this.#real = real;
    if (real === null) return;
    real.failed = this.failed;
    Object.defineProperty(real, "awaited", { get: () => this.awaited });
  }

  async end(): Promise<void> {
    await this.#real?.end();
  }
}

function openLater<S extends ReadStream | WriteStream>(
  Stream: new (path: unknown, options: object) => S,
  path: unknown,
  options: object,
  open: Opened,
  behind: LateBehind,
): S {
  const never = new AbortController().signal;
  type Operations = ReturnType<typeof operationsOf>;
  let ready: Promise<Operations>;
  const opens = async (flags?: string | number, mode?: number): Promise<Streamable> => {
    const file = open(flags, mode);
    ready = file.then((opened) => operationsOf(opened, never, () => {}));
    ready.catch(() => {});
    const opened = await file;
    behind.become(opened.behind);
    return opened;
  };
  const late =
    (name: keyof Operations) =>
    (...args: unknown[]) =>
      void ready.then(
        (operations) => (operations[name] as (...args: unknown[]) => void)(...args),
        (error) => (args.at(-1) as Callback)(error),
      );
  const operations = {
    open: (_: unknown, flags: string | number, mode: number, done: Callback) =>
      void opens(flags, mode).then((file) => done(null, file.fd), done),
    read: late("read"),
    write: late("write"),
    writev: late("writev"),
    fsync: late("fsync"),
    close: late("close"),
  };
  if (typeof (options as { fd?: unknown }).fd === "number") void opens().catch(() => {});
  return new Stream(path, { ...options, fs: operations });
}

/** The functions of node:fs that a stream calls. */
function operationsOf(file: Streamable, signal: AbortSignal, closed: () => void) {
  /** A cancellation by the stream's own destroy isn't reported as an error. */
  const answer = (count: Promise<number>, buffers: unknown, done: Callback): void => {
    count.then(
      (bytes) => done(null, bytes, buffers),
      (error) => done(signal.aborted && error.code === "ECANCELED" ? null : error, 0, buffers),
    );
  };
  return {
    open: () => {
      throw new Error("a stream on a descriptor opens nothing");
    },
    read: (_: number, buffer: Uint8Array, offset: number, length: number, position: Position, done: Callback) =>
      answer(file.read(buffer, offset, length, position, signal), buffer, done),
    write: (_: number, buffer: Uint8Array, offset: number, length: number, position: Position, done: Callback) =>
      answer(file.write(buffer, offset, length, position, signal), buffer, done),
    writev: (_: number, buffers: Uint8Array[], position: Position, done: Callback) =>
      answer(file.writev(buffers, position, signal), buffers, done),
    fsync: (_: number, done: Callback) => callBack(file.sync(), done),
    close: (_: number, done: Callback) => {
      const ended = file.endAhead().then(() => {
        closed();
        return file.close();
      });
      callBack(ended, done);
    },
  };
}

/**
 * Cancels what is in flight when a stream is destroyed, because Node's streams wait for it, and on a pipe that may take
 * for ever.
 */
function leavingWith<T extends Readable | Writable>(stream: T, leaving: AbortController): T {
  const destroy = stream._destroy;
  stream._destroy = (error, done) => {
    leaving.abort();
    destroy.call(stream, error, done);
  };
  return stream;
}

function callBack(promise: Promise<void>, done: Callback): void {
  promise.then(() => done(null), done);
}
