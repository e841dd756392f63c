/** An engine whose memory other code discards, and reads that see what is lost. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import koffi from "koffi";
import { type Arena, Engine, type EngineOptions, type File } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { Random } from "../support/random.js";
import { scratchDirectory } from "../support/undo.js";
import { BEGUN, ENDED } from "./native.js";

export const MIB = 1 << 20;
export const BLOCKS = 256;
export const DONTNEED = 4;
export const FOLLOWED: EngineOptions = {};
/** Options of the control: without the monitor the harm shows. */
export const UNFOLLOWED: EngineOptions = { events: { userfaultfd: false } };

export const madvise = koffi.load(null).func("int madvise(uintptr_t at, size_t bytes, int advice)");

export interface Bed {
  readonly engine: Engine;
  readonly arena: Arena;
  readonly file: File;
  readonly memory: Uint8Array;
}

export async function withBed(
  t: TestContext,
  options: EngineOptions,
  body: (bed: Bed) => Promise<void>,
): Promise<void> {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(BLOCKS));
  const engine = await Engine.open({ depth: 32, lease: { idle: 3_600_000, max: 3_600_000 }, ...options });
  try {
    const arena = await engine.arena({ bytes: 4 * MIB });
    const memory = arena.alloc(4 * MIB);
    await body({ engine, arena, memory, file: await engine.openFile(name, "r+") });
    if (options.events === undefined && options.pin !== "lifetime")
      assert.deepEqual(
        engine.stats().degraded.filter((why) => /follow/.test(why)),
        [],
      );
  } finally {
    await engine.close();
  }
}

/** Counts of reads that no discard overlapped: those with their bytes, and those without. */
export interface Seen {
  quiet: number;
  stale: number;
}

/**
 * Reads blocks into random places while `goOn` says so. `discards`: those of the other code that have begun and ended.
 */
export async function load({ file, memory }: Bed, discards: Int32Array, goOn: () => boolean): Promise<Seen> {
  const seen = { quiet: 0, stale: 0 };
  const locations = memory.byteLength / BLOCK_BYTES;
  const reader = async (seed: number): Promise<void> => {
    const random = new Random(seed);
    while (goOn()) {
      const block = random.below(BLOCKS);
      // Each reader has places of its own.
      const at = (random.below(locations / 16) * 16 + seed) * BLOCK_BYTES;
      const buffer = memory.subarray(at, at + BLOCK_BYTES);
      // Nothing but what is read now may be seen.
      buffer.fill(0x11);
      const ended = Atomics.load(discards, ENDED);
      const begun = Atomics.load(discards, BEGUN);
      const { bytesRead } = await file.read(buffer, { position: block * BLOCK_BYTES });
      assert.equal(bytesRead, BLOCK_BYTES);
      const difference = wrongBlocks(buffer, block);
      const overlapped = begun !== ended || Atomics.load(discards, BEGUN) !== begun;
      if (!overlapped) seen.quiet++;
      // Beside a discard it may have been read, then discarded.
      if (difference !== null && !(overlapped && isFilledWith(buffer, 0))) seen.stale++;
    }
  };
  await Promise.all(Array.from({ length: 16 }, (_, seed) => reader(seed)));
  return seen;
}

export function wordsOfThread(): { words: Int32Array; address: number } {
  const words = new Int32Array(new SharedArrayBuffer(64));
  return { words, address: Number(koffi.address(new Uint8Array(words.buffer))) };
}

/** Sixteen reads into the first pages of `memory`. A fast device may answer some before the program's next line. */
export function readBlocks(engine: Engine, file: File, memory: Uint8Array, from: number) {
  const done = new Set<number>();
  const buffers = Array.from({ length: 16 }, (_, i) => memory.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
  const block = (i: number): number => (from + i) % BLOCKS;
  let all = (): void => {};
  const ended = new Promise<void>((resolve) => {
    all = resolve;
  });
  const submit = (i: number): void => {
    const answer = file.submit("read", buffers[i]!, block(i) * BLOCK_BYTES, (errno, bytes) => {
      assert.deepEqual([errno, bytes], [0, BLOCK_BYTES]);
      done.add(i);
      if (done.size === buffers.length) all();
    });
    // The scheme direct takes no more than libuv's pool has threads.
    if (answer === "busy") void engine.drained().then(() => submit(i));
  };
  for (const i of buffers.keys()) submit(i);
  return {
    answered: (): ReadonlySet<number> => new Set(done),
    /**
     * Waits for all reads and lists errors, except for reads in `before`, whose memory was discarded after they ended.
     */
    async wrong(before: ReadonlySet<number>): Promise<string[]> {
      await ended;
      return buffers.flatMap((buffer, i) => (before.has(i) ? [] : (wrongBlocks(buffer, block(i)) ?? [])));
    },
  };
}
