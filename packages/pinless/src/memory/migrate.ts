/** Migrates pages to another NUMA node: move_pages(2), a huge page at a time. */

import type { MemoryResult } from "../ports/memory.js";
import { EACCES, EBUSY, EFAULT } from "../protocol/errno.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import type { Range } from "../protocol/ranges/ranges.js";
import type { MemoryKernel, Steps } from "./memory-kernel.js";
import { pagesOf, pieces } from "./operation-pieces.js";
import { persistently } from "./retry.js";

/** Pages skipped where the call gave up: the smallest large folio that is common (64 KiB). */
const FOLIO_PAGES = 16;

/** The calls of the kernel that migrate pages. */
export type PageMover = Pick<MemoryKernel, "hugePageBytes" | "nowMs" | "sleep" | "movePages" | "touch">;

export function* migrate(range: Range, node: number, kernel: PageMover): Steps<MemoryResult> {
  let busy = 0;
  let errno = 0;
  for (const piece of pieces(range, kernel.hugePageBytes)) {
    let left = yield* elsewhere(addressesOf(piece), node, kernel);
    if (left.length === 0) continue;
    const result = yield* persistently(kernel, function* () {
      const refusal = yield* move(left, node, kernel);
      left = yield* elsewhere(left, node, kernel);
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
function* elsewhere(pages: readonly number[], node: number, kernel: PageMover): Steps<readonly number[]> {
  const status = new Int32Array(pages.length);
  if ((yield* kernel.movePages(pages, null, status)) < 0) return pages;
  const hidden = pages.filter((_, i) => status[i] === -EFAULT);
  if (hidden.length > 0) {
    kernel.touch(hidden);
    if ((yield* kernel.movePages(pages, null, status)) < 0) return pages;
  }
  return pages.filter((_, i) => status[i]! >= 0 && status[i] !== node);
}

/**
 * Moves pages; returns 0 or -errno for those that stayed. Moving one page of a huge page moves all of it: the others
 * then report EBUSY, but are on the right node.
 */
function* move(pages: readonly number[], node: number, kernel: PageMover): Steps<number> {
  const status = new Int32Array(pages.length);
  const result = yield* kernel.movePages(pages, node, status);
  if (result < 0) return result;
  // EACCES means that another process has the page mapped too, so that retrying is pointless.
  const held = result > 0 || !status.includes(-EACCES) || status.includes(-EBUSY);
  return held ? -EBUSY : -EACCES;
}
