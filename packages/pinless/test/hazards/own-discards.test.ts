// The engine's own thread discards pages of an arena, by madvise or by Arena.discard: reads arrive all the same.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BLOCK_BYTES, isFilledWith, wrongBlocks } from "../support/blocks.js";
import { figure, isColumn } from "../support/figure.js";
import { addressOf } from "../support/proc.js";
import {
  DONTNEED,
  FOLLOWED,
  load,
  MIB,
  madvise,
  readBlocks,
  UNFOLLOWED,
  withBed,
  wordsOfThread,
} from "./discard-bed.js";
import { BEGUN } from "./native.js";
import { WAYS } from "./ways.js";

for (const scheme of ["io_uring", "aio", "direct"] as const) {
  test(`madvise by the engine's own thread under reads in flight, ${scheme}: all of them arrive (NO_STALE_IO)`, (t) =>
    withBed(t, { scheme }, async ({ engine, file, memory }) => {
      for (let round = 0; round < 200; round++) {
        const reads = readBlocks(engine, file, memory, round);
        // With the kernel, or accepted and not yet submitted.
        for (let turns = round % 4; turns > 0; turns--) await Promise.resolve();
        const before = reads.answered();
        assert.equal(madvise(addressOf(memory), memory.byteLength, DONTNEED), 0);
        assert.deepEqual(await reads.wrong(before), [], `round ${round}`);
      }
      // Nothing was drained: the thread itself was waiting.
      assert.equal(engine.stats().invalidations.CLEAR, 0);
      assert.ok(engine.stats().reissued > 0);
    }));
}

test("madvise by the engine's own thread, not followed: reads by its leases are lost (control)", (t) =>
  withBed(t, UNFOLLOWED, async ({ engine, file, memory }) => {
    const buffer = memory.subarray(0, BLOCK_BYTES);
    for (let i = 0; i < 3; i++) await file.read(buffer, { position: 0 });
    assert.ok(engine.stats().leases.live > 0);
    assert.equal(madvise(addressOf(memory), memory.byteLength, DONTNEED), 0);
    await file.read(buffer, { position: 0 });
    assert.ok(isFilledWith(buffer, 0));
  }));

for (const { name, options, control } of WAYS) {
  test(`madvise, then a read, again and again, ${name}: ${control ? "lost (control)" : "it arrives"}`, (t) =>
    withBed(t, { ...options }, async ({ file, memory }) => {
      const ROUNDS = 100;
      const buffer = memory.subarray(0, BLOCK_BYTES);
      let lost = 0;
      for (let round = 0; round < ROUNDS; round++) {
        await file.read(buffer, { position: round * BLOCK_BYTES });
        assert.equal(madvise(addressOf(memory), memory.byteLength, DONTNEED), 0);
        await file.read(buffer, { position: (round + 1) * BLOCK_BYTES });
        if (wrongBlocks(buffer, round + 1) !== null) lost++;
      }
      assert.equal(lost, control ? ROUNDS : 0);
      if (isColumn(name))
        figure(t, `reads lost of ${ROUNDS}, each after other code's madvise(MADV_DONTNEED)`, name, `${lost}`);
    }));
}

test("Arena.discard is our own call: the monitor lets it continue at once, and announces nothing (SELF_EVENT)", (t) =>
  withBed(t, FOLLOWED, async (bed) => {
    const { engine, arena, memory } = bed;
    let over = false;
    const { words } = wordsOfThread();
    // As if no discard was ever quiet: what is discarded beside a read may be zeros.
    Atomics.store(words, BEGUN, 1);
    const loading = load(bed, words, () => !over);
    for (let i = 0; i < 100; i++) await arena.discard(memory.subarray(0, 2 * MIB), { lazily: i % 2 === 1 });
    over = true;
    await loading;
    // Only what ends at the moment at which the monitor reads is issued again.
    assert.equal(engine.stats().invalidations.CLEAR, 100);
  }));
