/**
 * Reads a file in blocks ahead of a reader that goes from its beginning to its end, several blocks at a time. It's
 * asked for bytes at a position, so a reader that goes elsewhere, or whose block couldn't be read, loses nothing: it
 * reads there by itself, with the errors of such a read.
 */

import { alignDown, alignUp } from "../protocol/ranges/ranges.js";
import type { Blocks } from "./block-options.js";
import type { StagingMemory } from "./staging-memory.js";
import type { WriteOrder } from "./write-ordering.js";

/** The file as its read-ahead sees it. */
export interface BlockSource {
  readonly memory: StagingMemory;
  /** Alignment of offsets and lengths. */
  readonly alignment: number;
  readonly writeOrder: WriteOrder;
  /** Reads as `File.read`: a short read is the file's end. */
  read(memory: Uint8Array, position: number): Promise<number>;
  /** Notes that there is no memory for blocks. */
  degraded(error: Error): void;
}

interface Block {
  readonly start: number;
  readonly bytes: number;
  memory: Uint8Array | null;
  /** Bytes that were read, or -1 after an error. */
  came: Promise<number>;
  /** True once the reader has used it. */
  used: boolean;
  /** True if a write of this engine may have changed the bytes since. */
  stale: boolean;
}

export class ReadAhead {
  readonly #source: BlockSource;
  readonly #blockBytes: number;
  readonly #depth: number;
  /** Bytes to be read in all, counted from the first position. */
  readonly #bytes: number;
  /** Position of the end of these bytes; -1 before the first read. */
  #limit = -1;
  /** Blocks in the file's order, without gaps; the reader is in the first. */
  readonly #blocks: Block[] = [];
  /** All blocks whose memory is in use, also those that were dropped while they were being read. */
  readonly #held = new Set<Block>();
  readonly #spare: Uint8Array[] = [];
  /** Number of blocks that the reader's progress allows now. */
  #allowed = 1;
  /** Position at which the reader would go on. */
  #expected = -1;
  #over: Promise<void> | null = null;

  /** `depth` blocks are read while another one is used; `bytes` is the most that will be read in all. */
  constructor(source: BlockSource, { blockBytes, depth }: Blocks, bytes: number) {
    this.#source = source;
    this.#blockBytes = blockBytes;
    this.#depth = depth;
    this.#bytes = bytes;
  }

  /** Reads at a position into memory: bytes that were read ahead, and others from the file. */
  async read(memory: Uint8Array, position: number): Promise<number> {
    let done = 0;
    // A first read isn't sequential, and a reader may want no more than that.
    while (position === this.#expected && done < memory.byteLength) {
      const bytes = await this.at(position + done);
      if (bytes === null) break;
      const part = bytes.subarray(0, memory.byteLength - done);
      memory.set(part, done);
      done += part.byteLength;
    }
    if (done === 0 || (done < memory.byteLength && this.#over === null)) {
      try {
        done += await this.#source.read(memory.subarray(done), position + done);
      } catch (error) {
        if (done === 0) throw error;
      }
    }
    this.#expected = position + done;
    if (this.#limit < 0) this.#limit = position + this.#bytes;
    if (this.#expected >= this.#limit) await this.end();
    return done;
  }

  /**
   * Resolves to the bytes that were read ahead at a position, which stay valid until the next call; null if the reader
   * must ask the file itself.
   */
  async at(position: number): Promise<Uint8Array | null> {
    if (this.#over !== null) return null;
    if (this.#limit < 0) this.#limit = position + this.#bytes;
    this.#goTo(position);
    this.#fill(position);
    const [block] = this.#blocks;
    if (block === undefined) return null;
    const came = await block.came;
    if (this.#over !== null) return null;
    const from = position - block.start;
    if (block.stale || came <= from) {
      this.#drop();
      // After a short read each read asks the file, which may be growing.
      if (!block.stale && came >= 0) await this.end();
      return null;
    }
    if (!block.used && came === block.bytes) {
      block.used = true;
      this.#allowed = Math.min(2 * this.#allowed, this.#depth + 1);
      this.#fill(position);
    }
    return block.memory!.subarray(from, came);
  }

  /** Ends reading ahead; resolves once nothing is in flight and all memory is given back. */
  end(): Promise<void> {
    this.#over ??= this.#end();
    return this.#over;
  }

  async #end(): Promise<void> {
    this.#drop();
    await Promise.all([...this.#held].map(({ came }) => came));
    this.#source.writeOrder.unwatch(this);
    await Promise.all(this.#spare.splice(0).map((memory) => this.#source.memory.release(memory)));
  }

  /** Notes that a write of this engine begins on a range of the file. */
  overwritten(start: number, end: number): void {
    for (const block of this.#blocks) if (block.start < end && start < block.start + block.bytes) block.stale = true;
  }

  /** Drops the blocks before the position; all of them if it isn't where the reader would go on. */
  #goTo(position: number): void {
    for (let [block] = this.#blocks; block !== undefined; [block] = this.#blocks) {
      const end = block.start + block.bytes;
      if (position >= block.start && position < end) return;
      if (position !== end) {
        this.#drop();
        return;
      }
      this.#blocks.shift();
      this.#giveUp(block);
    }
  }

  #drop(): void {
    for (const block of this.#blocks.splice(0)) this.#giveUp(block);
    this.#allowed = 1;
  }

  /** Takes a block's memory for the next one, once it isn't read into any more. */
  #giveUp(block: Block): void {
    const keep = (): void => {
      this.#held.delete(block);
      if (block.memory !== null) this.#spare.push(block.memory);
    };
    if (block.used) keep();
    else block.came = block.came.finally(keep);
  }

  /** Begins to read as many blocks as are allowed. */
  #fill(position: number): void {
    const { writeOrder, alignment } = this.#source;
    const last = this.#blocks.at(-1);
    let start = last === undefined ? alignDown(position, alignment) : last.start + last.bytes;
    // A block that is read while a write is in flight might miss it, and a later read mustn't.
    while (this.#blocks.length < this.#allowed && start < this.#limit && writeOrder.isQuiet) {
      if (this.#held.size > this.#depth) return;
      const bytes = Math.min(this.#blockBytes, alignUp(this.#limit - start, alignment));
      const block: Block = { start, bytes, memory: null, came: Promise.resolve(0), used: false, stale: false };
      this.#blocks.push(block);
      this.#held.add(block);
      writeOrder.watch(this);
      block.came = this.#load(block);
      start += bytes;
    }
  }

  async #load(block: Block): Promise<number> {
    const { memory } = this.#source;
    try {
      block.memory = this.#spare.pop() ?? (await memory.acquire(this.#blockBytes));
    } catch (error) {
      this.#source.degraded(error as Error);
      void this.end();
      return -1;
    }
    return this.#source.read(block.memory.subarray(0, block.bytes), block.start).catch(() => -1);
  }
}
