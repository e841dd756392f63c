/**
 * Table of the requests of one engine, allocated once, so that a request allocates nothing. A slot goes FREE → ACCEPTED
 * → SUBMITTED (counted in at the gate, and with the kernel) → ACCEPTED → FREE. A request that waits for memory has no
 * slot (parked-requests.ts).
 */

import { DIRECT_WRITE, type Done, type Owner } from "./acceptance.js";
import { violated } from "./assert.js";
import type { Direction } from "./direction.js";
import type { Parked } from "./parked-requests.js";
import type { BufferLocation } from "./scheme.js";

export const FREE = 0;
export const ACCEPTED = 1;
export const SUBMITTED = 2;

/** Words of a request; a slot's first word is `slot << REQUEST_SHIFT`. */
export const STATE = 0;
/** READ (a device write) or WRITE (a device read). */
export const DIRECTION = 1;
export const FILE = 2;
/** Buffer slot of the request's lease; -1 if it has none; or UNREGISTERED. */
export const LEASE = 3;
/** Value of the LEASE word: the request uses no registration, not even a lifetime one. */
export const UNREGISTERED = -2;
/** The sum of the chunks' announcements at submission. */
export const ANNOUNCED = 4;
/** Options of the request (how.ts). */
export const HOW = 5;
export const REQUEST_SHIFT = 3;

export class RequestTable {
  readonly capacity: number;
  readonly words: Int32Array;
  readonly position: Float64Array;
  readonly locations: (BufferLocation | undefined)[];
  readonly owners: (Owner | undefined)[];
  readonly dones: (Done | undefined)[];
  /** Bits: DIRECT_WRITE, REFUSED_INVALID, REFUSED_UNSUPPORTED. */
  readonly kinds: Uint8Array;
  /** 1 for a cancelled request. If the kernel hasn't begun it, it's never issued. */
  readonly cancelled: Uint8Array;
  private readonly free: Int32Array;
  private freeCount: number;

  /** `words` is memory for its state; by default the table allocates its own. */
  constructor(capacity: number, words: Int32Array = new Int32Array(capacity << REQUEST_SHIFT)) {
    this.capacity = capacity;
    this.words = words;
    this.position = new Float64Array(capacity);
    this.locations = new Array(capacity).fill(undefined);
    this.owners = new Array(capacity).fill(undefined);
    this.dones = new Array(capacity).fill(undefined);
    this.kinds = new Uint8Array(capacity);
    this.cancelled = new Uint8Array(capacity);
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

  directionOf(slot: number): Direction {
    return this.get(slot, DIRECTION) as Direction;
  }

  /** Takes a free slot, preferably `rather`, and sets it ACCEPTED; -1 if none is free. */
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

  /** Frees the slot of a request that has ended. */
  release(slot: number): void {
    const at = slot << REQUEST_SHIFT;
    if (this.words[at] !== ACCEPTED) violated("EXACTLY_ONCE", `request ${slot} ended in state ${this.words[at]}`);
    this.words[at] = FREE;
    this.free[this.freeCount++] = slot;
  }

  /** Puts a request that was parked into a slot. */
  fill(slot: number, { direction, file, how, owner, kind, location, position, done, cancelled }: Parked): void {
    const at = slot << REQUEST_SHIFT;
    this.words[at + DIRECTION] = direction;
    this.words[at + FILE] = file;
    this.words[at + HOW] = how;
    this.position[slot] = position;
    this.locations[slot] = location;
    this.owners[slot] = owner;
    this.dones[slot] = done;
    this.kinds[slot] = kind;
    this.cancelled[slot] = cancelled ? 1 : 0;
  }

  /** Copies a request out of its slot, to park it. */
  recordOf(slot: number, limited: boolean): Parked {
    const at = slot << REQUEST_SHIFT;
    return {
      direction: this.directionOf(slot),
      file: this.words[at + FILE]!,
      how: this.words[at + HOW]!,
      owner: this.owners[slot]!,
      kind: this.kinds[slot]!,
      location: this.locations[slot]!,
      position: this.position[slot]!,
      done: this.dones[slot]!,
      slot,
      limited,
      cancelled: this.cancelled[slot] === 1,
      held: false,
    };
  }

  /** Frees the slot of a request, and no longer counts it among its owner's direct writes. */
  vacate(slot: number): void {
    if ((this.kinds[slot]! & DIRECT_WRITE) !== 0) this.owners[slot]!.directWrites--;
    this.dones[slot] = undefined;
    this.owners[slot] = undefined;
    this.locations[slot] = undefined;
    this.release(slot);
  }

  get(slot: number, word: number): number {
    return this.words[(slot << REQUEST_SHIFT) + word]!;
  }
}
