/**
 * Files: their pages, the blocks of the disk that those are in, the frames that cache them, and their mappings, as
 * mm/filemap.c and a filesystem have it. Every method is one step. Answers are 0 or a negative errno; WAIT also where
 * the kernel sleeps until writeback of the page, or I/O around the cache, has ended: the caller tries again then.
 *
 * Supported: shared mappings, holes, preallocation, truncate, PUNCH_HOLE, reflinks (FICLONE), copy-on-write, checksums,
 * stable pages.
 *
 * Rejected: cloning where a filesystem has no reflinks (-EOPNOTSUPP); reads of a page whose checksum doesn't match
 * (-EIO).
 *
 * Differs from Linux: there are no private mappings of files, no read-ahead and no faults around; pages are of one
 * size; there are no journals, no metadata, no quotas and no names; every page has a block of its own instead of
 * extents.
 */

import { EAGAIN, EBUSY, EIO, ENOMEM, ENOSPC, EOPNOTSUPP, violated } from "pinless/portable";
import type { Frames } from "./frames.js";
import { type PageTables, WAIT } from "./page-tables.js";
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
  PINS,
  REFLINKS,
  REQUEST_BLOCK,
  REQUEST_IN_FLIGHT,
  REQUEST_PAGES,
  REQUEST_STATE,
  REQUEST_WRITE,
  STABLE_PAGES,
  TARGET,
  WRITEBACK,
} from "./tables.js";

export class PageCache {
  readonly #frames: Frames;
  readonly #tables: PageTables;

  constructor(frames: Frames, tables: PageTables) {
    this.#frames = frames;
    this.#tables = tables;
  }

  block(block: number, word: number): number {
    return this.#frames.words[this.#frames.layout.blocks.at + block * this.#frames.layout.blocks.entryWords + word]!;
  }

  setBlock(block: number, word: number, value: number): void {
    this.#frames.words[this.#frames.layout.blocks.at + block * this.#frames.layout.blocks.entryWords + word] = value;
  }

