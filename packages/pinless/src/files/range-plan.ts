/** Plan of many reads of one file: its ranges sorted, near ones merged, and what is read cut into requests. */

import { alignDown, alignUp } from "../protocol/ranges/ranges.js";

/** Maximum size of a request: several of them fit into a piece of staging memory. */
export const REQUEST_BYTES = 128 << 10;

/** Limits on the bytes that are read only because ranges were merged. */
export interface MergeLimits {
  readonly mergeWithinBytes: number;
  readonly amplificationMax: number;
}

/** Ranges that are read, a column for each field: an object for each would cost as much as its read. */
export class Targets {
  readonly positions: Float64Array;
  /** Positions after their last bytes. */
  readonly ends: Float64Array;
  /** Bytes that the file has of each, from its beginning on. */
  readonly bytes: Float64Array;
  /** Memory that each is read into, from its offset on. Small ones share it. */
  readonly memories: Uint8Array[] = [];
  readonly offsets: Uint32Array;
  #count = 0;

  /** `capacity` is the number of ranges that will be added. */
  constructor(capacity: number) {
    this.positions = new Float64Array(capacity);
    this.ends = new Float64Array(capacity);
    this.bytes = new Float64Array(capacity);
    this.offsets = new Uint32Array(capacity);
  }

  get count(): number {
    return this.#count;
  }

  add(position: number, bytes: number, memory: Uint8Array, offset: number): void {
    const index = this.#count++;
    this.positions[index] = position;
    this.ends[index] = position + bytes;
    this.bytes[index] = bytes;
    this.offsets[index] = offset;
    this.memories.push(memory);
  }

  lengthOf(index: number): number {
    return this.ends[index]! - this.positions[index]!;
  }

  /** Memory that a range is read into. */
  viewOf(index: number, bytes = this.lengthOf(index)): Uint8Array {
    const memory = this.memories[index]!;
    const offset = this.offsets[index]!;
    return bytes === memory.byteLength ? memory : memory.subarray(offset, offset + bytes);
  }

  /** Indexes in order of position. */
  sorted(indexes: Uint32Array): Uint32Array {
    const { positions } = this;
    return indexes.sort((a, b) => positions[a]! - positions[b]!);
  }
}

/** One request: whole blocks of the file, and the indexes of the ranges that get bytes of them. */
export interface PlannedRead {
  position: number;
  bytes: number;
  readonly targets: number[];
}

/**
 * The requests for ranges in order of position, none of them empty. Ranges that share a block or touch are read
 * together. So are those with a gap of at most `mergeWithinBytes` between their blocks, as long as all that is read
 * together is at most `amplificationMax` times the blocks that it needs.
 */
export class ReadPlan {
  readonly #targets: Targets;
  readonly #order: Uint32Array;
  readonly #align: number;
  readonly #limits: MergeLimits;
  /** Place in the order of the first range that no request has reached. */
  #at = 0;
  /** Place in the order after the ranges that are read together, and the blocks of these that are still to be read. */
  #next = 0;
  #position = 0;
  #end = 0;
  /** Ranges with bytes at or after `#position`, and some that ended before. */
  #begun: number[] = [];

  /** `order` has the indexes of the ranges in order of position. */
  constructor(targets: Targets, order: Uint32Array, align: number, limits: MergeLimits) {
    this.#targets = targets;
    this.#order = order;
    this.#align = align;
    this.#limits = limits;
  }

  /** Fills in the next request; false if there is none. */
  next(read: PlannedRead): boolean {
    const { positions, ends } = this.#targets;
    do {
      if (this.#position >= this.#end && !this.#merge()) return false;
      read.position = this.#position;
      this.#position = Math.min(this.#end, this.#position + REQUEST_BYTES);
      read.targets.length = 0;
      for (const index of this.#begun) if (ends[index]! > read.position) read.targets.push(index);
      while (this.#at < this.#next && positions[this.#order[this.#at]!]! < this.#position)
        read.targets.push(this.#order[this.#at++]!);
      this.#begun = this.#position < this.#end ? [...read.targets] : [];
    } while (read.targets.length === 0);
    read.bytes = this.#position - read.position;
    return true;
  }

  /** Chooses the next ranges that are read together; false if there are none. */
  #merge(): boolean {
    const { positions, ends } = this.#targets;
    const order = this.#order;
    if (this.#next >= order.length) return false;
    const { mergeWithinBytes, amplificationMax } = this.#limits;
    const start = alignDown(positions[order[this.#next]!]!, this.#align);
    let end = alignUp(ends[order[this.#next]!]!, this.#align);
    let needed = end - start;
    for (this.#next++; this.#next < order.length; this.#next++) {
      const from = Math.max(end, alignDown(positions[order[this.#next]!]!, this.#align));
      const to = Math.max(end, alignUp(ends[order[this.#next]!]!, this.#align));
      if (from - end > mergeWithinBytes) break;
      if (from > end && to - start > amplificationMax * (needed + to - from)) break;
      needed += to - from;
      end = to;
    }
    this.#position = start;
    this.#end = end;
    return true;
  }
}
