/**
 * What the kernel's daemons do about where pages are: NUMA balancing, compaction, khugepaged; a step of one at a time,
 * and figures of what they can do. None of them moves a page that somebody refers to; in the proposal they wait for I/O
 * in flight, or come back later.
 *
 * What isn't modelled: page blocks by migrate type, scan rates, how far a node is, that frames of a huge page lie side
 * by side (the figure says how many such areas could be had), pages of files, which compaction leaves where they are.
 */

import { EAGAIN } from "pinless/portable";
import type { Kernel } from "./model-kernel.js";
import { WAIT } from "./page-tables.js";
import { HUGE, IN_USE, INODE_PAGE, PINS, PTE_PROTNONE, TARGET, WRITEBACK } from "./tables.js";

const HUGE_PAGES = 512;

/**
 * NUMA balancing comes across a page (change_prot_numa): the next load or store of it faults, and brings it to the node
 * that its process runs on. Pages that are there, are pinned or are others' too stay as they are: EAGAIN. WAIT (the
 * proposal): I/O is in flight on it.
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
 * khugepaged comes across the area of a huge page: 0 where it's one now; EAGAIN where it gives up; WAIT: it comes back.
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
  /** Pages that would have been moved, but that somebody refers to, or (the proposal) that I/O is in flight on. */
  readonly held: number;
}

/**
 * Compacts a node: pages of its first frames go to its last free ones, until the two meet, or `most` were looked at.
 */
export function compact(machine: Kernel, node = 0, most = Number.POSITIVE_INFINITY): Compaction {
  const pages = pagesByFrame(machine);
  const free = machine.frames.freeOf(node).sort((a, b) => a - b);
  const left: number[] = [];
  let [moved, held, looked] = [0, 0, 0];
  for (const frame of machine.frames.framesOf(node)) {
    if (!machine.frames.frameIs(frame, IN_USE)) continue;
    const to = free.at(-1);
    if (to === undefined || to < frame || looked++ >= most) break;
    // It's the only one to be had, and what is left is no place to go to.
    machine.frames.setFree(node, [to]);
    const page = pages[frame]! - 1;
    if (page < 0 || machine.memory.migrate(page) !== 0) {
      held++;
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

/** For each frame a page + 1 that shows it. */
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

/** Frames of a node that can't be moved now. */
export function unmovable(machine: Kernel, node = 0): number {
  return machine.frames.framesOf(node).filter((frame) => isUnmovable(machine, frame)).length;
}

/**
 * How many huge pages could be had of a node, if compaction had all the time it likes: areas of so many frames without
 * one that can't be moved, as far as what is in them finds room elsewhere.
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
