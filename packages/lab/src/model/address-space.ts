/**
 * Frames, page tables, and swap: what mm/ does, at the granularity of a page; what is otherwise for mappings of files is in
 * page-cache.ts. Every method is one step that nothing else comes between. Answers are 0 or a negative errno; WAIT where the design makes
 * an invalidation wait for I/O in flight.
 *
 * An anonymous page is at the same place in every process that has it (children keep their parent's addresses): that is its reverse map.
 * PageAnonExclusive is "mapped once": nothing but page tables shares a frame here.
 *
 * What isn't modelled: page tables of several levels, TLBs, LRU order (whoever calls `reclaim` chooses), partial maps of large folios,
 * zones, KSM, the zero page, memory cgroups, mremap of what a child has too. Two processes that bring the same page in from
 * swap get a frame each at once; in Linux they share the swap cache's until one of them stores.
 */

import { EAGAIN, EFAULT, ENOMEM, violated } from "pinless/portable";
import { MachineFrames } from "./frames.js";
import {
  BACKING,
  CONTENT,
  FOLIO_DIRTY,
  HUGE,
  IN_FLIGHT,
  INODE_PAGE,
  LAZY_FREE,
  MAPS,
  PINS,
  PTE_DIRTY,
  PTE_FLAGS,
  PTE_PROTNONE,
  PTE_SOFT_DIRTY,
  PTE_WRITE,
  PTE_YOUNG,
  SWAP_CONTENT,
  SWAP_USERS,
  TARGET,
  VM_MAPPED,
  VM_WRITE,
  WRITEBACK,
} from "./tables.js";

/** Not an errno: the invalidation waits until the I/O in flight has ended, and is tried again then. */
export const WAIT = -1000;

export class MachineMemory extends MachineFrames {
  /** No process has ever had more than its first so many pages mapped: no state, but a bound for who goes through all of them. */
  #top = 0;

  /** Frees a frame that nothing refers to any more. */
  putFrame(frame: number): void {
    const kept = this.frame(frame, MAPS) > 0 || this.frame(frame, PINS) > 0 || this.frame(frame, BACKING) < 0;
    if (kept || (this.frame(frame, IN_FLIGHT) > 0 && this.design === "gup")) return;
    if (this.frame(frame, IN_FLIGHT) !== 0) violated("STATE", `frame ${frame} is freed under I/O`);
    this.#dropSwapCopy(frame);
    this.free(frame);
  }

  /** Whether more than one process has this frame: who writes to it gets a copy first. */
  isShared(page: number): boolean {
    const frame = this.frameOf(page);
    return frame >= 0 && this.frame(frame, MAPS) > 1 && this.pte(page, INODE_PAGE) === 0;
  }

  /** Makes a page present, for a load or for a store (handle_mm_fault). */
  fault(page: number, write: boolean): number {
    const flags = this.pte(page, PTE_FLAGS);
    if ((flags & VM_MAPPED) === 0 || (write && (flags & VM_WRITE) === 0)) return -EFAULT;
    let frame = this.frameOf(page);
    if (frame < 0) {
      // Swapped in it's writable at once, unless a store would have to be seen (pte_needs_soft_dirty_wp); zeros aren't until then.
      const writable = this.pte(page, TARGET) < 0 && (flags & VM_WRITE) !== 0 && (flags & PTE_SOFT_DIRTY) !== 0;
      frame = this.#bringIn(page);
      if (frame < 0) return frame;
      this.setFlags(page, writable ? PTE_WRITE : 0);
    } else if ((flags & PTE_PROTNONE) !== 0) frame = this.#hintingFault(page);
    this.setFlags(page, PTE_YOUNG);
    if (!write) return 0;
    if (!this.is(page, PTE_WRITE)) {
      frame = this.#own(page);
      if (frame < 0) return frame;
      this.setFlags(page, PTE_WRITE);
    }
    this.#dirtied(page, frame);
    return 0;
  }

