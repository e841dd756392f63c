/** Chunks: the program's buffers in ranges of 2 MiB, with their flags and their requests in flight. */

import { HUGE_PAGES } from "../model/tables.js";
import { HUGE_BYTES } from "./costs.js";
import type { Plan } from "./plan.js";

/** Bits of a chunk's flags. */
export const HUGE = 1;
export const SWAPPED = 2;
/** Invalidated since its registration was last validated. */
export const CHANGED = 4;
export const UNDER_WRITEBACK = 8;
/** A memory operation works on it, or is about to. Requests that arrive wait for its end. */
export const TAKEN = 16;
/** Its registration refers to pages that it doesn't have any more: data read into it is lost. */
export const STALE = 32;
/** A lease covers it. LEAVING: the lease was dropped, and ends with the last request that uses it. */
export const LEASED = 64;
export const LEAVING = 128;

const NEVER = -1e12;

export class Chunks {
  readonly count: number;
  readonly flags: Uint8Array;
  /** Requests in flight: disk reads (the device writes memory), and disk writes. */
  readonly deviceWrites: Uint16Array;
  readonly deviceReads: Uint16Array;
  /** Those of them that use a lease. */
  readonly byLease: Uint16Array;
  readonly usedMs: Float64Array;

  constructor({ buffers }: Plan) {
    this.count = buffers.bytes / HUGE_BYTES;
    this.flags = new Uint8Array(this.count).fill(buffers.pages === "huge" ? HUGE : 0);
    this.deviceWrites = new Uint16Array(this.count);
    this.deviceReads = new Uint16Array(this.count);
    this.byLease = new Uint16Array(this.count);
    this.usedMs = new Float64Array(this.count).fill(NEVER);
  }

  get memoryBytes(): number {
    const { flags, deviceWrites, deviceReads, byLease, usedMs } = this;
    return [flags, deviceWrites, deviceReads, byLease, usedMs].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  get pages(): number {
    return this.count * HUGE_PAGES;
  }

  is(chunk: number, flag: number): boolean {
    return (this.flags[chunk]! & flag) !== 0;
  }

  set(chunk: number, flag: number): void {
    this.flags[chunk]! |= flag;
  }

  clear(chunk: number, flag: number): void {
    this.flags[chunk]! &= ~flag;
  }

  inFlight(chunk: number): number {
    return this.deviceWrites[chunk]! + this.deviceReads[chunk]!;
  }
}
