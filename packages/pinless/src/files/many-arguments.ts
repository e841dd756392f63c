/** Parses the arguments of `readMany` and `writeMany`. */

import { badOption, checkBoolean, checkOptions } from "../ports/option-checks.js";
import { asOfNow, notAView, outOfRange } from "./arguments.js";
import { invalidType } from "./node-errors.js";
import type { MergeLimits } from "./range-plan.js";

/** Part of a file, for {@link File.readMany}. */
export interface FileRange {
  /** Offset in the file, in bytes. */
  position: number;
  /**
   * Bytes to read.
   *
   * @defaultValue the length of `buffer`, without which it's needed
   */
  length?: number | undefined;
  /**
   * Memory to read into. An aligned buffer of an arena is read into directly, by a request of its own.
   *
   * @defaultValue new memory
   */
  buffer?: ArrayBufferView | undefined;
}

/** Options of {@link File.readMany}. */
export interface ReadManyOptions {
  /**
   * Bytes between two ranges up to which they are read together.
   *
   * @defaultValue 16 KiB
   */
  mergeWithinBytes?: number | undefined;
  /**
   * Limit of what ranges that are read together may cost: the bytes read, divided by the bytes of the blocks that the
   * ranges need.
   *
   * @defaultValue 2
   */
  amplificationMax?: number | undefined;
  /** Ends the reads when it's aborted. They reject once the kernel has let go of all buffers. */
  signal?: AbortSignal | undefined;
}

/** Bytes and their place in a file, for {@link File.writeMany}. */
export interface FileWrite {
  /** Offset in the file, in bytes. */
  position: number;
  /** Bytes to write. */
  buffer: ArrayBufferView;
}

/** Options of {@link File.writeMany}. */
export interface WriteManyOptions {
  /** Ends the call when it's aborted. It rejects once the kernel has let go of all buffers. */
  signal?: AbortSignal | undefined;
}

/** Options of {@link File.allocate} and {@link File.zeroRange}. */
export interface SpaceOptions {
  /**
   * Leaves the file's size as it is.
   *
   * @defaultValue false
   */
  keepSize?: boolean | undefined;
}

/** Options of {@link File.copyRange}. */
export interface CopyOptions {
  /**
   * Shares the blocks between the files (reflink), or fails where the filesystem can't.
   *
   * @defaultValue false: blocks are shared or copied
   */
  clone?: boolean | undefined;
  /** Ends the copy with an AbortError when it's aborted. */
  signal?: AbortSignal | undefined;
}

/** A part of a file that has data. */
export interface DataRange {
  /** Offset in the file of the first byte. */
  start: number;
  /** Offset in the file of the last byte. */
  end: number;
}

/** Options of {@link File.dataRanges}: the part to look at. */
export interface DataRangesOptions {
  /**
   * Offset in the file to begin at, in bytes.
   *
   * @defaultValue 0
   */
  start?: number | undefined;
  /**
   * Offset in the file of the last byte, in bytes.
   *
   * @defaultValue the file's end
   */
  end?: number | undefined;
}

/** Ranges as they were at the call, a column for each field: an object for each would cost as much as its read. */
export interface CheckedRanges {
  readonly positions: number[];
  readonly lengths: number[];
  /** Null for new memory. */
  readonly memories: (Uint8Array | null)[];
}

/** A write as it was at the call. */
interface CheckedWrite {
  readonly position: number;
  readonly bytes: number;
  readonly memory: Uint8Array;
}

const MERGE_WITHIN_BYTES = 16 << 10;
const AMPLIFICATION_MAX = 2;

