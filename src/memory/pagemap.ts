/** What the page tables say: /proc/self/pagemap, which everyone can read for their own memory. */

import { closeSync, openSync, readSync } from "node:fs";
import type { Range } from "../core/ranges.js";
import { PAGE_BYTES, pagesOf } from "./pieces.js";

const ENTRY_BYTES = 8;
/** Of an entry's highest byte: bits 63, 61 and 56. */
const PRESENT = 0x80;
const OF_FILE = 0x20;
const EXCLUSIVE = 0x01;

/** The highest byte of each page's entry. */
function entries(range: Range): Uint8Array {
  const bytes = new Uint8Array(pagesOf(range) * ENTRY_BYTES);
  const fd = openSync("/proc/self/pagemap", "r");
  try {
    readSync(fd, bytes, 0, bytes.length, (range.start / PAGE_BYTES) * ENTRY_BYTES);
  } finally {
    closeSync(fd);
  }
  return bytes.filter((_, i) => i % ENTRY_BYTES === ENTRY_BYTES - 1);
}

/**
 * Pages of the range that are in memory, and a file's or this process's alone. Others are the shared zero page, which a split huge page of
 * zeros maps, and which holds no memory.
 */
export function residentPages(range: Range): number {
  return entries(range).reduce(
    (sum, entry) => ((entry & PRESENT) !== 0 && (entry & (EXCLUSIVE | OF_FILE)) !== 0 ? sum + 1 : sum),
    0,
  );
}

/** Those of the pages that are in memory; they are of one piece. */
export function presentPages(pages: readonly number[]): readonly number[] {
  const start = Math.min(...pages);
  const found = entries({ start, end: Math.max(...pages) + PAGE_BYTES });
  return pages.filter((page) => (found[(page - start) / PAGE_BYTES]! & PRESENT) !== 0);
}
