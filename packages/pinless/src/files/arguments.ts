/** Parses the arguments of FileHandle's read and write, in all their forms. */

import { argumentError, PinlessError } from "../protocol/errors.js";
import { isFreed, LOCATION, segmentOf } from "../protocol/segment.js";
import { invalidType, invalidValue } from "./node-errors.js";
import { Buffer, NODE_MAJOR } from "./node-runtime.js";
import { type Position, readPositionOf, writePositionOf } from "./position-arguments.js";
import type { ReadRequestOptions, RequestOptions } from "./request-options.js";

/** Part of a buffer. */
interface TransferOptions {
  /**
   * Offset in the buffer, in bytes.
   *
   * @defaultValue 0
   */
  offset?: number | null | undefined;
  /**
   * Bytes to transfer.
   *
   * @defaultValue to the end of the buffer
   */
  length?: number | null | undefined;
}

/** Options of {@link File.read}. */
export interface ReadOptions extends TransferOptions, ReadRequestOptions {
  /**
   * Offset in the file, in bytes.
   *
   * @defaultValue the file's own position
   */
  position?: number | bigint | null | undefined;
}

/** Options of {@link File.write}. */
export interface WriteOptions extends TransferOptions, RequestOptions {
  /**
   * Offset in the file, in bytes.
   *
   * @defaultValue the file's own position
   */
  position?: number | null | undefined;
}

export interface TransferArguments<T extends ArrayBufferView = ArrayBufferView> {
  /** The buffer that the caller passed, handed back in the result. */
  readonly buffer: T;
  /** The bytes of the buffer that `offset` and `length` select. */
  readonly view: ArrayBufferView;
  /** A file position, or null for the open description's own. */
  readonly position: Position;
}

const DEFAULT_READ_BYTES = 16 * 1024;

/** Options of {@link File.read}, the buffer among them. */
export interface ReadOptionsWithBuffer<T extends ArrayBufferView> extends ReadOptions {
  /**
   * Memory to read into.
   *
   * @defaultValue a new buffer of 16 KiB
   */
  buffer?: T | undefined;
}

/** Parses `read()`, `read(options)`, `read(buffer, options)` and `read(buffer, offset, length, position)`. */
export function readArguments<T extends ArrayBufferView>(
  first?: T | ReadOptionsWithBuffer<T> | null,
  second?: number | ReadOptions | null,
  length?: number | null,
  position?: number | bigint | null,
): TransferArguments<T> {
  if (ArrayBuffer.isView(first)) {
    if (typeof second === "object" && second !== null) return readOf(first, second);
    return readOf(first, { offset: second, length, position });
  }
  if (first !== undefined && (typeof first !== "object" || Array.isArray(first)))
    throw invalidType("options", "of type object", first);
  const { buffer = Buffer.alloc(DEFAULT_READ_BYTES) as unknown as T, ...options } = first ?? {};
  if (!ArrayBuffer.isView(buffer)) throw notAView(buffer);
  return readOf(buffer, options);
}

function readOf<T extends ArrayBufferView>(buffer: T, options: ReadOptions): TransferArguments<T> {
  const offset = offsetOf(options.offset);
  const length = options.length ?? buffer.byteLength - offset;
  if (NODE_MAJOR >= 24) readPositionOf(options.position, length);
  // A read of 0 bytes succeeds whatever its other arguments are, as in Node before 24.
  if (length === 0) return { buffer, view: new Uint8Array(0), position: 0 };
  if (buffer.byteLength === 0) {
    throw invalidValue("buffer", buffer, "is empty and cannot be written");
  }
  return { buffer, view: partOf(buffer, offset, length), position: readPositionOf(options.position, length) };
}

/** Parses `write(buffer, …)`, with the forms of `read`, and `write(string, position, encoding)`. */
export function writeArguments<T extends ArrayBufferView>(
  first: T | string,
  second?: number | WriteOptions | null,
  third?: number | string | null,
  position?: number | null,
): TransferArguments<T> {
  if (typeof first === "string") {
    const buffer = encoded(first, third);
    return { buffer: buffer as unknown as T, view: buffer, position: writePositionOf(second) };
  }
  if (!ArrayBuffer.isView(first)) throw notAView(first);
  if (typeof second === "object" && second !== null) return writeOf(first, second);
  return writeOf(first, { offset: second, length: typeof third === "number" ? third : null, position });
}

