/**
 * The page tables of all processes: which page shows which frame, with the flags of its entry and of its mapping.
 *
 * Supported: anonymous pages shared after fork, shared mappings of files, NUMA hinting, soft-dirty.
 *
 * Differs from Linux: a table has one level, and an entry holds the flags of its mapping (VM_*) too, so there are no
 * VMAs; there are no TLBs. An anonymous page is at the same place in every process that has it (children keep their
 * parent's addresses): that is its reverse map. PageAnonExclusive is "mapped once", since nothing but page tables
 * shares a frame here (no KSM).
 */

import type { Frames } from "./frames.js";
import {
  FOLIO_DIRTY,
  IN_FLIGHT,
  INODE_PAGE,
  MAPS,
  PTE_DIRTY,
  PTE_FLAGS,
  PTE_PROTNONE,
  PTE_WRITE,
  PTE_YOUNG,
  TARGET,
} from "./tables.js";

/**
 * The answer of a step whose invalidation waits for I/O in flight, or that sleeps until writeback ends; no errno: try
 * again then.
 */
export const WAIT = -1000;

export class PageTables {
  readonly #frames: Frames;
  /** The number of first pages of a process of which any was ever mapped: a bound for loops, and no state. */
  topPage = 0;

  constructor(frames: Frames) {
    this.#frames = frames;
  }

  pte(page: number, word: number): number {
    const { words, layout } = this.#frames;
    return words[layout.pages.at + page * layout.pages.entryWords + word]!;
  }

  setPte(page: number, word: number, value: number): void {
    const { words, layout } = this.#frames;
    words[layout.pages.at + page * layout.pages.entryWords + word] = value;
  }

  is(page: number, flag: number): boolean {
    return (this.pte(page, PTE_FLAGS) & flag) !== 0;
  }

  setFlags(page: number, on: number, off = 0): void {
    this.setPte(page, PTE_FLAGS, (this.pte(page, PTE_FLAGS) | on) & ~off);
  }

  /** The frame that a page is in now, or -1. */
  frameOf(page: number): number {
    return Math.max(this.pte(page, TARGET), 0) - 1;
  }

  /** The node that a page's process runs on. */
  homeOf(page: number): number {
    const { nodes, words, layout, size } = this.#frames;
    return nodes === 1 ? 0 : words[layout.runsOn + Math.floor(page / size.pages)]!;
  }

  runOn(process: number, node: number): void {
    const { nodes, words, layout } = this.#frames;
    if (nodes > 1) words[layout.runsOn + process] = node;
  }

  /** True if other processes have this anonymous frame too: a writer gets a copy first. */
  isShared(page: number): boolean {
    const frame = this.frameOf(page);
    return frame >= 0 && this.#frames.frame(frame, MAPS) > 1 && this.pte(page, INODE_PAGE) === 0;
  }

  /** True if an invalidation has to wait for I/O in flight: in the proposal's kernel, and only there. */
  mustWait(page: number): boolean {
    if (this.#frames.design !== "notifier") return false;
    const frame = this.frameOf(page);
    return frame >= 0 && this.#frames.frame(frame, IN_FLIGHT) > 0;
  }

  map(page: number, frame: number): void {
    this.setPte(page, TARGET, frame + 1);
    this.#frames.setFrame(frame, MAPS, this.#frames.frame(frame, MAPS) + 1);
  }

  /** Clears an entry, and moves its dirty bit to the folio. */
  unmap(page: number): void {
    const frame = this.frameOf(page);
    if (this.is(page, PTE_DIRTY)) this.#frames.setFrameFlags(frame, FOLIO_DIRTY);
    this.setPte(page, TARGET, 0);
    this.setFlags(page, 0, PTE_WRITE | PTE_DIRTY | PTE_YOUNG | PTE_PROTNONE);
    this.#frames.setFrame(frame, MAPS, this.#frames.frame(frame, MAPS) - 1);
    this.#frames.put(frame);
  }

  /** The first of all pages that show the anonymous frame of `page`; -1: none. */
  firstMapping(page: number, frame: number): number {
    if (this.#frames.frame(frame, MAPS) === 1) return page;
    return this.#mapping(page % this.#frames.size.pages, frame);
  }

  /** The next of them after `page`; -1: none. */
  nextMapping(page: number, frame: number): number {
    return this.#mapping(page + this.#frames.size.pages, frame);
  }

  #mapping(from: number, frame: number): number {
    const { layout, size } = this.#frames;
    for (let page = from; page < layout.pages.entries; page += size.pages)
      if (this.pte(page, TARGET) === frame + 1) return page;
    return -1;
  }
}
