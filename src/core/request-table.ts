/**
 * The requests of one engine, in columns that are made once: nothing is allocated for a request. A slot goes
 * FREE → ACCEPTED (queued) → SUBMITTED (in the kernel) → FREE, with HELD in between while an invalidation keeps it out.
 */

import { violated } from "./assert.js";

export const FREE = 0;
export const ACCEPTED = 1;
export const HELD = 2;
export const SUBMITTED = 3;

export class RequestTable {
  readonly capacity: number;
  readonly state: Uint8Array;
  /** 1: a device read (the file is written). 0: a device write. */
  readonly write: Uint8Array;
  readonly file: Int32Array;
  readonly table: Int32Array;
  readonly firstChunk: Int32Array;
  readonly lastChunk: Int32Array;
  /** The sum of the chunks' sequences at submission. */
  readonly sequence: Int32Array;
  /** The lease it went by, or -1. */
  readonly lease: Int32Array;
  readonly address: Float64Array;
  readonly bytes: Float64Array;
  readonly position: Float64Array;
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.state = new Uint8Array(capacity);
    this.write = new Uint8Array(capacity);
    this.file = new Int32Array(capacity);
    this.table = new Int32Array(capacity);
    this.firstChunk = new Int32Array(capacity);
    this.lastChunk = new Int32Array(capacity);
    this.sequence = new Int32Array(capacity);
    this.lease = new Int32Array(capacity).fill(-1);
    this.address = new Float64Array(capacity);
    this.bytes = new Float64Array(capacity);
    this.position = new Float64Array(capacity);
    this.#free = new Int32Array(capacity);
    for (let i = 0; i < capacity; i++) this.#free[i] = capacity - 1 - i;
    this.#freeCount = capacity;
  }

  /** Requests between acceptance and completion. */
  get active(): number {
    return this.capacity - this.#freeCount;
  }

  /** A slot in state ACCEPTED, or -1. */
  accept(write: boolean, file: number, table: number, address: number, bytes: number, position: number): number {
    if (this.#freeCount === 0) return -1;
    const slot = this.#free[--this.#freeCount]!;
    this.state[slot] = ACCEPTED;
    this.write[slot] = write ? 1 : 0;
    this.file[slot] = file;
    this.table[slot] = table;
    this.address[slot] = address;
    this.bytes[slot] = bytes;
    this.position[slot] = position;
    this.lease[slot] = -1;
    return slot;
  }

  /** Ends a request; from here on the slot may be another's. */
  release(slot: number): void {
    if (this.state[slot] === FREE) violated("EXACTLY_ONCE", `request ${slot} ended twice`);
    this.state[slot] = FREE;
    this.#free[this.#freeCount++] = slot;
  }
}
