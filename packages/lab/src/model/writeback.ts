/**
 * How files get to the disk. Writeback of a page is three steps, and anything may come between them: `beginWriteback` write-protects it in
 * all page tables, and takes its checksum where there is one; the device reads the frame (`serveWriteback`), whatever is in it by then;
 * `endWriteback` makes it what the file has. And what direct I/O does to a file before and after it, around the page cache.
 *
 * What isn't modelled: several pages in one write, errors of the device, which pages a flusher takes first and when, limits on dirty pages.
 */

import { violated } from "pinless/portable";
import { WAIT } from "./address-space.js";
import { MachinePageCache } from "./page-cache.js";
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

export class MachineWriteback extends MachinePageCache {
  /**
   * 0: it's under way, or there was nothing to write (`isUnderWriteback` says which). WAIT: an earlier one hasn't ended yet, or somebody
   * writes there around the cache. The proposal waits for device writes into the page too; Linux doesn't know of them.
   */
  beginWriteback(inodePage: number): number {
    if (!this.isDirty(inodePage)) return 0;
    const frame = this.cachedIn(inodePage);
    if (this.frameIs(frame, WRITEBACK) || this.#isLocked(inodePage)) return WAIT;
    if (this.design === "notifier" && this.#hasDeviceWrites(frame)) return WAIT;
    const elsewhere = this.inodeIs(inodePage, COPY_ON_WRITE) || this.blockOf(inodePage) < 0;
    // A shared block that nobody has found another one for is written in place: makeWritable would have, and hasn't been asked.
    const errno = elsewhere ? this.chooseNewBlock(inodePage) : 0;
    if (errno < 0) return errno;
    for (const page of this.mappingsOf(inodePage)) this.setFlags(page, 0, PTE_WRITE | PTE_DIRTY);
    this.setFrameFlags(frame, WRITEBACK, FOLIO_DIRTY);
    this.setInode(inodePage, INODE_WRITING, this.#target(inodePage) + 1);
    this.setInode(inodePage, INODE_NEW_BLOCK, 0);
    this.setInode(inodePage, INODE_SUM, this.inodeIs(inodePage, CHECKSUMS) ? this.frame(frame, CONTENT) : 0);
    return 0;
  }

  /** Where a write of it that begins now goes. */
  #target(inodePage: number): number {
    return (this.inode(inodePage, INODE_NEW_BLOCK) || this.inode(inodePage, INODE_BLOCK)) - 1;
  }

  /** A filesystem that finds new blocks for what is written keeps everybody else from the page until it has. */
  #isLocked(inodePage: number): boolean {
    return this.inodeIs(inodePage, REFLINKS) && this.isUsedDirectly(inodePage, true);
  }

  #hasDeviceWrites(frame: number): boolean {
    for (const entry of this.requestsInFlight()) {
      if (this.words[entry + REQUEST_WRITE] === 1) continue;
      const frames = entry + REQUEST_WORDS;
      if (this.words.subarray(frames, frames + this.words[entry + REQUEST_PAGES]!).includes(frame)) return true;
    }
    return false;
  }

  /** The device reads the frame. */
  serveWriteback(inodePage: number): void {
    if (!this.isUnderWriteback(inodePage)) violated("STATE", `inode page ${inodePage} isn't being written`);
    const content = this.frame(this.cachedIn(inodePage), CONTENT);
    const block = this.inode(inodePage, INODE_WRITING) - 1;
    this.setBlock(block, BLOCK_CONTENT, content);
    this.setBlock(
      block,
      BLOCK_CHECKSUM,
      this.inodeIs(inodePage, CHECKSUMS) ? this.inode(inodePage, INODE_SUM) : content,
    );
  }

  endWriteback(inodePage: number): void {
    if (!this.isUnderWriteback(inodePage)) violated("STATE", `inode page ${inodePage} isn't being written`);
    this.#install(inodePage, this.inode(inodePage, INODE_WRITING));
    this.setInode(inodePage, INODE_WRITING, 0);
    this.setInode(inodePage, INODE_SUM, 0);
    this.setFrameFlags(this.cachedIn(inodePage), 0, WRITEBACK);
  }

  /** `written`: block + 1. */
  #install(inodePage: number, written: number): void {
    const old = this.inode(inodePage, INODE_BLOCK);
    if (old === written) return;
    this.setInode(inodePage, INODE_BLOCK, written);
    if (old > 0) this.freeBlock(old - 1);
  }

  /**
   * Direct I/O on pages of a file begins: what the cache has of them must be on the disk already (WAIT), and a write makes the cache forget
   * them, and finds blocks for them.
   */
  protected beginDirect(first: number, pages: number, write: boolean): number {
    for (let inodePage = first; inodePage < first + pages; inodePage++) {
      const unwritten = this.isDirty(inodePage) || this.isUnderWriteback(inodePage);
      if (unwritten || (write && this.#isLocked(inodePage))) return WAIT;
    }
    for (let i = 0; write && i < pages; i++) {
      const errno = this.invalidateFile(first + i) || this.#makeRoom(first + i);
      if (errno === 0) continue;
      this.endDirect(first, i, 0);
      return errno;
    }
    return 0;
  }

  #makeRoom(inodePage: number): number {
    const block = this.blockOf(inodePage);
    const shared = block >= 0 && this.isSharedBlock(block);
    const elsewhere = block < 0 || this.inodeIs(inodePage, COPY_ON_WRITE) || shared;
    return elsewhere ? this.chooseNewBlock(inodePage) : 0;
  }

  /** A write around the cache takes its checksum when it's submitted. */
  protected sumDirect(inodePage: number, frame: number): void {
    if (this.inodeIs(inodePage, CHECKSUMS))
      this.setBlock(this.#target(inodePage), BLOCK_CHECKSUM, this.frame(frame, CONTENT));
  }

  /** The block that a request's page goes to or comes from; -1: it's a hole. */
  protected directBlock(inodePage: number, write: boolean): number {
    return write ? this.#target(inodePage) : this.blockOf(inodePage);
  }

  /** The same write has ended: `served` of its pages are what the file has now, and the cache forgets them once more, if it can. */
  protected endDirect(first: number, pages: number, served: number): void {
    for (let inodePage = first; inodePage < first + pages; inodePage++) {
      const written = this.inode(inodePage, INODE_NEW_BLOCK);
      const done = inodePage < first + served;
      if (written > 0 && (done || !this.isDirty(inodePage))) {
        this.setInode(inodePage, INODE_NEW_BLOCK, 0);
        if (done) this.#install(inodePage, written);
        else this.freeBlock(written - 1);
      }
      if (done) this.invalidateFile(inodePage);
    }
  }
}

/**
 * msync of a page, a step after the other, with whatever comes in between; a step that has to wait is false, and taken again. Over when the
 * page isn't on its way any more, whoever began that.
 */
export function msyncSteps(machine: MachineWriteback, inodePage: number): (() => boolean)[] {
  let ours = false;
  const begin = (): boolean => {
    const before = machine.isUnderWriteback(inodePage);
    const errno = machine.beginWriteback(inodePage);
    if (errno !== 0 && errno !== WAIT) violated("STATE", `writeback of inode page ${inodePage} fails with ${errno}`);
    ours = errno === 0 && !before && machine.isUnderWriteback(inodePage);
    return errno === 0;
  };
  const serve = (): boolean => {
    if (ours) machine.serveWriteback(inodePage);
    return true;
  };
  const end = (): boolean => {
    if (ours) machine.endWriteback(inodePage);
    return !machine.isUnderWriteback(inodePage);
  };
  return [begin, serve, end];
}
