/** /proc/self/pagemap: the page tables of this process's memory. Only root sees the numbers of page frames. */

import { closeSync, openSync, readSync } from "node:fs";
import { addressOf } from "./proc.js";

const PAGE_BYTES = 4096;
const PRESENT = 1n << 63n;
const SOFT_DIRTY = 1n << 55n;
const FRAME = (1n << 55n) - 1n;

function entriesOf(view: Uint8Array): BigUint64Array {
  const entries = new BigUint64Array(view.byteLength / PAGE_BYTES);
  const fd = openSync("/proc/self/pagemap", "r");
  try {
    readSync(fd, entries, 0, entries.byteLength, (addressOf(view) / PAGE_BYTES) * 8);
  } finally {
    closeSync(fd);
  }
  return entries;
}

/** The number of the frame that each page is in; 0 for one that isn't in memory. */
export function framesOf(view: Uint8Array): number[] {
  return Array.from(entriesOf(view), (entry) => ((entry & PRESENT) === 0n ? 0 : Number(entry & FRAME)));
}

/** For each page: true if it was written since 4 was last written to /proc/self/clear_refs. */
export function softDirtyOf(view: Uint8Array): boolean[] {
  return Array.from(entriesOf(view), (entry) => (entry & SOFT_DIRTY) !== 0n);
}
