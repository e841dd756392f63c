/** Files on the machine's disk: contiguous, whole blocks, no names but paths. The page cache is the disk: nothing is ever written back. */

import { invariant } from "../core/assert.js";
import { PAGE_BYTES } from "./contents.js";
import type { Machine } from "./machine.js";
import { BLOCK_CONTENT } from "./tables.js";

/** Blocks that a file has to itself, so that it can grow in place. */
const ROOM_BLOCKS = 4096;

export class ModelFile {
  readonly number: number;
  readonly firstBlock: number;
  readonly roomBlocks: number;
  bytes = 0;
  mode = 0o644;
  readonly #machine: Machine;

  constructor(machine: Machine, number: number, firstBlock: number, roomBlocks: number) {
    this.#machine = machine;
    this.number = number;
    this.firstBlock = firstBlock;
    this.roomBlocks = roomBlocks;
  }

  /** What is there at `position`, at most `length` bytes. */
  read(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, this.bytes - position)));
    this.#pieces(position, bytes.length, (block, from, at, count) => {
      const content = this.#machine.contents.bytesOf(this.#machine.block(block, BLOCK_CONTENT));
      bytes.set(content.subarray(from, from + count), at);
    });
    return bytes;
  }

  write(position: number, bytes: Uint8Array): void {
    this.grow(position + bytes.length);
    this.#pieces(position, bytes.length, (block, from, at, count) => {
      const content = this.#machine.contents.bytesOf(this.#machine.block(block, BLOCK_CONTENT)).slice();
      content.set(bytes.subarray(at, at + count), from);
      this.#machine.setBlock(block, BLOCK_CONTENT, this.#machine.contents.tagOf(content));
    });
  }

  grow(bytes: number): void {
    invariant(
      "STATE",
      bytes <= this.roomBlocks * PAGE_BYTES,
      `a file of ${bytes} bytes has no room on the model's disk`,
    );
    this.bytes = Math.max(this.bytes, bytes);
  }

  truncate(bytes: number): void {
    if (bytes < this.bytes) {
      const zeros = new Uint8Array(Math.min(this.bytes, this.roomBlocks * PAGE_BYTES) - bytes);
      this.write(bytes, zeros);
    }
    this.grow(bytes);
    this.bytes = bytes;
  }

  #pieces(
    position: number,
    length: number,
    visit: (block: number, from: number, at: number, count: number) => void,
  ): void {
    for (let at = 0; at < length; ) {
      const from = (position + at) % PAGE_BYTES;
      const count = Math.min(PAGE_BYTES - from, length - at);
      visit(this.firstBlock + Math.floor((position + at) / PAGE_BYTES), from, at, count);
      at += count;
    }
  }
}

/** A file as it was opened. */
export interface Descriptor {
  readonly file: ModelFile;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Writes go to the end, whatever their position. */
  readonly append: boolean;
}

export class ModelFiles {
  readonly #machine: Machine;
  readonly #byPath = new Map<string, ModelFile>();
  #nextBlock = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  get(path: string): ModelFile | undefined {
    return this.#byPath.get(path);
  }

  create(path: string, roomBytes = 0): ModelFile {
    const room = Math.max(ROOM_BLOCKS, 2 * Math.ceil(roomBytes / PAGE_BYTES));
    invariant("STATE", this.#nextBlock + room <= this.#machine.size.blocks, "the model's disk is full");
    const file = new ModelFile(this.#machine, this.#byPath.size + 1, this.#nextBlock, room);
    this.#nextBlock += room;
    this.#byPath.set(path, file);
    return file;
  }
}
