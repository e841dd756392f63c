/**
 * The requests of one engine: made once, so that nothing is allocated for a request. A slot goes
 * FREE → ACCEPTED → SUBMITTED (counted in, with the kernel) → ACCEPTED → FREE. What waits for memory has no slot: see parked.ts.
 */

import { violated } from "./assert.js";
import type { BufferLocation } from "./scheme.js";

export const FREE = 0;
export const ACCEPTED = 1;
export const SUBMITTED = 2;

/** Words of a request; a slot's first word is `slot << REQUEST_SHIFT`. */
export const STATE = 0;
/** 1: a device read (the file is written). 0: a device write. */
export const WRITE = 1;
export const FILE = 2;
/** The buffer slot it went by; or -1: by no lease; or UNREGISTERED. */
export const LEASE = 3;
/** In the LEASE word: by no registration at all, not even one for life. */
export const UNREGISTERED = -2;
/** The sum of the chunks' announcements at submission. */
export const ANNOUNCED = 4;
export const REQUEST_SHIFT = 3;

export class RequestTable {
  readonly capacity: number;
  readonly words: Int32Array;
  readonly position: Float64Array;
  readonly locations: (BufferLocation | undefined)[];
  private readonly free: Int32Array;
  private freeCount: number;

  /** `words`: where its state is to lie, if not in memory of its own. */
  constructor(capacity: number, words: Int32Array = new Int32Array(capacity << REQUEST_SHIFT)) {
    this.capacity = capacity;
    this.words = words;
    this.position = new Float64Array(capacity);
    this.locations = new Array(capacity).fill(undefined);
    this.free = new Int32Array(capacity);
    for (let i = 0; i < capacity; i++) this.free[i] = capacity - 1 - i;
    this.freeCount = capacity;
  }

  /** Requests between acceptance and completion. */
  get active(): number {
    return this.capacity - this.freeCount;
  }

  get hasRoom(): boolean {
    return this.freeCount > 0;
  }

  /** A slot in state ACCEPTED, `rather` this one if it's free, or -1; the caller fills in the rest. */
  take(rather = -1): number {
    if (this.freeCount === 0) return -1;
    if (rather >= 0) this.#putOnTop(rather);
    const slot = this.free[--this.freeCount]!;
    this.words[slot << REQUEST_SHIFT] = ACCEPTED;
    return slot;
  }

  #putOnTop(slot: number): void {
    const at = this.free.indexOf(slot);
    if (at < 0 || at >= this.freeCount) return;
    this.free[at] = this.free[this.freeCount - 1]!;
    this.free[this.freeCount - 1] = slot;
  }

  /** Ends a request; from here on the slot may be another's. */
  release(slot: number): void {
    const at = slot << REQUEST_SHIFT;
    if (this.words[at] !== ACCEPTED) violated("EXACTLY_ONCE", `request ${slot} ended in state ${this.words[at]}`);
    this.words[at] = FREE;
    this.free[this.freeCount++] = slot;
  }

  get(slot: number, word: number): number {
    return this.words[(slot << REQUEST_SHIFT) + word]!;
  }
}
