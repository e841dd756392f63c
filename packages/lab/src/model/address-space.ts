/**
 * Address spaces, as mm/ has them, at the granularity of a page: faults, memory calls, reclaim, migration, huge pages.
 * Every method is one step that nothing else comes between. Answers are 0 or a negative errno; WAIT where the design
 * makes an invalidation wait for I/O in flight, or where a fault on a file's page sleeps until writeback ends.
 *
 * Supported: anonymous private memory, and shared mappings of files; swap, MADV_DONTNEED, MADV_FREE,
 * MADV_POPULATE_WRITE, mprotect, munmap, mremap of anonymous memory, soft-dirty, NUMA hinting, reclaim, migration,
 * collapse.
 *
 * Rejected: MADV_FREE and collapse of mappings of files (-EINVAL); access beyond the end of a file, or where it can't
 * be read or has no room (a program gets SIGBUS, and I/O -EFAULT: here both get -EFAULT).
 *
 * Differs from Linux: there's no LRU order (the caller of `reclaim` chooses the page), and no zero page; large folios
 * are never mapped in part; mremap takes nothing along that a child has too, nor mappings of files. Two processes that
 * bring the same page in from swap get a frame each at once; in Linux they share the swap cache's until one of them
 * stores.
 */

import { EAGAIN, EFAULT, EINVAL, EIO, ENOMEM, ENOSPC, violated } from "pinless/portable";
import type { Frames } from "./frames.js";
import type { PageCache } from "./page-cache.js";
import { type PageTables, WAIT } from "./page-tables.js";
import {
  BACKING,
  CONTENT,
  EXISTS,
  FOLIO_DIRTY,
  HUGE,
  IN_FLIGHT,
  INODE_FRAME,
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

/** Access that a page is made present for. */
export type PageAccess = "load" | "store";

export class AddressSpace {
  readonly #frames: Frames;
  readonly #tables: PageTables;
  readonly #cache: PageCache;

  constructor(frames: Frames, tables: PageTables, cache: PageCache) {
    this.#frames = frames;
    this.#tables = tables;
    this.#cache = cache;
  }

  /** The page of a file that a page is a mapping of, or -1: it's anonymous. */
  #inodePageOf(page: number): number {
    return this.#tables.pte(page, INODE_PAGE) - 1;
  }

  /** Makes a page present (handle_mm_fault). */
  fault(page: number, access: PageAccess): number {
    const flags = this.#tables.pte(page, PTE_FLAGS);
    const write = access === "store";
    if ((flags & VM_MAPPED) === 0 || (write && (flags & VM_WRITE) === 0)) return -EFAULT;
    const inodePage = this.#inodePageOf(page);
    return inodePage < 0 ? this.#anonymousFault(page, flags, write) : this.#fileFault(page, inodePage, write);
  }

  /** do_shared_fault and do_read_fault, without faults around. */
  #fileFault(page: number, inodePage: number, write: boolean): number {
    if (this.#tables.frameOf(page) < 0) {
      const exists = this.#cache.inodeIs(inodePage, EXISTS);
      const errno = exists ? this.#cache.bringIn(inodePage, this.#tables.homeOf(page)) : -EFAULT;
      if (errno < 0) return errno === -EIO ? -EFAULT : errno;
      this.#tables.map(page, this.#cache.cachedIn(inodePage));
    }
    this.#tables.setFlags(page, PTE_YOUNG);
    if (!write) return 0;
    const errno = this.#tables.is(page, PTE_WRITE) ? 0 : this.#cache.makeWritable(inodePage);
    if (errno === 0) this.#tables.setFlags(page, PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY);
    return errno === -ENOSPC ? -EFAULT : errno;
  }

  #anonymousFault(page: number, flags: number, write: boolean): number {
    let frame = this.#tables.frameOf(page);
    if (frame < 0) {
      // A page from swap is writable at once, unless a store has to be seen (pte_needs_soft_dirty_wp). A page of zeros
      // becomes writable with its first store.
      const writable = this.#tables.pte(page, TARGET) < 0 && (flags & VM_WRITE) !== 0 && (flags & PTE_SOFT_DIRTY) !== 0;
      frame = this.#bringIn(page);
      if (frame < 0) return frame;
      this.#tables.setFlags(page, writable ? PTE_WRITE : 0);
    } else if ((flags & PTE_PROTNONE) !== 0) frame = this.#hintingFault(page);
    this.#tables.setFlags(page, PTE_YOUNG);
    if (!write) return 0;
    if (!this.#tables.is(page, PTE_WRITE)) {
      frame = this.#own(page);
      if (frame < 0) return frame;
      this.#tables.setFlags(page, PTE_WRITE);
    }
    this.#dirtied(page, frame);
    return 0;
  }

  /**
   * do_numa_page: moves the page to the node that its process runs on, unless it is referred to. Returns its frame
   * after that.
   */
  #hintingFault(page: number): number {
    this.#tables.setFlags(page, 0, PTE_PROTNONE);
    // MIGRATE_ASYNC: where it would have to wait it gives up.
    this.migrate(page, this.#tables.homeOf(page));
    return this.#tables.frameOf(page);
  }

  /** A fault that makes a page present and this process's alone, without a store (FAULT_FLAG_UNSHARE). */
  unshare(page: number): number {
    const errno = this.fault(page, "load");
    return errno < 0 ? errno : Math.min(0, this.#own(page));
  }

  /**
   * Makes a page this process's alone: a frame that is shared stays the others', and the page gets a copy (do_wp_page).
   * The frame, or -ENOMEM.
   */
  #own(page: number): number {
    const from = this.#tables.frameOf(page);
    if (!this.#tables.isShared(page)) return from;
    const moves = this.#frames.design === "notifier" && this.#frames.frame(from, IN_FLIGHT) > 0;
    if (moves) violated("STATE", `page ${page} is copied away from I/O in flight`);
    const to = this.#frames.allocate(this.#frames.frame(from, CONTENT), this.#tables.homeOf(page));
    if (to < 0) return -ENOMEM;
    this.#tables.unmap(page);
    this.#tables.map(page, to);
    this.#tables.setFlags(page, PTE_YOUNG);
    return to;
  }

  /**
   * Brings an absent page in: zeros, or its copy in swap, which it keeps as long as it's clean. The frame, or -ENOMEM.
   */
  #bringIn(page: number): number {
    const swapSlot = -this.#tables.pte(page, TARGET) - 1;
    const frame = this.#frames.allocate(
      swapSlot >= 0 ? this.#frames.swap(swapSlot, SWAP_CONTENT) : 0,
      this.#tables.homeOf(page),
    );
    if (frame < 0) return -ENOMEM;
    if (swapSlot >= 0) this.#frames.setFrame(frame, BACKING, swapSlot + 1);
    this.#tables.map(page, frame);
    return frame;
  }

  #dirtied(page: number, frame: number): void {
    this.#tables.setFlags(page, PTE_DIRTY | PTE_SOFT_DIRTY);
    this.#frames.dropSwapCopy(frame);
  }

  /** The content that the program reads there, or a negative errno. */
  load(page: number): number {
    const errno = this.fault(page, "load");
    return errno < 0 ? errno : this.#frames.frame(this.#tables.frameOf(page), CONTENT);
  }

  store(page: number, content: number): number {
    const errno = this.fault(page, "store");
    if (errno === 0) this.#frames.setFrame(this.#tables.frameOf(page), CONTENT, content);
    return errno;
  }

  /** The content that a load would give, without the load's effects. */
  peek(page: number): number {
    const inodePage = this.#inodePageOf(page);
    if (inodePage >= 0) return this.#cache.contentOfInode(inodePage);
    const target = this.#tables.pte(page, TARGET);
    if (target === 0) return 0;
    return target > 0 ? this.#frames.frame(target - 1, CONTENT) : this.#frames.swap(-target - 1, SWAP_CONTENT);
  }

  /** MADV_POPULATE_WRITE: present, and dirty even where it was mapped writable and clean. */
  populateWrite(page: number): number {
    const errno = this.fault(page, "store");
    if (errno === 0) this.#frames.setFrameFlags(this.#tables.frameOf(page), FOLIO_DIRTY);
    return errno;
  }

  /**
   * madvise(MADV_DONTNEED): never fails for a pin; what's pinned lives on unmapped, and a device goes on writing to it.
   */
  discard(page: number): number {
    if (this.#tables.mustWait(page)) return WAIT;
    this.#zap(page);
    return 0;
  }

  #zap(page: number): void {
    const target = this.#tables.pte(page, TARGET);
    if (target < 0) this.#frames.putSwap(-target - 1);
    if (target > 0) this.#tables.unmap(page);
    this.#tables.setPte(page, TARGET, 0);
    this.#tables.setFlags(page, 0, PTE_WRITE | PTE_DIRTY | PTE_YOUNG | PTE_SOFT_DIRTY);
  }

  /** munmap. A pin isn't in its way either: what's pinned lives on unmapped. */
  munmap(page: number): number {
    if (this.#tables.mustWait(page)) return WAIT;
    this.#zap(page);
    this.#tables.setPte(page, PTE_FLAGS, 0);
    this.#cache.stopMapping(page);
    return 0;
  }

  /**
   * mremap: moves a page, with its frame or its copy in swap, to another address; what was mapped there is unmapped.
   */
  mremap(page: number, to: number): void {
    this.#zap(to);
    for (const word of [TARGET, PTE_FLAGS]) {
      this.#tables.setPte(to, word, this.#tables.pte(page, word));
      this.#tables.setPte(page, word, 0);
    }
  }

  /** Maps fresh anonymous memory where nothing is. */
  mmap(page: number): void {
    if (this.#tables.is(page, VM_MAPPED)) violated("STATE", `page ${page} is mapped already`);
    this.#tables.setPte(page, PTE_FLAGS, VM_WRITE | VM_MAPPED);
    this.#tables.topPage = Math.max(this.#tables.topPage, (page % this.#frames.size.pages) + 1);
  }

  /** mmap(MAP_SHARED) of one page of a file, where nothing is mapped. */
  mapFile(page: number, inodePage: number): void {
    this.mmap(page);
    this.#cache.becomeMapping(page, inodePage);
  }

  /**
   * madvise(MADV_FREE): clean from here on, and dropped under pressure unless it's written again. A shared page stays
   * as it is.
   */
  freeLazily(page: number): number {
    if (this.#inodePageOf(page) >= 0) return -EINVAL;
    if (this.#tables.mustWait(page)) return WAIT;
    const frame = this.#tables.frameOf(page);
    if (frame < 0 || this.#tables.isShared(page)) return 0;
    this.#frames.dropSwapCopy(frame);
    this.#frames.setFrameFlags(frame, LAZY_FREE, FOLIO_DIRTY);
    this.#tables.setFlags(page, 0, PTE_DIRTY | PTE_YOUNG);
    return 0;
  }

  /** mprotect. The frame stays where it is, with its pins. */
  protect(page: number, access: "read" | "readwrite"): number {
    if (access === "read" && this.#tables.mustWait(page)) return WAIT;
    if (access === "readwrite") this.#tables.setFlags(page, VM_WRITE);
    else this.#tables.setFlags(page, 0, VM_WRITE | PTE_WRITE);
    return 0;
  }

  /**
   * clear_refs 4: begins dirty tracking. The entry is write-protected, so that the next store or pin for writing
   * faults, and is seen.
   */
  clearSoftDirty(page: number): number {
    if (this.#tables.mustWait(page)) return WAIT;
    this.#tables.setFlags(page, 0, PTE_SOFT_DIRTY | PTE_WRITE);
    return 0;
  }

  /** Reclaim of one page (kswapd), from all processes that have it: EAGAIN while anything else refers to it. */
  reclaim(page: number): number {
    const frame = this.#tables.frameOf(page);
    if (frame < 0) return 0;
    const inodePage = this.#inodePageOf(page);
    // Divergence: Linux tries to unmap a file's page everywhere; here one that is mapped more than once stays.
    if (inodePage >= 0) return this.#frames.frame(frame, MAPS) > 1 ? -EAGAIN : this.#cache.reclaimFile(inodePage);
    if (this.#tables.mustWait(page)) return WAIT;
    if (this.#isHeld(page, frame)) return -EAGAIN;
    // Other processes have it by fork, which copied the dirty bit.
    const dirty = this.#tables.is(page, PTE_DIRTY) || this.#frames.frameIs(frame, FOLIO_DIRTY);
    if (this.#frames.frameIs(frame, LAZY_FREE)) {
      // Written since MADV_FREE: an ordinary page again, which the next call takes.
      if (dirty) this.#frames.setFrameFlags(frame, 0, LAZY_FREE);
      else
        for (let each = this.#tables.firstMapping(page, frame); each >= 0; each = this.#tables.nextMapping(each, frame))
          this.#zap(each);
      return dirty ? -EAGAIN : 0;
    }
    return this.#swapOut(page, frame, dirty);
  }

  /** Sends a page to swap. A clean page with a copy there isn't written again. */
  #swapOut(page: number, frame: number, dirty: boolean): number {
    // A copy that others refer to keeps its content.
    const copy = this.#frames.frame(frame, BACKING) - 1;
    if (dirty && copy >= 0 && this.#frames.swap(copy, SWAP_USERS) > 1) this.#frames.dropSwapCopy(frame);
    let slot = this.#frames.frame(frame, BACKING) - 1;
    const clean = slot >= 0 && !dirty;
    if (slot < 0) slot = this.#frames.freeSwapSlot();
    if (slot < 0) return -ENOMEM;
    if (!clean) this.#frames.setSwap(slot, SWAP_CONTENT, this.#frames.frame(frame, CONTENT));
    // The entries take the place of the frame.
    let users = this.#frames.swap(slot, SWAP_USERS) - (this.#frames.frame(frame, BACKING) > 0 ? 1 : 0);
    this.#frames.setFrame(frame, BACKING, 0);
    for (let each = this.#tables.firstMapping(page, frame); each >= 0; each = this.#tables.nextMapping(each, frame)) {
      this.#tables.unmap(each);
      this.#tables.setPte(each, TARGET, -(slot + 1));
      users++;
    }
    this.#frames.setSwap(slot, SWAP_USERS, users);
    return 0;
  }

  /**
   * Moves a page to a node, if it isn't there (move_pages, NUMA balancing); without a node, to another frame of its own
   * node (compaction). -EAGAIN while anything but page tables refers to it, -ENOMEM where the node has nothing free.
   */
  migrate(page: number, node?: number): number {
    const from = this.#tables.frameOf(page);
    if (from < 0 || node === this.#frames.nodeOf(from)) return 0;
    if (this.#tables.mustWait(page)) return WAIT;
    if (this.#isHeld(page, from)) return -EAGAIN;
    const to = this.#frames.allocateOn(node ?? this.#frames.nodeOf(from), this.#frames.frame(from, CONTENT));
    if (to < 0) return -ENOMEM;
    this.#frames.copy(from, to);
    for (let each = this.#tables.firstMapping(page, from); each >= 0; each = this.#tables.nextMapping(each, from))
      this.#tables.setPte(each, TARGET, to + 1);
    this.#frames.free(from);
    const inodePage = this.#inodePageOf(page);
    if (inodePage >= 0) this.#cache.setInode(inodePage, INODE_FRAME, to + 1);
    return 0;
  }

  /**
   * Makes one huge page of `pages` small ones, on the node that has most of them, or none. Shared pages are copied for
   * it.
   */
  collapse(first: number, pages: number): number {
    for (let page = first; page < first + pages; page++) if (this.#inodePageOf(page) >= 0) return -EINVAL;
    const counts = new Array<number>(this.#frames.nodes).fill(0);
    for (let page = first; page < first + pages; page++) {
      const frame = this.#tables.frameOf(page);
      if (frame < 0) return -EAGAIN;
      if (this.#tables.mustWait(page)) return WAIT;
      if (this.#isHeld(page, frame)) return -EAGAIN;
      counts[this.#frames.nodeOf(frame)]!++;
    }
    const node = counts.indexOf(Math.max(...counts));
    for (let page = first; page < first + pages; page++) {
      const errno = this.#gather(page, node);
      if (errno < 0) return errno;
    }
    for (let page = first; page < first + pages; page++) this.#frames.setFrameFlags(this.#tables.frameOf(page), HUGE);
    return 0;
  }

  #gather(page: number, node: number): number {
    if (this.#tables.isShared(page)) return Math.min(0, this.#own(page));
    return this.migrate(page, this.#frames.nodeOf(this.#tables.frameOf(page)) === node ? undefined : node);
  }

  /** References beyond the mappings that are found: mm/ gives up (folio_maybe_dma_pinned, folio_expected_ref_count). */
  #isHeld(page: number, frame: number): boolean {
    const mappedElsewhere = this.#frames.frame(frame, MAPS) > 1 && !this.#tables.isShared(page);
    return this.#frames.frame(frame, PINS) > 0 || mappedElsewhere || this.#frames.frameIs(frame, WRITEBACK);
  }
}
