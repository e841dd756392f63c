/** Memory of blocks: arenas made as they are needed, and closed once they are unused. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Arena } from "../../dist/engine/arena.js";
import { BlockMemory } from "../../dist/engine/block-memory.js";
import { type PlannedRead, ReadPlan, Targets } from "../../dist/files/range-plan.js";

/** An arena of one block, which says when it's closed. */
function arenaOfOne(closed: () => void): Arena {
  let isFull = false;
  return {
    alloc: (bytes: number) => {
      if (isFull) throw Object.assign(new Error("full"), { code: "ERR_PINLESS_ARENA_FULL" });
      isFull = true;
      return new Uint8Array(bytes);
    },
    free: async () => {
      isFull = false;
    },
    close: async () => closed(),
  } as unknown as Arena;
}

test("BlockMemory makes an arena where the others are full, and closes all but one that are unused", async () => {
  let [made, closed] = [0, 0];
  const memory = new BlockMemory(async () => {
    made++;
    return arenaOfOne(() => closed++);
  });
  const blocks = await Promise.all([1, 2, 3].map(() => memory.acquire(4096)));
  assert.deepEqual([made, closed], [3, 0]);
  for (const block of blocks) await memory.release(block);
  assert.deepEqual([made, closed], [3, 2]);
  await memory.acquire(4096);
  assert.equal(made, 3, "the arena that was kept is used again");
});

test("ReadPlan merges ranges up to mergeWithinBytes between their blocks, and no further", () => {
  const targets = new Targets(3);
  for (const position of [0, 8192, 20_480]) targets.add(position, 4096, new Uint8Array(0), 0);
  const limits = { mergeWithinBytes: 4096, amplificationMax: 100 };
  const plan = new ReadPlan(targets, Uint32Array.of(0, 1, 2), 4096, limits);
  const read: PlannedRead = { position: 0, bytes: 0, targets: [] };
  const reads: number[][] = [];
  while (plan.next(read)) reads.push([read.position, read.bytes, ...read.targets]);
  assert.deepEqual(reads, [
    [0, 12_288, 0, 1],
    [20_480, 4096, 2],
  ]);
});