  inode(inodePage: number, word: number): number {
    return this.#frames.words[
      this.#frames.layout.inodePages.at + inodePage * this.#frames.layout.inodePages.entryWords + word
    ]!;
  }

  setInode(inodePage: number, word: number, value: number): void {
    this.#frames.words[
      this.#frames.layout.inodePages.at + inodePage * this.#frames.layout.inodePages.entryWords + word
    ] = value;
  }

  inodeIs(inodePage: number, flag: number): boolean {
    return (this.inode(inodePage, INODE_FLAGS) & flag) !== 0;
  }

  /** The frame that caches a page, or -1. */
  cachedIn(inodePage: number): number {
    return this.inode(inodePage, INODE_FRAME) - 1;
  }

  /** The block that a page is in, or -1. */
  blockOf(inodePage: number): number {
    return this.inode(inodePage, INODE_BLOCK) - 1;
  }

  /** The pages that are mappings of it. */
  *mappingsOf(inodePage: number): Generator<number> {
    const { at } = this.#frames.layout.nextMapping;
    for (let next = this.inode(inodePage, INODE_MAPPED); next > 0; next = this.#frames.words[at + next - 1]!)
      yield next - 1;
  }

  /** True if the cached page is dirty. No page table has to be looked at: `makeWritable` came before any store. */
  isDirty(inodePage: number): boolean {
    const frame = this.cachedIn(inodePage);
    return frame >= 0 && this.#frames.frameIs(frame, FOLIO_DIRTY);
  }

  isUnderWriteback(inodePage: number): boolean {
    const frame = this.cachedIn(inodePage);
    return frame >= 0 && this.#frames.frameIs(frame, WRITEBACK);
  }

  /** The content that the next reader finds, without the read's effects. */
  contentOfInode(inodePage: number): number {
    const frame = this.cachedIn(inodePage);
    if (frame >= 0) return this.#frames.frame(frame, CONTENT);
    const block = this.blockOf(inodePage);
    return block < 0 ? 0 : this.block(block, BLOCK_CONTENT);
  }

  /** Extends a file by this page, as a hole. `filesystem`: one of FILESYSTEMS, or other flags. */
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

  /** A free block, preferably of the same number; or -ENOSPC. */
  allocateBlock(inodePage: number): number {
    const { at, entries } = this.#frames.layout.blockUsers;
    for (let i = 0; i < entries; i++) {
      const block = (inodePage + i) % entries;
      if (this.#frames.words[at + block] !== 0) continue;
      this.#frames.words[at + block] = 1;
      return block;
    }
    return -ENOSPC;
  }

  /** Takes one inode page's reference to a block away. A block without references reads as zeros. */
  freeBlock(block: number): void {
    const { at } = this.#frames.layout.blockUsers;
    if (this.#frames.words[at + block]! < 1) violated("STATE", `block ${block} is freed twice`);
    if (--this.#frames.words[at + block]! > 0) return;
    this.setBlock(block, BLOCK_CONTENT, 0);
    this.setBlock(block, BLOCK_CHECKSUM, 0);
  }

  isSharedBlock(block: number): boolean {
    return this.#frames.words[this.#frames.layout.blockUsers.at + block]! > 1;
  }

  /** True if the checksum of a page's block doesn't match its content. */
  isCorrupt(inodePage: number): boolean {
    const block = this.blockOf(inodePage);
    if (block < 0 || !this.inodeIs(inodePage, CHECKSUMS)) return false;
    return this.block(block, BLOCK_CHECKSUM) !== this.block(block, BLOCK_CONTENT);
  }

  /** Brings a page into the cache (filemap_read_folio): -EIO where its checksum doesn't match. */
  bringIn(inodePage: number, node = 0): number {
    if (this.cachedIn(inodePage) >= 0) return 0;
    if (this.isCorrupt(inodePage)) return -EIO;
    const frame = this.#frames.allocate(this.contentOfInode(inodePage), node);
    if (frame < 0) return -ENOMEM;
    this.#frames.setFrame(frame, BACKING, -(inodePage + 1));
    this.setInode(inodePage, INODE_FRAME, frame + 1);
    return 0;
  }

  /** write(2) of a whole page. For a part of a page the caller has called `bringIn` before. */
  writeFile(inodePage: number, content: number): number {
    let errno = this.bringIn(inodePage);
    if (errno === -EIO) return errno;
    if (errno === 0) errno = this.makeWritable(inodePage);
    if (errno === 0) this.#frames.setFrame(this.cachedIn(inodePage), CONTENT, content);
    return errno;
  }

  /**
   * Prepares a cached page for a write, by write(2) or by a store (page_mkwrite): waits for writeback where pages are
   * stable, finds room on the disk, and a block of its own where it shares one, and marks the page dirty.
   */
  makeWritable(inodePage: number): number {
    if (this.isUnderWriteback(inodePage) && this.inodeIs(inodePage, STABLE_PAGES)) return WAIT;
    const block = this.blockOf(inodePage);
    const needsRoom = block < 0 || (this.inodeIs(inodePage, REFLINKS) && this.isSharedBlock(block));
    const errno = needsRoom ? this.chooseNewBlock(inodePage) : 0;
    if (errno === 0) this.#frames.setFrameFlags(this.cachedIn(inodePage), FOLIO_DIRTY);
    return errno;
  }

  /** Chooses the block that the page's next write goes to, if not the one it is in. */
  chooseNewBlock(inodePage: number): number {
    if (this.inode(inodePage, INODE_NEW_BLOCK) > 0) return 0;
    const block = this.allocateBlock(inodePage);
    if (block < 0) return block;
    this.setInode(inodePage, INODE_NEW_BLOCK, block + 1);
    return 0;
  }

  becomeMapping(page: number, inodePage: number): void {
    this.#tables.setPte(page, INODE_PAGE, inodePage + 1);
    this.#frames.words[this.#frames.layout.nextMapping.at + page] = this.inode(inodePage, INODE_MAPPED);
    this.setInode(inodePage, INODE_MAPPED, page + 1);
  }

  /** Takes a page that is unmapped out of the list of its inode page's mappings, if it's in one. */
  stopMapping(page: number): void {
    const inodePage = this.#tables.pte(page, INODE_PAGE) - 1;
    if (inodePage < 0) return;
    this.#tables.setPte(page, INODE_PAGE, 0);
    const { at } = this.#frames.layout.nextMapping;
    const next = this.#frames.words[at + page]!;
    this.#frames.words[at + page] = 0;
    if (this.inode(inodePage, INODE_MAPPED) === page + 1) this.setInode(inodePage, INODE_MAPPED, next);
    else
      for (const before of this.mappingsOf(inodePage))
        if (this.#frames.words[at + before] === page + 1) this.#frames.words[at + before] = next;
  }

  /** Reclaim of one cached page: out of all page tables first, and out of memory if it's clean. It writes nothing. */
  reclaimFile(inodePage: number): number {
    const frame = this.cachedIn(inodePage);
    if (frame < 0) return 0;
    if (this.#frames.frame(frame, PINS) > 0 || this.#frames.frameIs(frame, WRITEBACK)) return -EAGAIN;
    const errno = this.unmapAll(inodePage);
    if (errno !== 0) return errno;
    if (this.#frames.frameIs(frame, FOLIO_DIRTY)) return -EAGAIN;
    this.#forget(inodePage);
    return 0;
  }

  /** Clears the entries of all mappings of a page (unmap_mapping_range); they stay its mappings. */
  unmapAll(inodePage: number): number {
    const frame = this.cachedIn(inodePage);
    if (frame < 0) return 0;
    if (this.#frames.design === "notifier" && this.#frames.frame(frame, IN_FLIGHT) > 0) return WAIT;
    for (const page of this.mappingsOf(inodePage)) if (this.#tables.pte(page, TARGET) > 0) this.#tables.unmap(page);
    return 0;
  }

  /** Takes a page out of the cache. A pin on its frame keeps the frame, which no mapping shows any more. */
  #forget(inodePage: number): void {
    const frame = this.cachedIn(inodePage);
    this.setInode(inodePage, INODE_FRAME, 0);
    this.#frames.setFrame(frame, BACKING, 0);
    this.#frames.put(frame);
  }

  /**
   * Drops the cached copy of a page that is written around the cache (invalidate_inode_pages2): -EBUSY if it's dirty,
   * pinned or not.
   */
  invalidateFile(inodePage: number): number {
    if (this.isUnderWriteback(inodePage)) return WAIT;
    const errno = this.unmapAll(inodePage);
    const frame = this.cachedIn(inodePage);
    if (errno !== 0 || frame < 0) return errno;
    if (this.#frames.frameIs(frame, FOLIO_DIRTY)) return -EBUSY;
    this.#forget(inodePage);
    return 0;
  }

  /** Makes a page a hole (FALLOC_FL_PUNCH_HOLE). WAIT while it's under writeback, or I/O around the cache is on it. */
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

  /** Cuts a file off before this page (ftruncate). */
  truncateFile(inodePage: number): number {
    const errno = this.punchHole(inodePage);
    if (errno === 0) this.setInode(inodePage, INODE_FLAGS, this.inode(inodePage, INODE_FLAGS) & ~EXISTS);
    return errno;
  }

  /**
   * FICLONE of one page: the other one is in the same block from now on. WAIT until this one is on the disk; the caller
   * writes it back first. A pin on it doesn't matter.
   */
  clone(from: number, to: number): number {
    if (!this.inodeIs(from, REFLINKS) || !this.inodeIs(to, REFLINKS)) return -EOPNOTSUPP;
    if (this.isDirty(from) || this.isUnderWriteback(from) || this.isUsedDirectly(from)) return WAIT;
    const errno = this.punchHole(to);
    const block = this.blockOf(from);
    if (errno !== 0 || block < 0) return errno;
    this.#frames.words[this.#frames.layout.blockUsers.at + block]!++;
    this.setInode(to, INODE_BLOCK, block + 1);
    return 0;
  }

  /** The requests that the device hasn't answered yet, each by the offset of its first word. */
  *requestsInFlight(): Generator<number> {
    const { at, entryWords, entries } = this.#frames.layout.requests;
    for (let entry = at; entry < at + entries * entryWords; entry += entryWords)
      if (this.#frames.words[entry + REQUEST_STATE] === REQUEST_IN_FLIGHT) yield entry;
  }

  /** True if a request around the cache is on a page (i_dio_count). */
  isUsedDirectly(inodePage: number): boolean {
    return !this.#directlyOn(inodePage).next().done;
  }

  /** The same for a request that writes the file. */
  isWrittenDirectly(inodePage: number): boolean {
    for (const entry of this.#directlyOn(inodePage)) if (this.#frames.words[entry + REQUEST_WRITE] === 1) return true;
    return false;
  }

  /** The requests in flight around the cache that are on a page, each by the offset of its first word. */
  *#directlyOn(inodePage: number): Generator<number> {
    for (const entry of this.requestsInFlight()) {
      const first = -this.#frames.words[entry + REQUEST_BLOCK]! - 1;
      if (first >= 0 && first <= inodePage && inodePage < first + this.#frames.words[entry + REQUEST_PAGES]!)
        yield entry;
    }
  }
}
