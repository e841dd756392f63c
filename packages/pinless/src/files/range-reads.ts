/** Results of `readMany`: in the order asked, one after the other or all at once. */

import type { CheckedRange } from "./many-arguments.js";
import type { Target } from "./range-plan.js";
import { PIECE_BYTES } from "./staging-memory.js";

/** Bytes and ranges that are read in advance of an iteration. */
const WINDOW_BYTES = 4 << 20;
const WINDOW_RANGES = 16 << 10;
/** Size of memory that small results share, and of the largest of these: memory for each costs more than its read. */
const SHARED_BYTES = 256 << 10;
const SMALL_BYTES = 16 << 10;

/** Reads under way. */
export interface RunningReads {
  readonly finished: Promise<void>;
  /** Stops them early. `finished` resolves once the kernel has let go of their memory. */
  stop(): void;
}

/** The part of a File that the results are read by. */
export interface RangeSource {
  /** Begins to read ranges, and counts in each the bytes that the file has of it. */
  start(targets: Target[]): RunningReads;
  /** The file's size, or infinity for one that has none. */
  size(): Promise<number>;
  memoryFor(bytes: number): ArrayBuffer;
}

interface Window {
  readonly targets: readonly Target[];
  readonly reads: RunningReads;
  /** Index of the first range after it. */
  readonly next: number;
}

/**
 * Bytes of the ranges that {@link File.readMany} was asked for, in that order. They are read when they are asked for:
 * one range after the other by `for await`, or all at once by `toArray`.
 */
export class RangeReads implements AsyncIterable<Uint8Array> {
  readonly #ranges: readonly CheckedRange[];
  readonly #source: RangeSource;

  /** @internal */
  constructor(ranges: readonly CheckedRange[], source: RangeSource) {
    this.#ranges = ranges;
    this.#source = source;
  }

  /**
   * Reads everything.
   *
   * @returns Bytes of each range, in the order asked
   * @throws As {@link File.readMany} says
   */
  async toArray(): Promise<Uint8Array[]> {
    const { targets, reads } = await this.#begin(0, this.#ranges.length);
    await reads.finished;
    return targets.map(resultOf);
  }

  /** Reads a few MiB ahead of the loop. Leaving the loop ends the reads. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    let window: Window | null = null;
    let ahead = this.#windowFrom(0);
    try {
      while (ahead !== null) {
        window = await ahead;
        await window.reads.finished;
        ahead = this.#windowFrom(window.next);
        for (const target of window.targets) yield resultOf(target);
      }
    } finally {
      const left = await ahead?.catch(() => null);
      left?.reads.stop();
      await left?.reads.finished.catch(() => {});
    }
  }

  /** Begins to read the ranges from an index on that a window has room for, at least one; null if there is none. */
  #windowFrom(first: number): Promise<Window> | null {
    let bytes = 0;
    let next = first;
    while (next < this.#ranges.length && next - first < WINDOW_RANGES) {
      bytes += this.#ranges[next]!.bytes;
      if (bytes > WINDOW_BYTES && next > first) break;
      next++;
    }
    if (next === first) return null;
    const window = this.#begin(first, next);
    // Their error is met when the iteration gets there.
    window.then(({ reads }) => reads.finished).catch(() => {});
    return window;
  }

  async #begin(first: number, next: number): Promise<Window> {
    const ranges = this.#ranges.slice(first, next);
    const isLarge = ranges.some(({ bytes, memory }) => memory === null && bytes > PIECE_BYTES);
    const size = isLarge ? await this.#source.size() : Number.POSITIVE_INFINITY;
    const memoryOf = this.#newMemory(ranges);
    const targets = ranges.map(({ position, bytes, memory }): Target => {
      // No memory is made for bytes beyond the end of the file, of which any number may be asked for.
      const length = memory === null ? Math.min(bytes, Math.max(0, size - position)) : bytes;
      const isGiven = memory !== null;
      return { position, end: position + length, memory: memory ?? memoryOf(length), isGiven, bytes: length };
    });
    return { targets, reads: this.#source.start(targets), next };
  }

  /** Makes memory for results in pieces that small ones share, none larger than what is left to make. */
  #newMemory(ranges: readonly CheckedRange[]): (bytes: number) => Uint8Array {
    let left = 0;
    for (const { bytes, memory } of ranges) if (memory === null && bytes <= SMALL_BYTES) left += bytes;
    let shared = new ArrayBuffer(0);
    let used = 0;
    return (bytes) => {
      if (bytes > SMALL_BYTES) return new Uint8Array(this.#source.memoryFor(bytes));
      if (used + bytes > shared.byteLength) {
        shared = this.#source.memoryFor(Math.min(left, SHARED_BYTES));
        used = 0;
      }
      left -= bytes;
      used += bytes;
      return new Uint8Array(shared, used - bytes, bytes);
    };
  }
}

/** Bytes of a range; of new memory only as much as the file had. */
function resultOf({ memory, bytes, isGiven }: Target): Uint8Array {
  if (bytes === memory.byteLength) return memory;
  return isGiven ? memory.subarray(0, bytes) : memory.slice(0, bytes);
}
