/**
 * Physical memory in areas of 2 MiB (pageblocks), each with its numbers of kernel, movable and buffer pages. An area
 * takes six bytes, so a machine of 1 TiB takes 3 MiB. Pages of one kind in an area aren't told apart: an operation
 * draws the page that it meets.
 */

import type { Stream } from "../model/random.js";
import { HUGE_PAGES } from "../model/tables.js";
import { BUSY_SHARE, HUGE_BYTES } from "./costs.js";
import type { Plan } from "./plan.js";

export interface HugePages {
  /** Number of huge pages asked for, 95 % of the free memory, and of those obtained. */
  readonly asked: number;
  readonly got: number;
}

const ASKED_SHARE = 0.95;
/** Most draws of a random area before a search is given up. */
const ATTEMPTS = 64;

export class Blocks {
  readonly count: number;
  /** For each area: the kernel's pages, which can't be moved; movable pages of others; pages of buffers. */
  readonly #kernel: Uint16Array;
  readonly #others: Uint16Array;
  readonly #buffers: Uint16Array;
  readonly #firstSpread: number;
  readonly #spreadBlocks: number;
  #nextFree: number;

  constructor({ machine, buffers }: Plan, random: Stream) {
    this.count = machine.bytes / HUGE_BYTES;
    this.#kernel = new Uint16Array(this.count);
    this.#others = new Uint16Array(this.count);
    this.#buffers = new Uint16Array(this.count);
    this.#nextFree = this.count;
    const ofKernel = Math.ceil(this.count * machine.kernelShare);
    this.#kernel.fill(HUGE_PAGES, 0, ofKernel);
    this.#firstSpread = ofKernel;
    const small = buffers.pages === "small";
    const blocksOfBuffers = buffers.bytes / HUGE_BYTES;
    this.#spreadBlocks = Math.min(this.count - ofKernel, small ? buffers.spreadBytes / HUGE_BYTES : blocksOfBuffers);
    this.#layBuffers(blocksOfBuffers * HUGE_PAGES);
    this.#layStrays(machine.strayShare, random);
    this.#layOthers(machine.otherShare * machine.bytes, random);
  }

  /** Spreads buffers evenly over the first areas after the kernel's. */
  #layBuffers(pages: number): void {
    for (let i = 0; i < this.#spreadBlocks; i++) {
      const upTo = Math.floor((pages * (i + 1)) / this.#spreadBlocks);
      this.#buffers[this.#firstSpread + i] = upTo - Math.floor((pages * i) / this.#spreadBlocks);
    }
  }

  #layStrays(share: number, random: Stream): void {
    if (share === 0) return;
    for (let block = 0; block < this.count; block++)
      if (this.#room(block) > 0 && this.#buffers[block]! < HUGE_PAGES && random.chance(share)) this.#kernel[block]!++;
  }