function writeOf<T extends ArrayBufferView>(buffer: T, options: WriteOptions): TransferArguments<T> {
  const offset = offsetOf(options.offset);
  const length = options.length ?? buffer.byteLength - offset;
  return { buffer, view: partOf(buffer, offset, length), position: writePositionOf(options.position) };
}

/** Encodes a string. As in Node, an unknown encoding means UTF-8. */
function encoded(text: string, encoding: unknown): Buffer {
  const known = typeof encoding === "string" && Buffer.isEncoding(encoding) ? encoding : "utf8";
  if (known.toLowerCase() === "hex" && text.length % 2 !== 0) {
    throw argumentError(
      "ERR_INVALID_ARG_VALUE",
      `The argument 'encoding' is invalid for data of length ${text.length}. Received 'hex'`,
    );
  }
  return Buffer.from(text, known);
}

function offsetOf(offset: number | null | undefined): number {
  if (offset === undefined || offset === null) return 0;
  if (typeof offset !== "number") throw invalidType("offset", "of type number", offset);
  if (!Number.isSafeInteger(offset) || offset < 0) throw outOfRange("offset", ">= 0", offset);
  return offset;
}

/** Selects a part of a buffer. A whole buffer is returned as the same object, because it carries the arena's mark. */
function partOf(buffer: ArrayBufferView, offset: number, length: number): ArrayBufferView {
  if (offset > buffer.byteLength) throw outOfRange("offset", `<= ${buffer.byteLength}`, offset);
  if (!Number.isInteger(length) || length < 0 || length > buffer.byteLength - offset)
    throw outOfRange("length", `0 to ${buffer.byteLength - offset}`, length);
  const whole = asOfNow(buffer);
  if (length === buffer.byteLength) return whole;
  return asOfNow({ buffer: buffer.buffer, byteOffset: buffer.byteOffset + offset, byteLength: length });
}

/**
 * Fixes address and length of a view at the time of the call, because its buffer may be resized or transferred later.
 * Memory of an arena never is. Throws `ERR_PINLESS_NOT_ALLOCATED` if the buffer was freed.
 */
export function asOfNow(view: ArrayBufferView): ArrayBufferView {
  if (isFreed(view))
    throw new PinlessError(
      "ERR_PINLESS_NOT_ALLOCATED",
      `the buffer of ${view.byteLength} bytes was freed, and its memory may be in use again: allocate another`,
    );
  if (LOCATION in view) return view;
  const { buffer, byteOffset, byteLength } = view;
  if (segmentOf(buffer) !== null) return new Uint8Array(buffer, byteOffset, byteLength);
  return { buffer, byteOffset, byteLength };
}

export function notAView(value: unknown): Error {
  return invalidType("buffer", "an instance of Buffer, TypedArray, or DataView", value);
}

export function outOfRange(name: string, allowed: string, value: unknown): Error {
  return argumentError(
    "ERR_OUT_OF_RANGE",
    `The value of "${name}" is out of range. It must be ${allowed}. Received ${String(value)}`,
  );
}

/** Checks the buffers of `readv` and `writev`. */
export function vectorOf(buffers: unknown): ArrayBufferView[] {
  if (Array.isArray(buffers) && buffers.every((each) => ArrayBuffer.isView(each))) return buffers.map(asOfNow);
  throw invalidType("buffers", "an instance of ArrayBufferView[]", buffers);
}

/** Checks the arguments of `submit` other than its buffer. */
export function checkSubmission(op: unknown, position: unknown, done: unknown): void {
  if (op !== "read" && op !== "write") throw invalidValue("op", op, 'must be "read" or "write"');
  if (!Number.isSafeInteger(position) || (position as number) < 0) throw outOfRange("position", ">= 0", position);
  if (typeof done !== "function") throw invalidType("done", "of type function", done);
}