  /** do_numa_page: the page comes to the node that its process runs on, unless somebody refers to it. Its frame from now on. */
  #hintingFault(page: number): number {
    this.setFlags(page, 0, PTE_PROTNONE);
    // MIGRATE_ASYNC: where it would have to wait it gives up.
    this.migrate(page, this.homeOf(page));
    return this.frameOf(page);
  }

  /** A fault that makes a page present and this process's alone, without a store (FAULT_FLAG_UNSHARE). */
  unshare(page: number): number {
    const errno = this.fault(page, false);
    return errno < 0 ? errno : Math.min(0, this.#own(page));
  }

  /** The frame of a page that nobody else has: where others do they keep it, and this page gets a copy (do_wp_page). -ENOMEM if there's none. */
  #own(page: number): number {
    const from = this.frameOf(page);
    if (!this.isShared(page)) return from;
    const moves = this.design === "notifier" && this.frame(from, IN_FLIGHT) > 0;
    if (moves) violated("STATE", `page ${page} is copied away from I/O in flight`);
    const to = this.allocate(this.frame(from, CONTENT), this.homeOf(page));
    if (to < 0) return -ENOMEM;
    this.unmap(page);
    this.map(page, to);
    this.setFlags(page, PTE_YOUNG);
    return to;
  }

  /** A page that isn't there: zeros, or what swap has. Swapped in for a load it's writable at once, but clean, and keeps its copy in swap. */
  #bringIn(page: number): number {
    const swapSlot = -this.pte(page, TARGET) - 1;
    const frame = this.allocate(swapSlot >= 0 ? this.swap(swapSlot, SWAP_CONTENT) : 0, this.homeOf(page));
    if (frame < 0) return -ENOMEM;
    if (swapSlot >= 0) this.setFrame(frame, BACKING, swapSlot + 1);
    this.map(page, frame);
    return frame;
  }

  map(page: number, frame: number): void {
    this.setPte(page, TARGET, frame + 1);
    this.setFrame(frame, MAPS, this.frame(frame, MAPS) + 1);
  }

  #dirtied(page: number, frame: number): void {
    this.setFlags(page, PTE_DIRTY | PTE_SOFT_DIRTY);
    this.#dropSwapCopy(frame);
  }

  #dropSwapCopy(frame: number): void {
    const backing = this.frame(frame, BACKING);
    if (backing <= 0) return;
    this.#putSwap(backing - 1);
    this.setFrame(frame, BACKING, 0);
  }

  #putSwap(slot: number): void {
    const users = this.swap(slot, SWAP_USERS) - 1;
    this.setSwap(slot, SWAP_USERS, users);
    if (users === 0) this.setSwap(slot, SWAP_CONTENT, 0);
  }

  /** What the program reads there: its content, or a negative errno. */
  load(page: number): number {
    const errno = this.fault(page, false);
    return errno < 0 ? errno : this.frame(this.frameOf(page), CONTENT);
  }

  store(page: number, content: number): number {
    const errno = this.fault(page, true);
    if (errno === 0) this.setFrame(this.frameOf(page), CONTENT, content);
    return errno;
  }

  /** What a load would give, changing nothing. */
  peek(page: number): number {
    const target = this.pte(page, TARGET);
    if (target === 0) return 0;
    return target > 0 ? this.frame(target - 1, CONTENT) : this.swap(-target - 1, SWAP_CONTENT);
  }

  /** MADV_POPULATE_WRITE: present, and dirty even where it was mapped writable and clean. */
  populateWrite(page: number): number {
    const errno = this.fault(page, true);
    if (errno === 0) this.setFrameFlags(this.frameOf(page), FOLIO_DIRTY);
    return errno;
  }

  /** madvise(MADV_DONTNEED): never fails for a pin; what's pinned lives on unmapped, and a device goes on writing to it. */
  discard(page: number): number {
    if (this.mustWait(page)) return WAIT;
    this.#zap(page);
    return 0;
  }

  #zap(page: number): void {
    const target = this.pte(page, TARGET);
    if (target < 0) this.#putSwap(-target - 1);
    if (target > 0) this.unmap(page);
    this.setPte(page, TARGET, 0);
    this.setFlags(page, 0, PTE_WRITE | PTE_DIRTY | PTE_YOUNG | PTE_SOFT_DIRTY);
  }

  /** Takes the entry away, keeps its dirty bit in the folio. */
  unmap(page: number): void {
    const frame = this.frameOf(page);
    if (this.is(page, PTE_DIRTY)) this.setFrameFlags(frame, FOLIO_DIRTY);
    this.setPte(page, TARGET, 0);
    this.setFlags(page, 0, PTE_WRITE | PTE_DIRTY | PTE_YOUNG | PTE_PROTNONE);
    this.setFrame(frame, MAPS, this.frame(frame, MAPS) - 1);
    this.putFrame(frame);
  }

  munmap(page: number): number {
    if (this.mustWait(page)) return WAIT;
    this.#zap(page);
    this.setPte(page, PTE_FLAGS, 0);
    return 0;
  }

  /** mremap: the page is at another address from here on, its frame or its copy in swap with it. `to` is mapped, and loses what it has. */
  mremap(page: number, to: number): void {
    this.#zap(to);
    for (const word of [TARGET, PTE_FLAGS]) {
      this.setPte(to, word, this.pte(page, word));
      this.setPte(page, word, 0);
    }
  }

  /** Maps fresh anonymous memory where nothing is. */
  mmap(page: number): void {
    if (this.is(page, VM_MAPPED)) violated("STATE", `page ${page} is mapped already`);
    this.setPte(page, PTE_FLAGS, VM_WRITE | VM_MAPPED);
    this.#top = Math.max(this.#top, (page % this.size.pages) + 1);
  }

  get topPage(): number {
    return this.#top;
  }

  /** madvise(MADV_FREE): clean from here on, and dropped under pressure unless it's written again. What others have too stays as it is. */
  freeLazily(page: number): number {
    if (this.mustWait(page)) return WAIT;
    const frame = this.frameOf(page);
    if (frame < 0 || this.isShared(page)) return 0;
    this.#dropSwapCopy(frame);
    this.setFrameFlags(frame, LAZY_FREE, FOLIO_DIRTY);
    this.setFlags(page, 0, PTE_DIRTY | PTE_YOUNG);
    return 0;
  }

  /** mprotect. The frame stays where it is, and so does whoever refers to it. */
  protect(page: number, writable: boolean): number {
    if (!writable && this.mustWait(page)) return WAIT;
    if (writable) this.setFlags(page, VM_WRITE);
    else this.setFlags(page, 0, VM_WRITE | PTE_WRITE);
    return 0;
  }

  /** clear_refs 4: dirty tracking begins. The entry is write-protected, so that the next store or pin for writing faults, and is seen. */
  clearSoftDirty(page: number): number {
    if (this.mustWait(page)) return WAIT;
    this.setFlags(page, 0, PTE_SOFT_DIRTY | PTE_WRITE);
    return 0;
  }

  /** Reclaim of one page (kswapd), from everybody who has it: EAGAIN while somebody refers to it. */
  reclaim(page: number): number {
    const frame = this.frameOf(page);
    if (frame < 0) return 0;
    if (this.mustWait(page)) return WAIT;
    if (this.#isHeld(page, frame)) return -EAGAIN;
    // Who else has it has it as dirty: by fork.
    const dirty = this.is(page, PTE_DIRTY) || this.frameIs(frame, FOLIO_DIRTY);
    if (this.frameIs(frame, LAZY_FREE)) {
      // Written since: an ordinary page again, which goes with the next try.
      if (dirty) this.setFrameFlags(frame, 0, LAZY_FREE);
      else
        for (let each = this.#firstMapping(page, frame); each >= 0; each = this.#nextMapping(each, frame))
          this.#zap(each);
      return dirty ? -EAGAIN : 0;
    }
    return this.#swapOut(page, frame, dirty);
  }

  /** The first page at the place of `from`, in its process or a later one, that shows an anonymous frame; -1: none. */
  #mapping(from: number, frame: number): number {
    for (let page = from; page < this.layout.pages.entries; page += this.size.pages)
      if (this.pte(page, TARGET) === frame + 1) return page;
    return -1;
  }

  /** For loops over all pages that show the frame of `page`: the first and the next of them, or -1. */
  #firstMapping(page: number, frame: number): number {
    return this.frame(frame, MAPS) === 1 ? page : this.#mapping(page % this.size.pages, frame);
  }

  #nextMapping(page: number, frame: number): number {
    return this.#mapping(page + this.size.pages, frame);
  }

  /** A page that has a copy in swap and is clean isn't written again: the copy is what's left of it. */
  #swapOut(page: number, frame: number, dirty: boolean): number {
    // What others have in swap stays as it was.
    if (dirty && this.frame(frame, BACKING) > 0 && this.swap(this.frame(frame, BACKING) - 1, SWAP_USERS) > 1)
      this.#dropSwapCopy(frame);
    let slot = this.frame(frame, BACKING) - 1;
    const clean = slot >= 0 && !dirty;
    if (slot < 0) slot = this.#freeSwapSlot();
    if (slot < 0) return -ENOMEM;
    if (!clean) this.setSwap(slot, SWAP_CONTENT, this.frame(frame, CONTENT));
    // The entries take the place of the frame.
    let users = this.swap(slot, SWAP_USERS) - (this.frame(frame, BACKING) > 0 ? 1 : 0);
    this.setFrame(frame, BACKING, 0);
    for (let each = this.#firstMapping(page, frame); each >= 0; each = this.#nextMapping(each, frame)) {
      this.unmap(each);
      this.setPte(each, TARGET, -(slot + 1));
      users++;
    }
    this.setSwap(slot, SWAP_USERS, users);
    return 0;
  }

  #freeSwapSlot(): number {
    for (let slot = 0; slot < this.size.swapSlots; slot++) if (this.swap(slot, SWAP_USERS) === 0) return slot;
    return -1;
  }

  /**
   * Moves a page: to that node, if it isn't there (move_pages, NUMA balancing); without one to another frame where it is (compaction).
   * EAGAIN while somebody refers to it, ENOMEM where that node has nothing free.
   */
  migrate(page: number, node?: number): number {
    const from = this.frameOf(page);
    if (from < 0 || node === this.nodeOf(from)) return 0;
    if (this.mustWait(page)) return WAIT;
    if (this.#isHeld(page, from)) return -EAGAIN;
    const to = this.allocateOn(node ?? this.nodeOf(from), this.frame(from, CONTENT));
    if (to < 0) return -ENOMEM;
    const { at, entryWords } = this.layout.frames;
    this.words.copyWithin(at + to * entryWords, at + from * entryWords, at + (from + 1) * entryWords);
    for (let each = this.#firstMapping(page, from); each >= 0; each = this.#nextMapping(each, from))
      this.setPte(each, TARGET, to + 1);
    this.free(from);
    return 0;
  }

  /** One huge page of `pages` small ones, on the node that has most of them: all or nothing. What others have too is copied for it. */
  collapse(first: number, pages: number): number {
    const counts = new Array<number>(this.nodes).fill(0);
    for (let page = first; page < first + pages; page++) {
      const frame = this.frameOf(page);
      if (frame < 0) return -EAGAIN;
      if (this.mustWait(page)) return WAIT;
      if (this.#isHeld(page, frame)) return -EAGAIN;
      counts[this.nodeOf(frame)]!++;
    }
    const node = counts.indexOf(Math.max(...counts));
    for (let page = first; page < first + pages; page++) {
      const errno = this.#gather(page, node);
      if (errno < 0) return errno;
    }
    for (let page = first; page < first + pages; page++) this.setFrameFlags(this.frameOf(page), HUGE);
    return 0;
  }

  #gather(page: number, node: number): number {
    if (this.isShared(page)) return Math.min(0, this.#own(page));
    return this.migrate(page, this.nodeOf(this.frameOf(page)) === node ? undefined : node);
  }

  /** References beyond the mappings that are found: mm/ gives up (folio_maybe_dma_pinned, folio_expected_ref_count). */
  #isHeld(page: number, frame: number): boolean {
    const mappedElsewhere = this.frame(frame, MAPS) > 1 && !this.isShared(page);
    return this.frame(frame, PINS) > 0 || mappedElsewhere || this.frameIs(frame, WRITEBACK);
  }

  /** Whether an invalidation has to wait for I/O in flight: in the proposal's kernel, and only there. */
  mustWait(page: number): boolean {
    if (this.design !== "notifier") return false;
    const frame = this.frameOf(page);
    return frame >= 0 && this.frame(frame, IN_FLIGHT) > 0;
  }
}
