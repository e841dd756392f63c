/** The machine's state, and the allocator of its frames: what everything else in mm/ is made of. */

import {
  CONTENT,
  type Design,
  FRAME_FLAGS,
  IN_USE,
  type Layout,
  layoutOf,
  type MachineSize,
  PTE_FLAGS,
  TARGET,
} from "./tables.js";

export class MachineFrames {
  readonly size: MachineSize;
  readonly design: Design;
  readonly layout: Layout;
  readonly nodes: number;
  readonly #nodeFrames: number;
  /** All of the machine's state. */
  readonly words: Int32Array;

  /** `words`: where its state is to lie, if not in memory of its own; all zeros. */
  constructor(size: MachineSize, design: Design, words?: Int32Array) {
    this.size = size;
    this.design = design;
    this.layout = layoutOf(size);
    this.nodes = size.nodes ?? 1;
    this.#nodeFrames = Math.ceil(size.frames / this.nodes);
    this.words = words ?? new Int32Array(this.layout.words);
    for (let node = 0; node < this.nodes; node++) {
      const first = node * this.#nodeFrames;
      const last = Math.min(first + this.#nodeFrames, size.frames) - 1;
      if (last < first) continue;
      this.words[this.layout.freeFrames + node] = first + 1;
      this.#setNextFree(last, -1);
    }
  }

  /** After a free frame comes the one that follows it in memory (0), or another: large memory needn't be gone through to be all free. */
  #nextFree(frame: number): number {
    return this.frame(frame, CONTENT) + frame + 1;
  }

  /** -1: none. */
  #setNextFree(frame: number, next: number): void {
    this.setFrame(frame, CONTENT, next - frame - 1);
  }

  /** The frames of a node, in order. */
  framesOf(node: number): number[] {
    const first = node * this.#nodeFrames;
    const count = Math.min(this.#nodeFrames, this.size.frames - first);
    return Array.from({ length: count }, (_, i) => first + i);
  }

  nodeOf(frame: number): number {
    return this.nodes === 1 ? 0 : Math.floor(frame / this.#nodeFrames);
  }

  /** The node that a page's process runs on. */
  homeOf(page: number): number {
    return this.nodes === 1 ? 0 : this.words[this.layout.runsOn + Math.floor(page / this.size.pages)]!;
  }

  runOn(process: number, node: number): void {
    if (this.nodes > 1) this.words[this.layout.runsOn + process] = node;
  }

  /** These are all that is free of a node, to be had in this order. */
  setFree(node: number, frames: readonly number[]): void {
    this.words[this.layout.freeFrames + node] = (frames[0] ?? -1) + 1;
    for (let i = 0; i < frames.length; i++) this.#setNextFree(frames[i]!, frames[i + 1] ?? -1);
  }

  freeOf(node: number): number[] {
    const free: number[] = [];
    for (let next = this.words[this.layout.freeFrames + node]! - 1; next >= 0; next = this.#nextFree(next))
      free.push(next);
    return free;
  }

  frame(frame: number, word: number): number {
    return this.words[this.layout.frames.at + frame * this.layout.frames.entryWords + word]!;
  }

  setFrame(frame: number, word: number, value: number): void {
    this.words[this.layout.frames.at + frame * this.layout.frames.entryWords + word] = value;
  }

  pte(page: number, word: number): number {
    return this.words[this.layout.pages.at + page * this.layout.pages.entryWords + word]!;
  }

  setPte(page: number, word: number, value: number): void {
    this.words[this.layout.pages.at + page * this.layout.pages.entryWords + word] = value;
  }

  swap(slot: number, word: number): number {
    return this.words[this.layout.swap.at + slot * this.layout.swap.entryWords + word]!;
  }

  setSwap(slot: number, word: number, value: number): void {
    this.words[this.layout.swap.at + slot * this.layout.swap.entryWords + word] = value;
  }

  /** The frame that a page is in now, or -1. */
  frameOf(page: number): number {
    return Math.max(this.pte(page, TARGET), 0) - 1;
  }

  is(page: number, flag: number): boolean {
    return (this.pte(page, PTE_FLAGS) & flag) !== 0;
  }

  frameIs(frame: number, flag: number): boolean {
    return (this.frame(frame, FRAME_FLAGS) & flag) !== 0;
  }

  setFlags(page: number, on: number, off = 0): void {
    this.setPte(page, PTE_FLAGS, (this.pte(page, PTE_FLAGS) | on) & ~off);
  }

  setFrameFlags(frame: number, on: number, off = 0): void {
    this.setFrame(frame, FRAME_FLAGS, (this.frame(frame, FRAME_FLAGS) | on) & ~off);
  }

  /** A frame of that node, or of the next one that has any; -1: there's none. */
  allocate(content: number, node = 0): number {
    let frame = this.allocateOn(node, content);
    for (let i = 1; frame < 0 && i < this.nodes; i++) frame = this.allocateOn((node + i) % this.nodes, content);
    return frame;
  }

  /** A frame of that node and no other (__GFP_THISNODE). */
  allocateOn(node: number, content: number): number {
    const list = this.layout.freeFrames + node;
    const frame = this.words[list]! - 1;
    if (frame < 0) return -1;
    this.words[list] = this.#nextFree(frame) + 1;
    this.setFrame(frame, CONTENT, content);
    this.setFrame(frame, FRAME_FLAGS, IN_USE);
    return frame;
  }

  free(frame: number): void {
    const { at, entryWords } = this.layout.frames;
    this.words.fill(0, at + frame * entryWords, at + (frame + 1) * entryWords);
    const list = this.layout.freeFrames + this.nodeOf(frame);
    this.#setNextFree(frame, this.words[list]! - 1);
    this.words[list] = frame + 1;
  }
}
