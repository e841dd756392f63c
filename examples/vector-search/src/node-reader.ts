/** Reads of vectors' blocks around the page cache, into an arena, many at a time. */

import type { Engine } from "pinless";
import { IndexError } from "./index-error.js";
import { BLOCK_BYTES, type Index } from "./index-file.js";

/** Memory of a block. */
export interface Slot {
  readonly bytes: Uint8Array;
  readonly ints: Int32Array;
  readonly floats: Float32Array;
}

/** A way to read vectors' blocks. */
export interface NodeReader {
  /** Memory for blocks, which isn't given back. */
  slots(count: number): Promise<Slot[]>;
  /** Reads the blocks of the first `count` vectors into slots. */
  read(ids: Int32Array, count: number, slots: readonly Slot[]): Promise<void>;
}

export function slotOf(bytes: Uint8Array): Slot {
  const { buffer, byteOffset, byteLength } = bytes;
  const length = byteLength / 4;
  return {
    bytes,
    ints: new Int32Array(buffer, byteOffset, length),
    floats: new Float32Array(buffer, byteOffset, length),
  };
}

/**
 * Blocks that were read, but only their used bytes: a fifth to all of the 4 KiB. The first ones stay, which searches
 * visit most: those near the medoid.
 */
class BlockCache {
  readonly #entries: Int32Array;
  readonly #numbers: Int32Array;
  readonly #width: number;
  #used = 0;

  constructor({ count, degree, dimension }: Index, bytes: number) {
    this.#width = 2 + degree + dimension;
    this.#entries = new Int32Array(this.#width * Math.min(count, Math.floor(bytes / 4 / this.#width)));
    this.#numbers = new Int32Array(bytes === 0 ? 0 : count).fill(-1);
  }

  /** Copies a block into a slot; false if it isn't there. */
  take(id: number, { ints }: Slot): boolean {
    const at = this.#numbers[id] ?? -1;
    if (at < 0) return false;
    ints.set(this.#entries.subarray(at, at + this.#width));
    return true;
  }

  keep(id: number, { ints }: Slot): void {
    if (this.#used === this.#entries.length || this.#numbers[id]! >= 0) return;
    this.#entries.set(ints.subarray(0, this.#width), this.#used);
    this.#numbers[id] = this.#used;
    this.#used += this.#width;
  }
}

/** Reads by `file.submit`: no promise and no allocation for each block, one of each for each call of `read`. */
export function arenaReader(engine: Engine, index: Index, cacheBytes = 0): NodeReader {
  const { path, file, arena, nodesAt } = index;
  const cache = new BlockCache(index, cacheBytes);
  return {
    async slots(count) {
      await arena.grow(count * BLOCK_BYTES);
      return Array.from({ length: count }, () => slotOf(arena.alloc(BLOCK_BYTES)));
    },
    read(ids, count, slots) {
      return new Promise((resolve, reject) => {
        let left = count;
        let failure: Error | null = null;
        const done = (errno: number, bytes: number): void => {
          if (errno !== 0) failure ??= new Error(`${path}: a read failed with errno ${errno}`);
          else if (bytes < BLOCK_BYTES) failure ??= new IndexError("ERR_INDEX_SIZE", path, "it became shorter");
          // Memory is in use until the last of them.
          if (--left > 0) return;
          if (failure === null) for (let i = 0; i < count; i++) cache.keep(ids[i]!, slots[i]!);
          if (failure === null) resolve();
          else reject(failure);
        };
        const submit = (i: number): void => {
          for (; i < count; i++) {
            if (cache.take(ids[i]!, slots[i]!)) left--;
            else if (file.submit("read", slots[i]!.bytes, nodesAt + ids[i]! * BLOCK_BYTES, done) === "busy") break;
          }
          if (i < count) engine.drained().then(() => submit(i), reject);
          else if (left === 0) resolve();
        };
        submit(0);
      });
    },
  };
}
