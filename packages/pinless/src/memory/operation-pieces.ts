/** The pieces in which memory operations are done: a huge page each, counted in pages. */

import type { MemoryResult } from "../ports/memory.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import { alignDown, alignUp, intersect, type Range } from "../protocol/ranges/ranges.js";

/** Cuts a range at the boundaries of huge pages. */
export function* pieces(range: Range, hugePageBytes: number): Generator<Range> {
  for (let at = alignDown(range.start, hugePageBytes); at < range.end; at += hugePageBytes) {
    yield intersect(range, { start: at, end: at + hugePageBytes });
  }
}

export function pagesOf(r: Range): number {
  return (alignUp(r.end, PAGE_BYTES) - alignDown(r.start, PAGE_BYTES)) / PAGE_BYTES;
}

/** Result of one call for the whole range. */
export function inOne(range: Range, errno: number): MemoryResult {
  const pages = pagesOf(range);
  return { pages, done: errno === 0 ? pages : 0, busy: errno === 0 ? 0 : pages, errno, huge: null };
}
