/**
 * Rules for the GATE word's bits: the verdict on a request, the bits of an event, and the test if a chunk is drained.
 */

import {
  AWAITS_LEASE,
  type ChunkTable,
  DEVICE_READS,
  DEVICE_WRITES,
  EXCLUDES_DEVICE_READS,
  EXCLUDES_DEVICE_WRITES,
  LEASE,
  PARTLY_READ_ONLY,
  READ_ONLY,
  REFUSED,
  UNMAPPED,
} from "./chunk-table.js";
import { type Direction, READ, WRITE } from "./direction.js";
import { CONCERNS, type MmuEvent } from "./events.js";
import type { RangeSet } from "./ranges/range-set.js";
import type { Range } from "./ranges/ranges.js";

/**
 * Verdict of the gate on a request. GO: it's counted in, and its LEASE word is set. WAIT: it waits for the end of an
 * invalidation. FAULT: it fails with EFAULT. UNTIL_CONCLUDED: the dispatcher has to call `admit` again once the
 * announced changes are over, because the gate isn't notified of that.
 */
export const GO = 0;
export const WAIT = 1;
export const FAULT = 2;
export const UNTIL_CONCLUDED = 3;
export type GateVerdict = typeof GO | typeof WAIT | typeof FAULT | typeof UNTIL_CONCLUDED;

/** Verdict on a request by the GATE word of a chunk. */
export function verdictOf(gate: number, direction: Direction): GateVerdict {
  if (gate === 0) return GO;
  // This comes before WAIT: if the gate forgot the memory during an invalidation, a held request would never be
  // released.
  if ((gate & (UNMAPPED | REFUSED)) !== 0 || (direction === READ && (gate & READ_ONLY) !== 0)) return FAULT;
  return (gate & (direction === WRITE ? EXCLUDES_DEVICE_READS : EXCLUDES_DEVICE_WRITES)) !== 0 ? WAIT : GO;
}

/** Bits that an invalidation by this event sets. */
export function gateBits(event: MmuEvent): number {
  const concern = CONCERNS[event];
  return (
    (concern.deviceWrites ? EXCLUDES_DEVICE_WRITES : 0) |
    (concern.deviceReads ? EXCLUDES_DEVICE_READS : 0) |
    (concern.lease === "drop" ? AWAITS_LEASE : 0)
  );
}

/** Bits that stay set after an event. */
export function flagAfter(event: MmuEvent): number {
  switch (CONCERNS[event].afterwards) {
    case "efault":
      return UNMAPPED;
    case "refuse":
      return REFUSED;
    // Read-only memory is recorded by page, not by chunk (`Gate.readOnly`).
    case "readOnly":
    case "revalidate":
    case "goOn":
      return 0;
  }
}

/** Bits that a chunk's read-only pages set. */
export function protectionBits(readOnly: RangeSet, chunk: Range): number {
  if (!readOnly.meets(chunk)) return 0;
  return readOnly.covers(chunk) ? READ_ONLY : PARTLY_READ_ONLY;
}

/** True if no request that `gate` excludes is in flight on the chunk, and no lease that it waits for is held. */
export function isDrained(table: ChunkTable, chunk: number, gate: number): boolean {
  if ((gate & EXCLUDES_DEVICE_WRITES) !== 0 && table.inFlight(chunk, DEVICE_WRITES) !== 0) return false;
  if ((gate & EXCLUDES_DEVICE_READS) !== 0 && table.inFlight(chunk, DEVICE_READS) !== 0) return false;
  return (gate & AWAITS_LEASE) === 0 || table.load(chunk, LEASE) <= 0;
}
