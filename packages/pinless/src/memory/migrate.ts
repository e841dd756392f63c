/** Migrates pages to another NUMA node: move_pages(2), a huge page at a time. */

import { ERRNO } from "../abi/numbers.js";
import type { MemoryResult } from "../ports/memory.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { pagesOf, pieces } from "./operation-pieces.js";
import { persistently } from "./retry.js";

/** Pages skipped where the call gave up: the smallest large folio that is common (64 KiB). */
const FOLIO_PAGES = 16;

/** The kernel as the algorithm sees it. */
export interface PageMover {
  /** Calls move_pages(2) on this process; with null for the node it only reports where the pages are. */
  movePages(pages: readonly number[], node: number | null, status: Int32Array): number;
  /** Loads from those of the pages that are in memory. */
  touch(pages: readonly number[]): void;
}

export function migrate(range: Range, node: number, kernel: PageMover): MemoryResult {
  let busy = 0;
  let errno = 0;
  for (const piece of pieces(range)) {
    let left = elsewhere(addressesOf(piece), node, kernel);
    if (left.length === 0) continue;
    const result = persistently(() => {
      const refusal = move(left, node, kernel);
      left = elsewhere(left, node, kernel);
      // The call gave up at the first folio that is pinned; the next attempt begins behind it.
      left = [...left.slice(FOLIO_PAGES), ...left.slice(0, FOLIO_PAGES)];
      return left.length === 0 ? 0 : refusal;
    });
    busy += left.length;
    if (result !== 0) errno = result;
  }
  const pages = pagesOf(range);
  return { pages, done: pages - busy, busy, errno, huge: null };
}

function addressesOf({ start, end }: Range): number[] {
  return Array.from({ length: (end - start) / PAGE_BYTES }, (_, i) => start + i * PAGE_BYTES);
}

/**
 * Pages on other nodes. A page that isn't anywhere needs no migration: ENOENT (never used, discarded, or swapped out),
 * or EFAULT (the shared zero page). But kernels up to 6.1 also report those for pages that NUMA balancing has hidden to
 * see who uses them; a load brings these back.
 */
function elsewhere(pages: readonly number[], node: number, kernel: PageMover): readonly number[] {
  const status = new Int32Array(pages.length);
  const refused = (): boolean => kernel.movePages(pages, null, status) < 0;
  if (refused()) return pages;
  const hidden = pages.filter((_, i) => status[i] === -ERRNO.EFAULT);
  if (hidden.length > 0) {
    kernel.touch(hidden);
    if (refused()) return pages;
  }
  return pages.filter((_, i) => status[i]! >= 0 && status[i] !== node);
}

/**
 * Moves pages; returns 0 or -errno for those that stayed. Moving one page of a huge page moves all of it: the others
 * then report EBUSY, but are on the right node.
 */
function move(pages: readonly number[], node: number, kernel: PageMover): number {
  const status = new Int32Array(pages.length);
  const result = kernel.movePages(pages, node, status);
  if (result < 0) return result;
  // EACCES means that another process has the page mapped too, so that retrying is pointless.
  const held = result > 0 || !status.includes(-ERRNO.EACCES) || status.includes(-ERRNO.EBUSY);
  return held ? -ERRNO.EBUSY : -ERRNO.EACCES;
}