export function rangesOf(ranges: Iterable<FileRange>): CheckedRanges {
  const positions: number[] = [];
  const lengths: number[] = [];
  const memories: (Uint8Array | null)[] = [];
  each("ranges", ranges, (range, index) => {
    const { position, buffer, length = buffer?.byteLength } = range as FileRange;
    if (buffer !== undefined && !ArrayBuffer.isView(buffer)) throw notAView(buffer);
    checkNumber("ranges[].length", length, 0, buffer?.byteLength ?? Number.MAX_SAFE_INTEGER, index);
    checkNumber("ranges[].position", position, 0, Number.MAX_SAFE_INTEGER - length, index);
    positions.push(position);
    lengths.push(length);
    memories.push(buffer === undefined ? null : memoryOf(buffer, length));
  });
  return { positions, lengths, memories };
}

export function writesOf(writes: Iterable<FileWrite>): CheckedWrite[] {
  const checked: CheckedWrite[] = [];
  each("writes", writes, (write, index) => {
    const { position, buffer } = write as FileWrite;
    if (!ArrayBuffer.isView(buffer)) throw notAView(buffer);
    const bytes = buffer.byteLength;
    checkNumber("writes[].position", position, 0, Number.MAX_SAFE_INTEGER - bytes, index);
    checked.push({ position, bytes, memory: memoryOf(buffer, bytes) });
  });
  return checked;
}

/** Checks the options of `readMany`, and fills in their defaults. */
export function readManyOptionsOf(
  options: ReadManyOptions,
): MergeLimits & { readonly signal: AbortSignal | undefined } {
  checkOptions("readMany", options, ["mergeWithinBytes", "amplificationMax", "signal"]);
  const { mergeWithinBytes = MERGE_WITHIN_BYTES, amplificationMax = AMPLIFICATION_MAX } = options;
  if (typeof mergeWithinBytes !== "number" || !(mergeWithinBytes >= 0))
    throw badOption("mergeWithinBytes", mergeWithinBytes, "a number of bytes from 0 on");
  if (typeof amplificationMax !== "number" || !(amplificationMax >= 1))
    throw badOption("amplificationMax", amplificationMax, "a number from 1 on");
  return { mergeWithinBytes, amplificationMax, signal: signalOf(options) };
}

export function writeManyOptionsOf(options: WriteManyOptions): { readonly signal: AbortSignal | undefined } {
  checkOptions("writeMany", options, ["signal"]);
  return { signal: signalOf(options) };
}

export function copyOptionsOf(options: CopyOptions): { clone: boolean; signal: AbortSignal | undefined } {
  checkOptions("copyRange", options, ["clone", "signal"]);
  checkBoolean("clone", options.clone);
  return { clone: options.clone === true, signal: signalOf(options) };
}

export function signalOf({ signal }: { readonly signal?: AbortSignal | undefined }): AbortSignal | undefined {
  if (signal !== undefined && (typeof signal !== "object" || signal === null || !("aborted" in signal)))
    throw invalidType("options.signal", "an instance of AbortSignal", signal);
  return signal;
}

function each(name: string, list: Iterable<unknown>, check: (item: object, index: number) => void): void {
  if (typeof list !== "object" || list === null || !(Symbol.iterator in list))
    throw invalidType(name, "an iterable of objects", list);
  let index = 0;
  for (const item of list) {
    if (typeof item !== "object" || item === null) throw invalidType(`${name}[${index}]`, "of type object", item);
    check(item, index++);
  }
}

/** Checks a whole number. Its name may have `[]`, which `index` belongs into. */
export function checkNumber(
  name: string,
  value: unknown,
  least: number,
  most: number,
  index = 0,
): asserts value is number {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return;
  const full = name.replace("[]", `[${index}]`);
  if (typeof value !== "number") throw invalidType(full, "of type number", value);
  throw outOfRange(full, `an integer from ${least} to ${most}`, value);
}

/** Memory of a buffer as it is now. A whole buffer of an arena stays the same object, since it carries its location. */
function memoryOf(buffer: ArrayBufferView, bytes: number): Uint8Array {
  const whole = asOfNow(buffer);
  if (whole instanceof Uint8Array && whole.byteLength === bytes) return whole;
  return new Uint8Array(whole.buffer, whole.byteOffset, bytes);
}
