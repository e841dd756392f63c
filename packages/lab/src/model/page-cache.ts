/**
 * Files: their pages, which blocks of the disk those are, what of them is in memory, and mappings of them, as mm/filemap.c and a filesystem
 * have it. Every method is one step. Answers are as memory.ts has them; WAIT is also given where the kernel sleeps until writeback of the
 * page, or what goes around the cache, has ended: whoever is told so tries again then.
 *
 * What isn't modelled: private mappings of files, read-ahead and faults around, pages of different sizes, journals and metadata, extents
 * (every page has its block), quotas, names and inodes beyond a row of pages.
 */

import { EAGAIN, EBUSY, EFAULT, EINVAL, EIO, ENOMEM, ENOSPC, EOPNOTSUPP, violated } from "pinless/portable";
import { MachineMemory, WAIT } from "./address-space.js";
import {
  BACKING,
  BLOCK_CHECKSUM,
  BLOCK_CONTENT,
  CHECKSUMS,
  CONTENT,
  EXISTS,
  FOLIO_DIRTY,
  IN_FLIGHT,
  INODE_BLOCK,
  INODE_FLAGS,
  INODE_FRAME,
  INODE_MAPPED,
  INODE_NEW_BLOCK,
  INODE_PAGE,
  MAPS,
  PINS,
  PTE_DIRTY,
  PTE_FLAGS,
  PTE_SOFT_DIRTY,
  PTE_WRITE,
  PTE_YOUNG,
  REFLINKS,
  REQUEST_BLOCK,
  REQUEST_IN_FLIGHT,
  REQUEST_PAGES,
  REQUEST_STATE,
  REQUEST_WRITE,
  STABLE_PAGES,
  TARGET,
  VM_MAPPED,
  VM_WRITE,
  WRITEBACK,
} from "./tables.js";

export class MachinePageCache extends MachineMemory {
  block(block: number, word: number): number {
    return this.words[this.layout.blocks.at + block * this.layout.blocks.entryWords + word]!;
  }

  setBlock(block: number, word: number, value: number): void {
    this.words[this.layout.blocks.at + block * this.layout.blocks.entryWords + word] = value;
  }

  inode(inodePage: number, word: number): number {
    return this.words[this.layout.inodePages.at + inodePage * this.layout.inodePages.entryWords + word]!;
  }

  setInode(inodePage: number, word: number, value: number): void {
    this.words[this.layout.inodePages.at + inodePage * this.layout.inodePages.entryWords + word] = value;
  }

  inodeIs(inodePage: number, flag: number): boolean {
    return (this.inode(inodePage, INODE_FLAGS) & flag) !== 0;
  }

  /** The frame that caches it, or -1. */
  cachedIn(inodePage: number): number {
    return this.inode(inodePage, INODE_FRAME) - 1;
  }

  /** The block it is in, or -1. */
  blockOf(inodePage: number): number {
    return this.inode(inodePage, INODE_BLOCK) - 1;
  }

  /** The pages that are mappings of it. */
  *mappingsOf(inodePage: number): Generator<number> {
    const { at } = this.layout.nextMapping;
    for (let next = this.inode(inodePage, INODE_MAPPED); next > 0; next = this.words[at + next - 1]!) yield next - 1;
  }

  /** A store that a page table entry knows of is one that `makeWritable` knew of. */
  isDirty(inodePage: number): boolean {
    const frame = this.cachedIn(inodePage);
    return frame >= 0 && this.frameIs(frame, FOLIO_DIRTY);
  }

  isUnderWriteback(inodePage: number): boolean {
    const frame = this.cachedIn(inodePage);
    return frame >= 0 && this.frameIs(frame, WRITEBACK);
  }

  /** What the next reader finds, changing nothing. */
  contentOfInode(inodePage: number): number {
    const frame = this.cachedIn(inodePage);
    if (frame >= 0) return this.frame(frame, CONTENT);
    const block = this.blockOf(inodePage);
    return block < 0 ? 0 : this.block(block, BLOCK_CONTENT);
  }

