/**
 * Frames, one process's page tables, and swap: what mm/ does, at the granularity of a page. Every method is one step that nothing else
 * comes between. Answers are 0 or a negative errno; WAIT where the design makes an invalidation wait for I/O in flight.
 *
 * What isn't modelled: page tables of several levels, TLBs, LRU order (whoever calls `reclaim` chooses), partial maps of large folios,
 * zones and nodes beyond "another frame", KSM, the zero page, memory cgroups.
 */

import { invariant } from "../core/assert.js";
import { EFAULT, ENOMEM } from "../core/ports.js";
import { MachineFrames } from "./frames.js";
import {
  BACKING,
  CONTENT,
  FILE_BLOCK,
  FOLIO_DIRTY,
  HUGE,
  IN_FLIGHT,
  LAZY_FREE,
  MAPS,
  PINS,
  PTE_DIRTY,
  PTE_FLAGS,
  PTE_SOFT_DIRTY,
  PTE_WRITE,
  PTE_YOUNG,
  SWAP_CONTENT,
  SWAP_USED,
  TARGET,
  VM_MAPPED,
  VM_WRITE,
  WRITEBACK,
} from "./tables.js";

const EAGAIN = 11;
/** Not an errno: the invalidation waits until the I/O in flight has ended, and is tried again then. */
export const WAIT = -1000;

export class MachineMemory extends MachineFrames {
  /** Frees a frame that nothing refers to any more. */
  putFrame(frame: number): void {
    const kept = this.frame(frame, MAPS) > 0 || this.frame(frame, PINS) > 0 || this.frame(frame, BACKING) < 0;
    if (kept || (this.frame(frame, IN_FLIGHT) > 0 && this.design === "gup")) return;
    invariant("STATE", this.frame(frame, IN_FLIGHT) === 0, `frame ${frame} is freed under I/O`);
    this.#dropSwapCopy(frame);
    this.free(frame);
  }

  /** Makes a page present, for a load or for a store (handle_mm_fault). */
  fault(page: number, write: boolean): number {
    const flags = this.pte(page, PTE_FLAGS);
    if ((flags & VM_MAPPED) === 0 || (write && (flags & VM_WRITE) === 0)) return -EFAULT;
    let frame = this.frameOf(page);
    if (frame < 0) {
      invariant("STATE", this.pte(page, FILE_BLOCK) === 0, `page ${page} of a file is faulted in by its own code`);
      // Swapped in it's writable at once, unless a store would have to be seen (pte_needs_soft_dirty_wp); zeros aren't until then.
      const writable = this.pte(page, TARGET) < 0 && (flags & VM_WRITE) !== 0 && (flags & PTE_SOFT_DIRTY) !== 0;
      frame = this.#bringIn(page);
      if (frame < 0) return frame;
      this.setFlags(page, writable ? PTE_WRITE : 0);
    }
    this.setFlags(page, PTE_YOUNG);
    if (write && !this.is(page, PTE_WRITE)) this.setFlags(page, PTE_WRITE);
    if (write) this.#dirtied(page, frame);
    return 0;
  }

  /** A page that isn't there: zeros, or what swap has. Swapped in for a load it's writable at once, but clean, and keeps its copy in swap. */
  #bringIn(page: number): number {
    const swapSlot = -this.pte(page, TARGET) - 1;
    const frame = this.allocate(swapSlot >= 0 ? this.swap(swapSlot, SWAP_CONTENT) : 0);
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
    this.setSwap(backing - 1, SWAP_USED, 0);
    this.setSwap(backing - 1, SWAP_CONTENT, 0);
    this.setFrame(frame, BACKING, 0);
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
    if (this.#mustWait(page)) return WAIT;
    this.#zap(page);
    return 0;
  }

