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

/** Reads by `file.submit`: no promise and no allocation for each block, one of each for each call of `read`. */
export function arenaReader(engine: Engine, { path, file, arena, nodesAt }: Index): NodeReader {
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
          if (failure === null) resolve();
          else reject(failure);
        };
        const submit = (i: number): void => {
          for (; i < count; i++) {
            if (file.submit("read", slots[i]!.bytes, nodesAt + ids[i]! * BLOCK_BYTES, done) === "queued") continue;
            const rest = i;
            engine.drained().then(() => submit(rest), reject);
            return;
          }
        };
        submit(0);
      });
    },
  };
}
