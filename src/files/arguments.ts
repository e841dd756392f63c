/** The arguments that FileHandle's read and write take, in all their forms. */

import { argumentError } from "../core/errors.js";

export interface TransferOptions {
  offset?: number | undefined;
  length?: number | null | undefined;
  position?: number | bigint | null | undefined;
}

export interface Transfer<T extends ArrayBufferView = ArrayBufferView> {
  /** The caller's own. */
  readonly buffer: T;
  /** The part of it that is meant. */
  readonly view: ArrayBufferView;
  /** Null: the file's own position. */
  readonly position: number | null;
}

const DEFAULT_READ_BYTES = 16 * 1024;

type ReadOptions<T extends ArrayBufferView> = TransferOptions & { buffer?: T };

/** `read()`, `read(options)`, `read(buffer, options)`, `read(buffer, offset, length, position)`. */
export function readArguments<T extends ArrayBufferView>(
  first?: T | ReadOptions<T>,
  second?: number | TransferOptions | null,
  length?: number | null,
  position?: number | bigint | null,
): Transfer<T> {
  if (!ArrayBuffer.isView(first)) {
    if (first !== undefined && (typeof first !== "object" || first === null)) throw notAView(first);
    const { buffer = new Uint8Array(DEFAULT_READ_BYTES) as unknown as T, ...options } = first ?? {};
    if (!ArrayBuffer.isView(buffer)) throw notAView(buffer);
    return transferOf(buffer, options);
  }
  if (typeof second === "object" && second !== null) return transferOf(first, second);
  return transferOf(first, { offset: second ?? 0, length, position });
}

/** `write(buffer, …)` as `read`, and `write(string, position, encoding)`. */
export function writeArguments<T extends ArrayBufferView>(
  first: T | string,
  second?: number | TransferOptions | null,
  third?: number | string | null,
  position?: number | bigint | null,
): Transfer<T> {
  if (typeof first === "string") {
    const buffer = Buffer.from(first, typeof third === "string" ? (third as BufferEncoding) : "utf8");
    const at = typeof second === "number" || typeof second === "bigint" ? second : null;
    return transferOf(buffer as unknown as T, { position: at });
  }
  if (!ArrayBuffer.isView(first)) throw notAView(first);
  if (typeof second === "object" && second !== null) return transferOf(first, second);
  return transferOf(first, { offset: second ?? 0, length: third as number | null | undefined, position });
}

function transferOf<T extends ArrayBufferView>(buffer: T, options: TransferOptions): Transfer<T> {
  const { offset = 0, length, position } = options;
  const at = positionOf(position);
  if (offset === 0 && (length === undefined || length === null)) return { buffer, view: buffer, position: at };
  if (!Number.isInteger(offset) || offset < 0 || offset > buffer.byteLength)
    throw outOfRange("offset", `0 to ${buffer.byteLength}`, offset);
  const bytes = length ?? buffer.byteLength - offset;
  if (!Number.isInteger(bytes) || bytes < 0 || bytes > buffer.byteLength - offset) {
    throw outOfRange("length", `0 to ${buffer.byteLength - offset}`, bytes);
  }
  return { buffer, view: new Uint8Array(buffer.buffer, buffer.byteOffset + offset, bytes), position: at };
}

/** Null and -1 mean the file's own position, as in Node. */
export function positionOf(position: number | bigint | null | undefined): number | null {
  if (position === undefined || position === null || position === -1 || position === -1n) return null;
  const at = typeof position === "bigint" ? Number(position) : position;
  if (typeof at !== "number")
    throw argumentError(
      "ERR_INVALID_ARG_TYPE",
      `The "position" argument must be an integer. Received ${typeof position}`,
    );
  if (!Number.isSafeInteger(at) || at < 0)
    throw outOfRange("position", `>= 0 && <= ${Number.MAX_SAFE_INTEGER}`, position);
  return at;
}

export function notAView(value: unknown): Error {
  return argumentError(
    "ERR_INVALID_ARG_TYPE",
    `The "buffer" argument must be an instance of Buffer, TypedArray, or DataView. Received ${typeof value}`,
  );
}

function outOfRange(name: string, allowed: string, value: unknown): Error {
  return argumentError(
    "ERR_OUT_OF_RANGE",
    `The value of "${name}" is out of range. It must be ${allowed}. Received ${String(value)}`,
  );
}