  #zap(page: number): void {
    const target = this.pte(page, TARGET);
    if (target < 0) {
      this.setSwap(-target - 1, SWAP_USED, 0);
      this.setSwap(-target - 1, SWAP_CONTENT, 0);
    }
    if (target > 0) this.unmap(page);
    this.setPte(page, TARGET, 0);
    this.setFlags(page, 0, PTE_WRITE | PTE_DIRTY | PTE_YOUNG | PTE_SOFT_DIRTY);
  }

  /** Takes the entry away, keeps its dirty bit in the folio. */
  unmap(page: number): void {
    const frame = this.frameOf(page);
    if (this.is(page, PTE_DIRTY)) this.setFrameFlags(frame, FOLIO_DIRTY);
    this.setPte(page, TARGET, 0);
    this.setFlags(page, 0, PTE_WRITE | PTE_DIRTY | PTE_YOUNG);
    this.setFrame(frame, MAPS, this.frame(frame, MAPS) - 1);
    this.putFrame(frame);
  }

  munmap(page: number): number {
    if (this.#mustWait(page)) return WAIT;
    this.#zap(page);
    this.setPte(page, PTE_FLAGS, 0);
    return 0;
  }

  /** Maps fresh anonymous memory where nothing is. */
  mmap(page: number): void {
    invariant("STATE", !this.is(page, VM_MAPPED), `page ${page} is mapped already`);
    this.setPte(page, PTE_FLAGS, VM_WRITE | VM_MAPPED);
  }

  /** madvise(MADV_FREE): clean from here on, and dropped under pressure unless it's written again. */
  freeLazily(page: number): number {
    if (this.#mustWait(page)) return WAIT;
    const frame = this.frameOf(page);
    if (frame < 0) return 0;
    this.#dropSwapCopy(frame);
    this.setFrameFlags(frame, LAZY_FREE, FOLIO_DIRTY);
    this.setFlags(page, 0, PTE_DIRTY | PTE_YOUNG);
    return 0;
  }

  /** mprotect. The frame stays where it is, and so does whoever refers to it. */
  protect(page: number, writable: boolean): number {
    if (!writable && this.#mustWait(page)) return WAIT;
    if (writable) this.setFlags(page, VM_WRITE);
    else this.setFlags(page, 0, VM_WRITE | PTE_WRITE);
    return 0;
  }

  /** clear_refs 4: dirty tracking begins. The entry is write-protected, so that the next store or pin for writing faults, and is seen. */
  clearSoftDirty(page: number): number {
    if (this.#mustWait(page)) return WAIT;
    this.setFlags(page, 0, PTE_SOFT_DIRTY | PTE_WRITE);
    return 0;
  }

  /** Reclaim of one page (MADV_PAGEOUT, kswapd): EAGAIN while somebody refers to it. */
  reclaim(page: number): number {
    const frame = this.frameOf(page);
    if (frame < 0 || this.pte(page, FILE_BLOCK) !== 0) return 0;
    if (this.#mustWait(page)) return WAIT;
    if (this.#isHeld(frame)) return -EAGAIN;
    const dirty = this.is(page, PTE_DIRTY) || this.frameIs(frame, FOLIO_DIRTY);
    if (this.frameIs(frame, LAZY_FREE)) {
      // Written since: an ordinary page again, which goes with the next try.
      if (dirty) this.setFrameFlags(frame, 0, LAZY_FREE);
      else this.#zap(page);
      return dirty ? -EAGAIN : 0;
    }
    return this.#swapOut(page, frame, dirty);
  }

  /** A page that has a copy in swap and is clean isn't written again: the copy is what's left of it. */
  #swapOut(page: number, frame: number, dirty: boolean): number {
    let slot = this.frame(frame, BACKING) - 1;
    const clean = slot >= 0 && !dirty;
    if (slot < 0) slot = this.#freeSwapSlot();
    if (slot < 0) return -ENOMEM;
    if (!clean) this.setSwap(slot, SWAP_CONTENT, this.frame(frame, CONTENT));
    this.setSwap(slot, SWAP_USED, 1);
    this.setFrame(frame, BACKING, 0);
    this.unmap(page);
    this.setPte(page, TARGET, -(slot + 1));
    return 0;
  }

  #freeSwapSlot(): number {
    for (let slot = 0; slot < this.size.swapSlots; slot++) if (this.swap(slot, SWAP_USED) === 0) return slot;
    return -1;
  }

  /** Moves a page to another frame: move_pages, compaction, NUMA balancing. EAGAIN while somebody refers to it. */
  migrate(page: number): number {
    const from = this.frameOf(page);
    if (from < 0) return 0;
    if (this.#mustWait(page)) return WAIT;
    if (this.#isHeld(from)) return -EAGAIN;
    const to = this.allocate(this.frame(from, CONTENT));
    if (to < 0) return -ENOMEM;
    const { at, entryWords } = this.layout.frames;
    this.words.copyWithin(at + to * entryWords, at + from * entryWords, at + (from + 1) * entryWords);
    this.free(from);
    this.setPte(page, TARGET, to + 1);
    return 0;
  }

  /** One huge page of `pages` small ones: all or nothing. */
  collapse(first: number, pages: number): number {
    for (let page = first; page < first + pages; page++) {
      const frame = this.frameOf(page);
      if (frame < 0) return -EAGAIN;
      if (this.#mustWait(page)) return WAIT;
      if (this.#isHeld(frame)) return -EAGAIN;
    }
    for (let page = first; page < first + pages; page++) {
      const errno = this.migrate(page);
      if (errno < 0) return errno;
      this.setFrameFlags(this.frameOf(page), HUGE);
    }
    return 0;
  }

  /** References beyond the one mapping: mm/ gives up (folio_maybe_dma_pinned, folio_expected_ref_count). */
  #isHeld(frame: number): boolean {
    return this.frame(frame, PINS) > 0 || this.frame(frame, MAPS) > 1 || this.frameIs(frame, WRITEBACK);
  }

  /** Whether an invalidation has to wait for I/O in flight: in the proposal's kernel, and only there. */
  #mustWait(page: number): boolean {
    const frame = this.frameOf(page);
    return this.design === "notifier" && frame >= 0 && this.frame(frame, IN_FLIGHT) > 0;
  }
}