  /**
   * Spreads pages of others unevenly, as in a machine that has run for long: half of the room on average, and all of it
   * in some areas.
   */
  #layOthers(bytes: number, random: Stream): void {
    let left = Math.floor(bytes / HUGE_BYTES) * HUGE_PAGES;
    for (let pass = 0; left > 0 && pass < 8; pass++)
      for (let block = 0; block < this.count && left > 0; block++) {
        const room = this.#room(block);
        if (room === 0 || random.chance(0.5)) continue;
        const pages = Math.min(left, 1 + random.below(room));
        this.#others[block]! += pages;
        left -= pages;
      }
  }

  get memoryBytes(): number {
    return this.#kernel.byteLength + this.#others.byteLength + this.#buffers.byteLength;
  }

  #room(block: number): number {
    return HUGE_PAGES - this.#kernel[block]! - this.#others[block]! - this.#buffers[block]!;
  }

  bufferPages(block: number): number {
    return this.#buffers[block]!;
  }

  otherPages(block: number): number {
    return this.#others[block]!;
  }

  /** True if compaction would try to empty the area: some of it is in use, and none by the kernel. */
  worthCompacting(block: number): boolean {
    const room = this.#room(block);
    return room > 0 && room < HUGE_PAGES && this.#kernel[block] === 0;
  }

  /** Moves pages out of an area, to random areas with room. */
  evacuate(block: number, bufferPages: number, otherPages: number, random: Stream): void {
    this.#buffers[block]! -= bufferPages;
    this.#others[block]! -= otherPages;
    this.#place(this.#buffers, bufferPages, block, random);
    this.#place(this.#others, otherPages, block, random);
  }

  /** Adds pages of buffers to areas that are partly used already, so that free areas stay free. */
  addBuffers(pages: number, random: Stream): void {
    this.#place(this.#buffers, pages, -1, random);
  }

  #place(kind: Uint16Array, pages: number, not: number, random: Stream): void {
    let left = pages;
    for (let i = 0; left > 0 && i < ATTEMPTS; i++) {
      const block = this.#firstSpread + random.below(this.#spreadBlocks);
      const room = this.#room(block);
      if (block === not || room === 0 || room === HUGE_PAGES) continue;
      const some = Math.min(left, room);
      kind[block]! += some;
      left -= some;
    }
    // No random area had room, which is rare: search all.
    for (let block = this.count - 1; left > 0 && block >= 0; block--) {
      if (block === not) continue;
      const some = Math.min(left, this.#room(block));
      kind[block]! += some;
      left -= some;
    }
    if (left > 0 && not >= 0) kind[not]! += left;
  }

  /** Removes pages of buffers: a huge page as a whole, small ones from random areas. */
  removeBuffers(pages: number, size: "huge" | "small", random: Stream): void {
    let left = pages;
    for (let i = 0; left > 0 && i < ATTEMPTS * pages; i++) {
      const block = this.#firstSpread + random.below(this.#spreadBlocks);
      const some = size === "huge" ? HUGE_PAGES : 1;
      if (this.#buffers[block]! < some) continue;
      this.#buffers[block]! -= some;
      left -= some;
    }
  }

  /** Takes a free area for a huge page of buffers. Returns false if there is none. */
  takeFree(): boolean {
    while (this.#nextFree > 0) {
      const block = --this.#nextFree;
      if (this.#room(block) !== HUGE_PAGES) continue;
      this.#buffers[block] = HUGE_PAGES;
      return true;
    }
    return false;
  }

  /**
   * Counts the huge pages that could be obtained, changing nothing: free areas, and those that one pass of compaction
   * would empty. The two scanners of compaction start at both ends (mm/compaction.c): one moves pages out of an area,
   * the other finds free pages for them; the pass ends where they meet. An area isn't emptied if one of its pages can't
   * be moved: the kernel's, a pinned one, or one that is busy at that moment.
   *
   * `pinnedShare` is the share of the buffers' pieces that are pinned, `piecePages` the size of a piece, which is
   * adjacent in physical memory.
   */
  obtainable(pinnedShare: number, piecePages: number, random: Stream): HugePages {
    const free = new Uint16Array(this.count);
    let freePages = 0;
    let freeBlocks = 0;
    for (let block = 0; block < this.count; block++) {
      free[block] = this.#room(block);
      freePages += free[block]!;
      if (free[block] === HUGE_PAGES) freeBlocks++;
    }
    const asked = Math.floor((freePages * ASKED_SHARE) / HUGE_PAGES);
    const notPinned = powers(1 - pinnedShare);
    const notBusy = powers(1 - BUSY_SHARE.share);
    let got = Math.min(asked, freeBlocks);
    let target = this.count - 1;
    for (let block = 0; got < asked && block < target; block++) {
      if (!this.worthCompacting(block)) continue;
      const pieces = Math.ceil(this.#buffers[block]! / piecePages);
      const pages = HUGE_PAGES - free[block]!;
      const moves = random.chance(notPinned[pieces]!) && random.chance(notBusy[pages]!);
      // Compaction moves the movable pages even if another page of the area can't be moved.
      let left = moves || pinnedShare === 0 ? pages : this.#others[block]!;
      for (; left > 0 && target > block; ) {
        const some = free[target] === HUGE_PAGES ? 0 : Math.min(left, free[target]!);
        free[target]! -= some;
        left -= some;
        if (left > 0) target--;
      }
      if (left === 0 && moves) got++;
    }
    return { asked, got };
  }
}

function powers(of: number): Float64Array {
  const found = new Float64Array(HUGE_PAGES + 1);
  found[0] = 1;
  for (let i = 1; i < found.length; i++) found[i] = found[i - 1]! * of;
  return found;
}
