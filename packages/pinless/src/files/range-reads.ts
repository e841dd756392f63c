/** Results of `readMany`: in the order asked, one after the other or all at once. */

import type { CheckedRanges } from "./many-arguments.js";
import { Targets } from "./range-plan.js";
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
  start(targets: Targets): RunningReads;
  /** The file's size, or infinity for one that has none. */
  size(): Promise<number>;
  memoryFor(bytes: number): ArrayBuffer;
}

interface Window {
  /** Index of its first range. */
  readonly first: number;
  readonly targets: Targets;
  readonly reads: RunningReads;
  /** Index of the first range after it. */
  readonly next: number;
}

/**
 * Bytes of the ranges that {@link File.readMany} was asked for, in that order. They are read when they are asked for:
 * one range after the other by `for await`, or all at once by `toArray`.
 */
export class RangeReads implements AsyncIterable<Uint8Array> {
  readonly #ranges: CheckedRanges;
  readonly #source: RangeSource;

  /** @internal */
  constructor(ranges: CheckedRanges, source: RangeSource) {
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
    const window = await this.#begin(0, this.#ranges.positions.length);
    await window.reads.finished;
    const results: Uint8Array[] = [];
    for (let i = 0; i < window.targets.count; i++) results.push(this.#resultOf(window, i));
    return results;
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
        for (let i = 0; i < window.targets.count; i++) yield this.#resultOf(window, i);
      }
    } finally {
      const left = await ahead?.catch(() => null);
      left?.reads.stop();
      await left?.reads.finished.catch(() => {});
    }
  }

  /** Begins to read the ranges from an index on that a window has room for, at least one; null if there is none. */
  #windowFrom(first: number): Promise<Window> | null {
    const { lengths } = this.#ranges;
    let bytes = 0;
    let next = first;
    while (next < lengths.length && next - first < WINDOW_RANGES) {
      bytes += lengths[next]!;
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
    const { positions, lengths, memories } = this.#ranges;
    let largest = 0;
    let small = 0;
    for (let i = first; i < next; i++) {
      if (memories[i] !== null) continue;
      largest = Math.max(largest, lengths[i]!);
      if (lengths[i]! <= SMALL_BYTES) small += lengths[i]!;
    }
    const size = largest > PIECE_BYTES ? await this.#source.size() : Number.POSITIVE_INFINITY;
    const targets = new Targets(next - first);
    let shared = new Uint8Array(0);
    let used = 0;
    for (let i = first; i < next; i++) {
      const position = positions[i]!;
      const memory = memories[i]!;
      // No memory is made for bytes beyond the end of the file, of which any number may be asked for.
      const bytes = memory === null ? Math.min(lengths[i]!, Math.max(0, size - position)) : lengths[i]!;
      if (memory !== null) targets.add(position, bytes, memory, 0);
      else if (bytes > SMALL_BYTES) targets.add(position, bytes, new Uint8Array(this.#source.memoryFor(bytes)), 0);
      else {
        // None is larger than what is left to make.
        if (used + bytes > shared.byteLength) {
          shared = new Uint8Array(this.#source.memoryFor(Math.min(small, SHARED_BYTES)));
          used = 0;
        }
        targets.add(position, bytes, shared, used);
        used += bytes;
        small -= bytes;
      }
    }
    return { first, targets, reads: this.#source.start(targets), next };
  }

  /** Bytes of a range of a window; of new memory only as much as the file had. */
  #resultOf({ first, targets }: Window, index: number): Uint8Array {
    const whole = targets.viewOf(index);
    const bytes = targets.bytes[index]!;
    if (bytes === whole.byteLength) return whole;
    return this.#ranges.memories[first + index] === null ? whole.slice(0, bytes) : whole.subarray(0, bytes);
  }
}
