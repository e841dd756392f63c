/**
 * Daemons of the kernel that move pages: single steps of NUMA balancing, compaction and khugepaged, and how many huge
 * pages they could obtain. None of them moves a page with extra references. In the proposal they wait for I/O in
 * flight, or retry later.
 *
 * Not modelled: page blocks by migrate type, scan rates, NUMA distances, that the frames of a huge page are adjacent
 * (`hugePagesObtainable` counts such areas), and compaction of file pages.
 */

import { EAGAIN } from "pinless/portable";
import type { Kernel } from "./model-kernel.js";
import { WAIT } from "./page-tables.js";
import { HUGE, HUGE_PAGES, IN_USE, INODE_PAGE, PINS, PTE_PROTNONE, TARGET, WRITEBACK } from "./tables.js";

/**
 * Applies NUMA balancing to a page (change_prot_numa): the next access faults, and moves the page to the node that its
 * process runs on. Pages that are absent, pinned, shared or of a file aren't touched: -EAGAIN. WAIT in the proposal
 * while I/O is in flight on it.
 */
export function hint(machine: Kernel, page: number): number {
  const frame = machine.tables.frameOf(page);
  const skipped = frame < 0 || machine.tables.pte(page, INODE_PAGE) !== 0 || machine.tables.isShared(page);
  if (skipped || machine.frames.frame(frame, PINS) > 0 || machine.frames.nodeOf(frame) === machine.tables.homeOf(page))
    return -EAGAIN;
  if (machine.tables.mustWait(page)) return WAIT;
  machine.tables.setFlags(page, PTE_PROTNONE);
  return 0;
}

/**
 * Applies khugepaged to the area of a huge page. Returns 0 if it's a huge page now, -EAGAIN if khugepaged gives up,
 * WAIT if it retries later.
 */
export function khugepaged(machine: Kernel, first: number, pages = HUGE_PAGES): number {
  for (let page = first; page < first + pages; page++) {
    const frame = machine.tables.frameOf(page);
    if (frame < 0 || machine.frames.frameIs(frame, HUGE)) return frame < 0 ? -EAGAIN : 0;
  }
  return machine.memory.collapse(first, pages);
}

export interface Compaction {
  readonly moved: number;
  /** Pages that couldn't be moved because of extra references or, in the proposal, I/O in flight. */
  readonly held: number;
}

/**
 * Compacts a node: moves pages from its first frames to its last free frames, until both meet or `most` pages were
 * looked at. `refused` is told of each frame that is held.
 */
export function compact(
  machine: Kernel,
  node = 0,
  most = Number.POSITIVE_INFINITY,
  refused?: (frame: number) => void,
): Compaction {
  const pages = pagesByFrame(machine);
  const free = machine.frames.freeOf(node).sort((a, b) => a - b);
  const left: number[] = [];
  let [moved, held, looked] = [0, 0, 0];
  for (const frame of machine.frames.framesOf(node)) {
    if (!machine.frames.frameIs(frame, IN_USE)) continue;
    const to = free.at(-1);
    if (to === undefined || to < frame || looked++ >= most) break;
    // Restricts the allocation to this frame. Frames left behind aren't targets.
    machine.frames.setFree(node, [to]);
    const page = pages[frame]! - 1;
    if (page < 0 || machine.memory.migrate(page) !== 0) {
      held++;
      refused?.(frame);
      continue;
    }
    moved++;
    free.pop();
    left.push(frame);
  }
  machine.frames.setFree(
    node,
    [...left, ...free].sort((a, b) => a - b),
  );
  return { moved, held };
}

/** Finds for each frame a page that maps it, as page + 1. */
function pagesByFrame(machine: Kernel): Int32Array {
  const pages = new Int32Array(machine.size.frames);
  const { pages: each } = machine.size;
  for (let first = 0; first < machine.frames.layout.pages.entries; first += each)
    for (let page = first; page < first + machine.tables.topPage; page++) {
      const target = machine.tables.pte(page, TARGET);
      if (target > 0 && machine.tables.pte(page, INODE_PAGE) === 0) pages[target - 1] = page + 1;
    }
  return pages;
}

function isUnmovable(machine: Kernel, frame: number): boolean {
  return machine.frames.frame(frame, PINS) > 0 || machine.frames.frameIs(frame, WRITEBACK);
}

/** Counts the frames of a node that can't be moved now. */
export function unmovable(machine: Kernel, node = 0): number {
  return machine.frames.framesOf(node).filter((frame) => isUnmovable(machine, frame)).length;
}

/**
 * Counts the huge pages of a node that unlimited compaction could obtain: areas without an unmovable frame, as far as
 * free frames elsewhere can take their pages.
 */
export function hugePagesObtainable(machine: Kernel, node = 0, pages = HUGE_PAGES): number {
  let free = 0;
  const blocked = new Set<number>();
  const areas = new Map<number, number>();
  for (const frame of machine.frames.framesOf(node)) {
    const area = Math.floor(frame / pages);
    areas.set(area, (areas.get(area) ?? 0) + 1);
    if (!machine.frames.frameIs(frame, IN_USE)) free++;
    else if (isUnmovable(machine, frame)) blocked.add(area);
  }
  const possible = [...areas].filter(([area, frames]) => frames === pages && !blocked.has(area)).length;
  return Math.min(possible, Math.floor(free / pages));
}
