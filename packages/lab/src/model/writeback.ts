/**
 * Writeback of files, and what direct I/O does to a file before and after it, around the page cache. Writeback of a
 * page is three steps, and anything may come between them: `begin` write-protects it in all page tables, and takes its
 * checksum where there is one; the device reads the frame (`serve`), with its content of that moment; `end` makes the
 * block that was written the file's.
 *
 * Differs from Linux: a write is of one page, and the device reports no errors; there's no limit on dirty pages, and
 * the caller chooses which page is written when.
 */

import { violated } from "pinless/portable";
import type { Frames } from "./frames.js";
import type { PageCache } from "./page-cache.js";
import { type PageTables, WAIT } from "./page-tables.js";
import {
  BLOCK_CHECKSUM,
  BLOCK_CONTENT,
  CHECKSUMS,
  CONTENT,
  COPY_ON_WRITE,
  FOLIO_DIRTY,
  INODE_BLOCK,
  INODE_NEW_BLOCK,
  INODE_SUM,
  INODE_WRITING,
  PTE_DIRTY,
  PTE_WRITE,
  REFLINKS,
  REQUEST_PAGES,
  REQUEST_WORDS,
  REQUEST_WRITE,
  WRITEBACK,
} from "./tables.js";

export class Writeback {
  readonly #frames: Frames;
  readonly #tables: PageTables;
  readonly #cache: PageCache;

  constructor(frames: Frames, tables: PageTables, cache: PageCache) {
    this.#frames = frames;
    this.#tables = tables;
    this.#cache = cache;
  }