  /** The file has this page from now on: a hole. `filesystem`: one of FILESYSTEMS, or other flags. */
  extendFile(inodePage: number, filesystem: number): void {
    this.setInode(inodePage, INODE_FLAGS, EXISTS | filesystem);
  }

  /** fallocate: a hole gets its block, of zeros. */
  preallocate(inodePage: number): number {
    if (this.blockOf(inodePage) >= 0) return 0;
    const block = this.allocateBlock(inodePage);
    if (block < 0) return block;
    this.setBlock(block, BLOCK_CONTENT, 0);
    this.setBlock(block, BLOCK_CHECKSUM, 0);
    this.setInode(inodePage, INODE_BLOCK, block + 1);
    return 0;
  }

  /** A free block, if it may be the one of the same number. Or -ENOSPC. */
  protected allocateBlock(inodePage: number): number {
    const { at, entries } = this.layout.blockUsers;
    for (let i = 0; i < entries; i++) {
      const block = (inodePage + i) % entries;
      if (this.words[at + block] !== 0) continue;
      this.words[at + block] = 1;
      return block;
    }
    return -ENOSPC;
  }

  /** One inode page less has it. What nobody has reads as zeros. */
  protected freeBlock(block: number): void {
    const { at } = this.layout.blockUsers;
    if (this.words[at + block]! < 1) violated("STATE", `block ${block} is freed twice`);
    if (--this.words[at + block]! > 0) return;
    this.setBlock(block, BLOCK_CONTENT, 0);
    this.setBlock(block, BLOCK_CHECKSUM, 0);
  }

  isSharedBlock(block: number): boolean {
    return this.words[this.layout.blockUsers.at + block]! > 1;
  }

  /** Whether what is in a page's block isn't what was to be written there. */
  isCorrupt(inodePage: number): boolean {
    const block = this.blockOf(inodePage);
    if (block < 0 || !this.inodeIs(inodePage, CHECKSUMS)) return false;
    return this.block(block, BLOCK_CHECKSUM) !== this.block(block, BLOCK_CONTENT);
  }

  /** Brings a page into the cache (filemap_read_folio): -EIO where its checksum doesn't match. */
  bringIn(inodePage: number, node = 0): number {
    if (this.cachedIn(inodePage) >= 0) return 0;
    if (this.isCorrupt(inodePage)) return -EIO;
    const frame = this.allocate(this.contentOfInode(inodePage), node);
    if (frame < 0) return -ENOMEM;
    this.setFrame(frame, BACKING, -(inodePage + 1));
    this.setInode(inodePage, INODE_FRAME, frame + 1);
    return 0;
  }

  /** write(2) of a whole page. What is only a part of one is a `bringIn` before, by the caller. */
  writeFile(inodePage: number, content: number): number {
    let errno = this.bringIn(inodePage);
    if (errno === -EIO) return errno;
    if (errno === 0) errno = this.makeWritable(inodePage);
    if (errno === 0) this.setFrame(this.cachedIn(inodePage), CONTENT, content);
    return errno;
  }

  /**
   * A cached page is about to be written, by write(2) or by a store (page_mkwrite): waits for writeback where pages are stable, finds room on
   * the disk, and a place of its own where it shares one, and marks the page dirty.
   */
  protected makeWritable(inodePage: number): number {
    if (this.isUnderWriteback(inodePage) && this.inodeIs(inodePage, STABLE_PAGES)) return WAIT;
    const block = this.blockOf(inodePage);
    const needsRoom = block < 0 || (this.inodeIs(inodePage, REFLINKS) && this.isSharedBlock(block));
    const errno = needsRoom ? this.chooseNewBlock(inodePage) : 0;
    if (errno === 0) this.setFrameFlags(this.cachedIn(inodePage), FOLIO_DIRTY);
    return errno;
  }

  /** Where the page's next write goes, if not where it is. */
  protected chooseNewBlock(inodePage: number): number {
    if (this.inode(inodePage, INODE_NEW_BLOCK) > 0) return 0;
    const block = this.allocateBlock(inodePage);
    if (block < 0) return block;
    this.setInode(inodePage, INODE_NEW_BLOCK, block + 1);
    return 0;
  }

