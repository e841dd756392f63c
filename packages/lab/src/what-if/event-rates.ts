/** Kinds of memory operations, by the kernel's names, and the invalidation event of each. */

import { CONCERNS, type MmuEvent } from "pinless/portable";

/** Kinds that a plan has rates for, in the order of reports. */
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

/** NUMA balancing has two steps: it makes a range fault, which moves nothing, and then moves it. */
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

/** True if the event concerns device reads. Every event concerns device writes. */
export function concernsDeviceReads(kind: EventKind): boolean {
  return CONCERNS[EVENTS[kind]].deviceReads;
}
