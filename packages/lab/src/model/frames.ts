/**
 * The machine's state, the allocator of its frames, and the copies that swap has of them.
 *
 * Supported: NUMA nodes with a free list each, allocation with and without fallback to other nodes, swap slots that
 * several page tables refer to.
 *
 * Differs from Linux: frames are single pages, so there's no buddy allocator, and a huge page is a flag of its frames;
 * there are no zones and no memory cgroups; swap entries and the swap cache are one table.
 */

import { violated } from "pinless/portable";
import {
  BACKING,
  CONTENT,
  FRAME_FLAGS,
  IN_FLIGHT,
  IN_USE,
  type KernelDesign,
  layoutOf,
  MAPS,
  type MachineSize,
  PINS,
  SWAP_CONTENT,
  SWAP_USERS,
  type TableLayout,
} from "./tables.js";

export class Frames {
  readonly size: MachineSize;
  readonly design: KernelDesign;
  readonly layout: TableLayout;
  readonly nodes: number;
  readonly #nodeFrames: number;
  /** All of the machine's state. */
  readonly words: Int32Array;

  /** `words` is zeroed memory for the state; without it the machine allocates its own. */
  constructor(size: MachineSize, design: KernelDesign, words?: Int32Array) {
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

  /**
   * Next free frame after a free frame. A CONTENT of 0 stands for the neighbouring frame, so that zeroed memory is a
   * valid free list.
   */
  #nextFree(frame: number): number {
    return this.frame(frame, CONTENT) + frame + 1;
  }

  /** Links a free frame to the next one; -1 ends the list. */
  #setNextFree(frame: number, next: number): void {
    this.setFrame(frame, CONTENT, next - frame - 1);
  }

  /** Frames of a node, in order. */
  framesOf(node: number): number[] {
    const first = node * this.#nodeFrames;
    const count = Math.min(this.#nodeFrames, this.size.frames - first);
    return Array.from({ length: count }, (_, i) => first + i);
  }

  nodeOf(frame: number): number {
    return this.nodes === 1 ? 0 : Math.floor(frame / this.#nodeFrames);
  }

  /** Replaces a node's free list: these frames, to be allocated in this order. */
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

  swap(slot: number, word: number): number {
    return this.words[this.layout.swap.at + slot * this.layout.swap.entryWords + word]!;
  }

  setSwap(slot: number, word: number, value: number): void {
    this.words[this.layout.swap.at + slot * this.layout.swap.entryWords + word] = value;
  }

  frameIs(frame: number, flag: number): boolean {
    return (this.frame(frame, FRAME_FLAGS) & flag) !== 0;
  }

  setFrameFlags(frame: number, on: number, off = 0): void {
    this.setFrame(frame, FRAME_FLAGS, (this.frame(frame, FRAME_FLAGS) | on) & ~off);
  }

  /** Allocates a frame on a node, or on the next node with a free one. Returns -1 if there is none. */
  allocate(content: number, node = 0): number {
    let frame = this.allocateOn(node, content);
    for (let i = 1; frame < 0 && i < this.nodes; i++) frame = this.allocateOn((node + i) % this.nodes, content);
    return frame;
  }

  /** Allocates a frame on that node only (__GFP_THISNODE). */
  allocateOn(node: number, content: number): number {
    const list = this.layout.freeFrames + node;
    const frame = this.words[list]! - 1;
    if (frame < 0) return -1;
    this.words[list] = this.#nextFree(frame) + 1;
    this.setFrame(frame, CONTENT, content);
    this.setFrame(frame, FRAME_FLAGS, IN_USE);
    return frame;
  }

  /** Frees a frame that nothing refers to any more (put_page). */
  put(frame: number): void {
    const kept = this.frame(frame, MAPS) > 0 || this.frame(frame, PINS) > 0 || this.frame(frame, BACKING) < 0;
    if (kept || (this.frame(frame, IN_FLIGHT) > 0 && this.design === "gup")) return;
    if (this.frame(frame, IN_FLIGHT) !== 0) violated("STATE", `frame ${frame} is freed under I/O`);
    this.dropSwapCopy(frame);
    this.free(frame);
  }

  free(frame: number): void {
    const { at, entryWords } = this.layout.frames;
    this.words.fill(0, at + frame * entryWords, at + (frame + 1) * entryWords);
    const list = this.layout.freeFrames + this.nodeOf(frame);
    this.#setNextFree(frame, this.words[list]! - 1);
    this.words[list] = frame + 1;
  }

  /** Copies the state of a frame, including its references, to another frame. */
  copy(from: number, to: number): void {
    const { at, entryWords } = this.layout.frames;
    this.words.copyWithin(at + to * entryWords, at + from * entryWords, at + (from + 1) * entryWords);
  }

  /** Drops the copy of a frame in swap, because the frame is about to differ from it. */
  dropSwapCopy(frame: number): void {
    const backing = this.frame(frame, BACKING);
    if (backing <= 0) return;
    this.putSwap(backing - 1);
    this.setFrame(frame, BACKING, 0);
  }

  putSwap(slot: number): void {
    const users = this.swap(slot, SWAP_USERS) - 1;
    this.setSwap(slot, SWAP_USERS, users);
    if (users === 0) this.setSwap(slot, SWAP_CONTENT, 0);
  }

  /** A swap slot that nothing refers to, or -1. */
  freeSwapSlot(): number {
    for (let slot = 0; slot < this.size.swapSlots; slot++) if (this.swap(slot, SWAP_USERS) === 0) return slot;
    return -1;
  }
}
