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
  /** All of the machine's state. */
  readonly words: Int32Array;

  /** `words`: where its state is to lie, if not in memory of its own; all zeros. */
  constructor(size: MachineSize, design: Design, words?: Int32Array) {
    this.size = size;
    this.design = design;
    this.layout = layoutOf(size);
    this.words = words ?? new Int32Array(this.layout.words);
    for (let frame = 0; frame < size.frames; frame++) this.setFrame(frame, CONTENT, (frame + 2) % (size.frames + 1));
    this.words[this.layout.freeFrames] = 1;
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

  allocate(content: number): number {
    const frame = this.words[this.layout.freeFrames]! - 1;
    if (frame < 0) return -1;
    this.words[this.layout.freeFrames] = this.frame(frame, CONTENT);
    this.setFrame(frame, CONTENT, content);
    this.setFrame(frame, FRAME_FLAGS, IN_USE);
    return frame;
  }

  free(frame: number): void {
    const { at, entryWords } = this.layout.frames;
    this.words.fill(0, at + frame * entryWords, at + (frame + 1) * entryWords);
    this.setFrame(frame, CONTENT, this.words[this.layout.freeFrames]!);
    this.words[this.layout.freeFrames] = frame + 1;
  }
}