  /**
   * Begins to write a page. 0: it's under way, or there was nothing to write (`isUnderWriteback` says which). WAIT: an
   * earlier writeback hasn't ended, or a request writes there around the cache. The proposal also waits for device
   * writes into the page, which Linux doesn't know of.
   */
  begin(inodePage: number): number {
    if (!this.#cache.isDirty(inodePage)) return 0;
    const frame = this.#cache.cachedIn(inodePage);
    if (this.#frames.frameIs(frame, WRITEBACK) || this.#isLocked(inodePage)) return WAIT;
    if (this.#frames.design === "notifier" && this.#hasDeviceWrites(frame)) return WAIT;
    const elsewhere = this.#cache.inodeIs(inodePage, COPY_ON_WRITE) || this.#cache.blockOf(inodePage) < 0;
    // A shared block without a new one is written in place: only a store that makeWritable never saw (a device's) leads
    // here.
    const errno = elsewhere ? this.#cache.chooseNewBlock(inodePage) : 0;
    if (errno < 0) return errno;
    for (const page of this.#cache.mappingsOf(inodePage)) this.#tables.setFlags(page, 0, PTE_WRITE | PTE_DIRTY);
    this.#frames.setFrameFlags(frame, WRITEBACK, FOLIO_DIRTY);
    this.#cache.setInode(inodePage, INODE_WRITING, this.#target(inodePage) + 1);
    this.#cache.setInode(inodePage, INODE_NEW_BLOCK, 0);
    this.#cache.setInode(
      inodePage,
      INODE_SUM,
      this.#cache.inodeIs(inodePage, CHECKSUMS) ? this.#frames.frame(frame, CONTENT) : 0,
    );
    return 0;
  }

  /** The block that a write of a page goes to if it begins now. */
  #target(inodePage: number): number {
    return (this.#cache.inode(inodePage, INODE_NEW_BLOCK) || this.#cache.inode(inodePage, INODE_BLOCK)) - 1;
  }

  /** True if a direct write keeps others from the page: filesystems that choose new blocks lock it until it ends. */
  #isLocked(inodePage: number): boolean {
    return this.#cache.inodeIs(inodePage, REFLINKS) && this.#cache.isWrittenDirectly(inodePage);
  }

  #hasDeviceWrites(frame: number): boolean {
    for (const entry of this.#cache.requestsInFlight()) {
      if (this.#frames.words[entry + REQUEST_WRITE] === 1) continue;
      const frames = entry + REQUEST_WORDS;
      if (this.#frames.words.subarray(frames, frames + this.#frames.words[entry + REQUEST_PAGES]!).includes(frame))
        return true;
    }
    return false;
  }

  /** The device reads the frame. */
  serve(inodePage: number): void {
    if (!this.#cache.isUnderWriteback(inodePage)) violated("STATE", `inode page ${inodePage} isn't being written`);
    const content = this.#frames.frame(this.#cache.cachedIn(inodePage), CONTENT);
    const block = this.#cache.inode(inodePage, INODE_WRITING) - 1;
    this.#cache.setBlock(block, BLOCK_CONTENT, content);
    this.#cache.setBlock(
      block,
      BLOCK_CHECKSUM,
      this.#cache.inodeIs(inodePage, CHECKSUMS) ? this.#cache.inode(inodePage, INODE_SUM) : content,
    );
  }

  end(inodePage: number): void {
    if (!this.#cache.isUnderWriteback(inodePage)) violated("STATE", `inode page ${inodePage} isn't being written`);
    this.#install(inodePage, this.#cache.inode(inodePage, INODE_WRITING));
    this.#cache.setInode(inodePage, INODE_WRITING, 0);
    this.#cache.setInode(inodePage, INODE_SUM, 0);
    this.#frames.setFrameFlags(this.#cache.cachedIn(inodePage), 0, WRITEBACK);
  }

  /** `written`: block + 1. */
  #install(inodePage: number, written: number): void {
    const old = this.#cache.inode(inodePage, INODE_BLOCK);
    if (old === written) return;
    this.#cache.setInode(inodePage, INODE_BLOCK, written);
    if (old > 0) this.#cache.freeBlock(old - 1);
  }

  /**
   * Begins direct I/O on pages of a file: dirty pages in the cache must be on the disk before (WAIT). A write drops the
   * cached pages, and chooses blocks for them.
   */
  beginDirect(first: number, pages: number, write: boolean): number {
    for (let inodePage = first; inodePage < first + pages; inodePage++) {
      const unwritten = this.#cache.isDirty(inodePage) || this.#cache.isUnderWriteback(inodePage);
      if (unwritten || (write && this.#isLocked(inodePage))) return WAIT;
    }
    for (let i = 0; write && i < pages; i++) {
      const errno = this.#cache.invalidateFile(first + i) || this.#makeRoom(first + i);
      if (errno === 0) continue;
      this.endDirect(first, i, 0);
      return errno;
    }
    return 0;
  }

  #makeRoom(inodePage: number): number {
    const block = this.#cache.blockOf(inodePage);
    const shared = block >= 0 && this.#cache.isSharedBlock(block);
    const elsewhere = block < 0 || this.#cache.inodeIs(inodePage, COPY_ON_WRITE) || shared;
    return elsewhere ? this.#cache.chooseNewBlock(inodePage) : 0;
  }

  /** Takes the checksum of a direct write, when it's submitted. */
  sumDirect(inodePage: number, frame: number): void {
    if (this.#cache.inodeIs(inodePage, CHECKSUMS))
      this.#cache.setBlock(this.#target(inodePage), BLOCK_CHECKSUM, this.#frames.frame(frame, CONTENT));
  }

  /** The block that a page of a direct request goes to or comes from; -1: it's a hole. */
  directBlock(inodePage: number, write: boolean): number {
    return write ? this.#target(inodePage) : this.#cache.blockOf(inodePage);
  }

  /** Ends a direct write: `served` of its pages are the file's now, and the cache drops them once more, if it can. */
  endDirect(first: number, pages: number, served: number): void {
    for (let inodePage = first; inodePage < first + pages; inodePage++) {
      const written = this.#cache.inode(inodePage, INODE_NEW_BLOCK);
      const done = inodePage < first + served;
      if (written > 0 && (done || !this.#cache.isDirty(inodePage))) {
        this.#cache.setInode(inodePage, INODE_NEW_BLOCK, 0);
        if (done) this.#install(inodePage, written);
        else this.#cache.freeBlock(written - 1);
      }
      if (done) this.#cache.invalidateFile(inodePage);
    }
  }
}
