/**
 * fork and exit. A child gets a copy of its parent's page table: both share the pages in memory, write-protected, until
 * one of them stores. Pinned pages are copied for the child at once, so that the device and the parent keep the same
 * frame (copy_present_page).
 *
 * Not modelled: threads, exec, vfork (which copies nothing), MADV_WIPEONFORK, and I/O of the child on an inherited
 * ring.
 */

import { ENOMEM, violated } from "pinless/portable";
import type { Kernel } from "./model-kernel.js";
import { WAIT } from "./page-tables.js";
import {
  CONTENT,
  INODE_PAGE,
  PINS,
  PTE_DIRTY,
  PTE_FLAGS,
  PTE_WRITE,
  SWAP_USERS,
  TARGET,
  VM_DONTCOPY,
  VM_MAPPED,
} from "./tables.js";

/**
 * Makes `child` a copy of `parent`. Returns the number of pages copied at once because they were pinned, which is what
 * makes fork slow; or -ENOMEM, without a child; or WAIT in the proposal, where write-protecting the parent is an
 * invalidation, with no effect.
 */
export function fork(machine: Kernel, parent: number, child: number): number {
  const { pages } = machine.size;
  const [from, to] = [parent * pages, child * pages];
  for (let i = 0; i < machine.tables.topPage; i++) {
    if (machine.tables.is(to + i, VM_MAPPED)) violated("STATE", `process ${child} is there already`);
    if (machine.tables.mustWait(from + i) && isInherited(machine, from + i)) return WAIT;
  }
  let copied = 0;
  for (let i = 0; i < machine.tables.topPage; i++) {
    if (!isInherited(machine, from + i)) continue;
    const answer = inherit(machine, from + i, to + i);
    if (answer < 0) {
      exit(machine, child);
      return answer;
    }
    copied += answer;
  }
  return copied;
}

function isInherited(machine: Kernel, page: number): boolean {
  return machine.tables.is(page, VM_MAPPED) && !machine.tables.is(page, VM_DONTCOPY);
}

/** Copies one page table entry. Returns the number of copied pages, or -ENOMEM. */
function inherit(machine: Kernel, page: number, childs: number): number {
  const target = machine.tables.pte(page, TARGET);
  const flags = machine.tables.pte(page, PTE_FLAGS);
  const inodePage = machine.tables.pte(page, INODE_PAGE) - 1;
  const isFile = inodePage >= 0;
  machine.tables.setPte(childs, PTE_FLAGS, flags & ~(isFile ? PTE_WRITE | PTE_DIRTY : PTE_WRITE));
  // The child finds pages of a file in the page cache.
  if (isFile) machine.cache.becomeMapping(childs, inodePage);
  if (target === 0 || isFile) return 0;
  if (target < 0) {
    machine.tables.setPte(childs, TARGET, target);
    machine.frames.setSwap(-target - 1, SWAP_USERS, machine.frames.swap(-target - 1, SWAP_USERS) + 1);
    return 0;
  }
  const frame = target - 1;
  if (machine.frames.frame(frame, PINS) > 0 && machine.size.sharesPinned !== true) {
    const copy = machine.frames.allocate(machine.frames.frame(frame, CONTENT), machine.tables.homeOf(childs));
    if (copy < 0) return -ENOMEM;
    machine.tables.map(childs, copy);
    return 1;
  }
  machine.tables.map(childs, frame);
  machine.tables.setFlags(page, 0, PTE_WRITE);
  return 0;
}

/**
 * Ends a process and unmaps its memory. Returns WAIT in the proposal while I/O is in flight on that memory; the caller
 * then asks again.
 */
export function exit(machine: Kernel, process: number): number {
  const { pages } = machine.size;
  const first = process * pages;
  for (let page = first; page < first + machine.tables.topPage; page++) if (machine.tables.mustWait(page)) return WAIT;
  for (let page = first; page < first + machine.tables.topPage; page++)
    if (machine.tables.is(page, VM_MAPPED)) machine.memory.munmap(page);
  return 0;
}
