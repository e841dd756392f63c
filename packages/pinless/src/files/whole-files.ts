/** `readFile` and `writeFile` from the own position, as FileHandle's. */

import type { NonSharedBuffer } from "node:buffer";
import type { Stats } from "node:fs";
import { codedError, invalidType, optionsOf, throwIfAborted } from "./node-errors.js";
import type { Streamable } from "./streams.js";

/** Options of {@link File.readFile}. */
export interface ReadFileOptions {
  /**
   * Encoding of the text that is read or written.
   *
   * @defaultValue none for reading, which gives bytes; `"utf8"` for writing
   */
  encoding?: BufferEncoding | null | undefined;
  /** Ends the call early. */
  signal?: AbortSignal | undefined;
}

/** Options of {@link File.writeFile}. */
export interface WriteFileOptions extends ReadFileOptions {
  /**
   * Brings the data to the device at the end, as `sync()`.
   *
   * @defaultValue false
   */
  flush?: boolean | undefined;
}

export type Data =
  | string
  | ArrayBufferView
  | Iterable<string | ArrayBufferView>
  | AsyncIterable<string | ArrayBufferView>;

/** Step in which Node writes, and reads a regular file. An abort takes effect between two steps. */
const STEP_BYTES = 512 * 1024;
/** Step in which Node reads a file of unknown size. */
const UNKNOWN_STEP_BYTES = 64 * 1024;
/** Node's limit on the size of a file that is read whole. */
const MAX_BYTES = 2 ** 31 - 1;

export async function readWhole(
  file: Streamable,
  stat: () => Promise<Stats>,
  options: unknown,
): Promise<NonSharedBuffer | string> {
  const { encoding, signal } = optionsOf<ReadFileOptions>(options);
  if (encoding && !Buffer.isEncoding(encoding))
    throw codedError(new TypeError(`Unknown encoding: ${encoding}`), "ERR_UNKNOWN_ENCODING");
  throwIfAborted(signal);
  const stats = await stat();
  const size = stats.isFile() ? stats.size : 0;
  if (size > MAX_BYTES) {
    const error = new RangeError(`File size (${size}) is greater than 2 GiB`);
    throw codedError(error, "ERR_FS_FILE_TOO_LARGE");
  }
  const whole = size > 0 ? await readSized(file, size, signal) : await readToEnd(file, signal);
  return encoding ? whole.toString(encoding) : whole;
}

/** Reads a file of known size into a single buffer. As in Node, bytes appended meanwhile aren't read. */
async function readSized(file: Streamable, size: number, signal: AbortSignal | undefined): Promise<NonSharedBuffer> {
  const whole = Buffer.from(file.memoryFor(size));
  const step = signal === undefined ? size : STEP_BYTES;
  let done = 0;
  while (done < size) {
    throwIfAborted(signal);
    const bytes = await file.read(whole, done, Math.min(step, size - done), null, signal);
    if (bytes === 0) break;
    done += bytes;
  }
  return done === size ? whole : whole.subarray(0, done);
}

/**
 * Reads a pipe or another file of unknown size to its end. If it's aborted, the bytes read so far are kept for the next
 * read.
 */
async function readToEnd(file: Streamable, signal: AbortSignal | undefined): Promise<NonSharedBuffer> {
  const parts: NonSharedBuffer[] = [];
  for (;;) {
    const part = Buffer.allocUnsafeSlow(UNKNOWN_STEP_BYTES);
    try {
      throwIfAborted(signal);
      const bytes = await file.read(part, 0, part.byteLength, null, signal);
      if (bytes === 0) break;
      parts.push(part.subarray(0, bytes));
    } catch (error) {
      file.giveBack(parts);
      throwIfAborted(signal);
      throw error;
    }
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

export async function writeWhole(file: Streamable, data: unknown, options: unknown): Promise<void> {
  const { encoding, signal, flush } = optionsOf<WriteFileOptions>(options);
  if (typeof (flush ?? false) !== "boolean") throw invalidType("options.flush", "of type boolean", flush);
  const bytesOf = (part: unknown): ArrayBufferView =>
    ArrayBuffer.isView(part) ? part : Buffer.from(part as string, encoding || "utf8");
  if (isIterable(data)) {
    throwIfAborted(signal);
    for await (const part of data) {
      throwIfAborted(signal);
      await writeSteps(file, bytesOf(part), signal);
      throwIfAborted(signal);
    }
    return;
  }
  if (typeof data !== "string" && !ArrayBuffer.isView(data)) {
    throw invalidType("data", "of type string or an instance of Buffer, TypedArray, or DataView", data);
  }
  const bytes = bytesOf(data);
  throwIfAborted(signal);
  await writeSteps(file, bytes, signal);
}

/** Writes in steps; the signal is checked before each but the first. */
async function writeSteps(file: Streamable, data: ArrayBufferView, signal: AbortSignal | undefined): Promise<void> {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const step = signal === undefined ? bytes.byteLength : STEP_BYTES;
  for (let done = 0; done < bytes.byteLength; done += step) {
    if (done > 0) throwIfAborted(signal);
    try {
      await file.write(bytes, done, Math.min(step, bytes.byteLength - done), null, signal);
    } catch (error) {
      throwIfAborted(signal);
      throw error;
    }
  }
}

/** True for iterables of parts; strings and views are iterable too, but are data themselves. */
function isIterable(data: unknown): data is Iterable<unknown> | AsyncIterable<unknown> {
  if (data === null || data === undefined || typeof data === "string" || ArrayBuffer.isView(data)) return false;
  const { [Symbol.iterator]: iterator, [Symbol.asyncIterator]: asyncIterator } = data as Record<symbol, unknown>;
  return typeof iterator === "function" || typeof asyncIterator === "function";
}