  /** mmap(MAP_SHARED) of one page, where nothing is mapped. */
  mapFile(page: number, inodePage: number): void {
    this.mmap(page);
    this.becomeMapping(page, inodePage);
  }

  becomeMapping(page: number, inodePage: number): void {
    this.setPte(page, INODE_PAGE, inodePage + 1);
    this.words[this.layout.nextMapping.at + page] = this.inode(inodePage, INODE_MAPPED);
    this.setInode(inodePage, INODE_MAPPED, page + 1);
  }

  override munmap(page: number): number {
    const inodePage = this.pte(page, INODE_PAGE) - 1;
    const errno = super.munmap(page);
    if (errno !== 0 || inodePage < 0) return errno;
    this.setPte(page, INODE_PAGE, 0);
    const { at } = this.layout.nextMapping;
    const next = this.words[at + page]!;
    this.words[at + page] = 0;
    if (this.inode(inodePage, INODE_MAPPED) === page + 1) this.setInode(inodePage, INODE_MAPPED, next);
    else
      for (const before of this.mappingsOf(inodePage))
        if (this.words[at + before] === page + 1) this.words[at + before] = next;
    return 0;
  }

  /** Of a mapping of a file: beyond its end, and where it can't be read or has no room, a program gets SIGBUS and I/O -EFAULT. */
  override fault(page: number, write: boolean): number {
    const inodePage = this.pte(page, INODE_PAGE) - 1;
    if (inodePage < 0) return super.fault(page, write);
    const flags = this.pte(page, PTE_FLAGS);
    if ((flags & VM_MAPPED) === 0 || (write && (flags & VM_WRITE) === 0)) return -EFAULT;
    if (this.frameOf(page) < 0) {
      const errno = this.inodeIs(inodePage, EXISTS) ? this.bringIn(inodePage, this.homeOf(page)) : -EFAULT;
      if (errno < 0) return errno === -EIO ? -EFAULT : errno;
      this.map(page, this.cachedIn(inodePage));
    }
    this.setFlags(page, PTE_YOUNG);
    if (!write) return 0;
    const errno = this.is(page, PTE_WRITE) ? 0 : this.makeWritable(inodePage);
    if (errno === 0) this.setFlags(page, PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY);
    return errno === -ENOSPC ? -EFAULT : errno;
  }

  override peek(page: number): number {
    const inodePage = this.pte(page, INODE_PAGE) - 1;
    return inodePage < 0 ? super.peek(page) : this.contentOfInode(inodePage);
  }

  override freeLazily(page: number): number {
    return this.pte(page, INODE_PAGE) === 0 ? super.freeLazily(page) : -EINVAL;
  }

  override collapse(first: number, pages: number): number {
    for (let page = first; page < first + pages; page++) if (this.pte(page, INODE_PAGE) !== 0) return -EINVAL;
    return super.collapse(first, pages);
  }

  override migrate(page: number, node?: number): number {
    const errno = super.migrate(page, node);
    const inodePage = this.pte(page, INODE_PAGE) - 1;
    if (inodePage >= 0 && this.frameOf(page) >= 0) this.setInode(inodePage, INODE_FRAME, this.frameOf(page) + 1);
    return errno;
  }

  override reclaim(page: number): number {
    const inodePage = this.pte(page, INODE_PAGE) - 1;
    if (inodePage < 0) return super.reclaim(page);
    // What others have mapped too isn't sent out for one of them.
    if (this.frameOf(page) < 0) return 0;
    return this.frame(this.frameOf(page), MAPS) > 1 ? -EAGAIN : this.reclaimFile(inodePage);
  }

  /** Reclaim of one cached page: out of all page tables first, and out of memory if it's clean. It writes nothing. */
  reclaimFile(inodePage: number): number {
    const frame = this.cachedIn(inodePage);
    if (frame < 0) return 0;
    if (this.frame(frame, PINS) > 0 || this.frameIs(frame, WRITEBACK)) return -EAGAIN;
    const errno = this.unmapAll(inodePage);
    if (errno !== 0) return errno;
    if (this.frameIs(frame, FOLIO_DIRTY)) return -EAGAIN;
    this.#forget(inodePage);
    return 0;
  }

