/** Moves pages to another NUMA node: move_pages(2), a huge page at a time. */

import { ERRNO } from "../abi/numbers.js";
import type { MemoryResult } from "../ports/memory.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { PAGE_BYTES, pagesOf, pieces } from "./operation-pieces.js";
import { persistently } from "./retry.js";

/** Pages that are passed over where the call gave up: of the smallest of the kernel's larger folios that are common (64 KiB). */
const FOLIO_PAGES = 16;

/** What is asked of the kernel. */
export interface PageMover {
  /** move_pages(2) on this process; with null for the node it only says where the pages are. */
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
      // It gave up at the first folio that somebody holds: next time those behind that one come first.
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
 * The pages that are on other nodes. Those that aren't anywhere have nothing to be moved: ENOENT (never used, discarded, or in swap), and
 * EFAULT, which is the page of zeros that all processes share; but older kernels (6.1) say so too of pages that NUMA balancing has hidden
 * to see who uses them. A load brings those back.
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

/** Why pages stayed. A page of a huge page takes all of it along: the others then say EBUSY, and are where they belong all the same. */
function move(pages: readonly number[], node: number, kernel: PageMover): number {
  const status = new Int32Array(pages.length);
  const result = kernel.movePages(pages, node, status);
  if (result < 0) return result;
  // EACCES: another process has the page too, and will have it as long as it likes.
  const held = result > 0 || !status.includes(-ERRNO.EACCES) || status.includes(-ERRNO.EBUSY);
  return held ? -ERRNO.EBUSY : -ERRNO.EACCES;
}
