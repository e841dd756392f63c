/** Reads of vectors' blocks around the page cache, into an arena, many at a time. */

import type { Engine } from "pinless";
import { IndexError } from "./index-error.js";
import { BLOCK_BYTES, type Index } from "./index-file.js";

/** Memory of a block. */
export interface Slot {
  readonly ints: Int32Array;
  readonly floats: Float32Array;
}

/** Reads the blocks of the first `count` vectors into slots. */
export type BlockReader = (ids: Int32Array, count: number, slots: readonly Slot[]) => Promise<void>;

/**
 * Blocks that were read, but only their used bytes: a fifth to all of the 4 KiB. The first ones stay, which searches
 * visit most: those near the medoid.
 */
function blockCache({ count, degree, dimension }: Index, bytes: number) {
  const width = 2 + degree + dimension;
  const entries = new Int32Array(width * Math.min(count, Math.floor(bytes / 4 / width)));
  const offsets = new Map<number, number>();
  return {
    /** Copies a block into a slot; false if it isn't there. */
    take(id: number, { ints }: Slot): boolean {
      const at = offsets.get(id);
      if (at !== undefined) ints.set(entries.subarray(at, at + width));
      return at !== undefined;
    },
    keep(id: number, { ints }: Slot): void {
      const at = offsets.size * width;
      if (at === entries.length || offsets.has(id)) return;
      entries.set(ints.subarray(0, width), at);
      offsets.set(id, at);
    },
  };
}

/** Reads by `file.submit`: no promise and no allocation for each block, one of each for each call. */
export function arenaReader(engine: Engine, index: Index, cacheBytes = 0): BlockReader {
  const { path, file, nodesAt } = index;
  const cache = blockCache(index, cacheBytes);
  return (ids, count, slots) =>
    new Promise((resolve, reject) => {
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
          else if (file.submit("read", slots[i]!.ints, nodesAt + ids[i]! * BLOCK_BYTES, done) === "busy") break;
        }
        if (i < count) engine.drained().then(() => submit(i), reject);
        else if (left === 0) resolve();
      };
      submit(0);
    });
}