  /** Takes it out of all page tables, which keep in mind that they are mappings of it. */
  protected unmapAll(inodePage: number): number {
    const frame = this.cachedIn(inodePage);
    if (frame < 0) return 0;
    if (this.design === "notifier" && this.frame(frame, IN_FLIGHT) > 0) return WAIT;
    for (const page of this.mappingsOf(inodePage)) if (this.pte(page, TARGET) > 0) this.unmap(page);
    return 0;
  }

  /** Out of the cache. Whoever has its frame pinned goes on with a frame that nobody will look at any more. */
  #forget(inodePage: number): void {
    const frame = this.cachedIn(inodePage);
    this.setInode(inodePage, INODE_FRAME, 0);
    this.setFrame(frame, BACKING, 0);
    this.putFrame(frame);
  }

  /** Throws away what the cache has of a page that is written around it (invalidate_inode_pages2): -EBUSY if that is dirty, pinned or not. */
  invalidateFile(inodePage: number): number {
    if (this.isUnderWriteback(inodePage)) return WAIT;
    const errno = this.unmapAll(inodePage);
    const frame = this.cachedIn(inodePage);
    if (errno !== 0 || frame < 0) return errno;
    if (this.frameIs(frame, FOLIO_DIRTY)) return -EBUSY;
    this.#forget(inodePage);
    return 0;
  }

  /** A hole again, whatever was there (fallocate's PUNCH_HOLE). WAIT while it's being written back, or I/O around the cache is on it. */
  punchHole(inodePage: number): number {
    if (this.isUnderWriteback(inodePage) || this.isUsedDirectly(inodePage)) return WAIT;
    const errno = this.unmapAll(inodePage);
    if (errno !== 0) return errno;
    if (this.cachedIn(inodePage) >= 0) this.#forget(inodePage);
    for (const word of [INODE_BLOCK, INODE_NEW_BLOCK]) {
      const block = this.inode(inodePage, word) - 1;
      if (block >= 0) this.freeBlock(block);
      this.setInode(inodePage, word, 0);
    }
    return 0;
  }

  /** The file ends before this page from now on (ftruncate). */
  truncateFile(inodePage: number): number {
    const errno = this.punchHole(inodePage);
    if (errno === 0) this.setInode(inodePage, INODE_FLAGS, this.inode(inodePage, INODE_FLAGS) & ~EXISTS);
    return errno;
  }

  /**
   * FICLONE of one page: the other one is in the same block from now on. WAIT until this one is on the disk: write it back first. A pin on
   * it is in nobody's way.
   */
  clone(from: number, to: number): number {
    if (!this.inodeIs(from, REFLINKS) || !this.inodeIs(to, REFLINKS)) return -EOPNOTSUPP;
    if (this.isDirty(from) || this.isUnderWriteback(from) || this.isUsedDirectly(from)) return WAIT;
    const errno = this.punchHole(to);
    const block = this.blockOf(from);
    if (errno !== 0 || block < 0) return errno;
    this.words[this.layout.blockUsers.at + block]!++;
    this.setInode(to, INODE_BLOCK, block + 1);
    return 0;
  }

  /** Requests that the device hasn't answered yet, by their first word. */
  protected *requestsInFlight(): Generator<number> {
    const { at, entryWords, entries } = this.layout.requests;
    for (let entry = at; entry < at + entries * entryWords; entry += entryWords)
      if (this.words[entry + REQUEST_STATE] === REQUEST_IN_FLIGHT) yield entry;
  }

  /** Whether a request around the cache is on it (i_dio_count). */
  isUsedDirectly(inodePage: number, writesOnly = false): boolean {
    for (const entry of this.requestsInFlight()) {
      const first = -this.words[entry + REQUEST_BLOCK]! - 1;
      const isIn = first >= 0 && first <= inodePage && inodePage < first + this.words[entry + REQUEST_PAGES]!;
      if (isIn && (!writesOnly || this.words[entry + REQUEST_WRITE] === 1)) return true;
    }
    return false;
  }
}
