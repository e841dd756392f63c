/** What memory management does, by the kernel's names for it, and which event of an invalidation each one is. */

import { CONCERNS, type MmuEvent } from "pinless/portable";

/** Those that a plan has rates for, in the order in which they're shown. */
export const RATES = [
  "compaction",
  "numaBalancing",
  "khugepaged",
  "reclaim",
  "discard",
  "move",
  "revoke",
  "writeback",
  "fork",
] as const;
export type Rated = (typeof RATES)[number];

/** NUMA balancing first makes a range fault, which moves nothing, and then moves it. */
export type EventKind = Rated | "numaHint";

const EVENTS: Readonly<Record<EventKind, MmuEvent>> = {
  compaction: "CLEAR",
  numaHint: "PROTECTION_VMA",
  numaBalancing: "MIGRATE",
  khugepaged: "CLEAR",
  reclaim: "CLEAR",
  discard: "CLEAR",
  move: "MIGRATE",
  revoke: "CLEAR",
  writeback: "PROTECTION_PAGE",
  fork: "PROTECTION_PAGE",
};

/** Whether an event concerns device reads too: it always concerns device writes. */
export function concernsDeviceReads(kind: EventKind): boolean {
  return CONCERNS[EVENTS[kind]].deviceReads;
}
