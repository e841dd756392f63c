// Other code of the process throws away pages of an arena: a read that begins after that must arrive all the same.
import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, openSync, readSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import koffi from "koffi";
import { BLOCK_BYTES, isFilledWith, wrongBlocks } from "../support/blocks.js";
import { addressOf } from "../support/proc.js";
import { until } from "../support/until.js";
import {
  type Bed,
  DONTNEED,
  FOLLOWED,
  load,
  readBlocks,
  type Seen,
  UNFOLLOWED,
  withBed,
  wordsOfThread,
} from "./discard-bed.js";
import { BEGUN, buildLibrary, COMPUTE, DECLARATIONS, DONE, ENDED, FAILED, needsCompiler } from "./native.js";

/** Discards again and again, by a native thread or by a worker of Node's; resolves when it has ended. */
type Storm = (t: TestContext, memory: Uint8Array, words: Int32Array, count: number) => Promise<void>;

function byNativeThread(how: number): Storm {
  return async (t, memory, words, count) => {
    const address = Number(koffi.address(new Uint8Array(words.buffer)));
    const start = koffi.load(buildLibrary(t)).func(DECLARATIONS.start);
    assert.equal(start(addressOf(memory), memory.byteLength, count, 4000, how, address), 0);
    await until("the end of the storm", () => Atomics.load(words, DONE) === 1);
    assert.equal(Atomics.load(words, FAILED), 0);
  };
}

const WORKER = `
  const koffi = require("koffi");
  const { workerData: { at, bytes, words, count } } = require("node:worker_threads");
  const madvise = koffi.load(null).func("int madvise(uintptr_t at, size_t bytes, int advice)");
  for (let i = 0; i < count; i++) {
    Atomics.add(words, ${BEGUN}, 1);
    if (madvise(at, bytes, ${DONTNEED}) !== 0) throw new Error("madvise");
    Atomics.add(words, ${ENDED}, 1);
    Atomics.wait(words, 15, 0, i % 5);
  }
`;

const byWorker: Storm = async (t, memory, words, count) => {
  const workerData = { at: addressOf(memory), bytes: memory.byteLength, words, count };
  const worker = new Worker(WORKER, { eval: true, workerData });
  t.after(() => worker.terminate());
  const [code] = await once(worker, "exit");
  assert.equal(code, 0);
};

const STORMS: Record<string, { storm: Storm; skip?: string | false }> = {
  "madvise(MADV_DONTNEED) by a native thread": { storm: byNativeThread(0), skip: needsCompiler },
  "madvise(MADV_DONTNEED) by a worker": { storm: byWorker },
  "process_madvise(MADV_DONTNEED) by a native thread": { storm: byNativeThread(2), skip: needsCompiler },
};

for (const [name, { storm, skip = false }] of Object.entries(STORMS)) {
  const run = async (t: TestContext, bed: Bed): Promise<Seen> => {
    const all = { quiet: 0, stale: 0 };
    // A machine that is busy runs few reads beside one storm.
    while (all.quiet <= 50) {
      const { words } = wordsOfThread();
      let over = false;
      const discarding = storm(t, bed.memory, words, 300).finally(() => {
        over = true;
      });
      const [seen] = await Promise.all([load(bed, words, () => !over), discarding]);
      all.quiet += seen.quiet;
      all.stale += seen.stale;
    }
    return all;
  };

  test(`${name} under reads: later reads arrive (NO_STALE_IO)`, { skip }, (t) =>
    withBed(t, FOLLOWED, async (bed) => {
      const { stale, quiet } = await run(t, bed);
      assert.equal(stale, 0, `of ${quiet} reads`);
      const { invalidations } = bed.engine.stats();
      // The others came while this thread was busy, or had no processor.
      assert.ok(invalidations.CLEAR > 0);
    }),
  );

  test(`${name} under reads, not followed: later reads are lost (control)`, { skip }, (t) =>
    withBed(t, UNFOLLOWED, async (bed) => {
      const { stale } = await run(t, bed);
      assert.ok(stale > 0);
    }),
  );
}

test(
  "madvise by a native thread while the event loop is blocked: it goes on, and what is read after it arrives",
  {
    skip: needsCompiler,
  },
  (t) =>
    withBed(t, FOLLOWED, async ({ engine, file, memory }) => {
      const start = koffi.load(buildLibrary(t)).func(DECLARATIONS.start);
      for (let round = 0; round < 20; round++) {
        const { words, address } = wordsOfThread();
        const reads = readBlocks(engine, file, memory, round);
        for (let turns = 0; turns < 3; turns++) await Promise.resolve();
        const before = reads.answered();
        assert.equal(start(addressOf(memory), memory.byteLength, 1, 0, 0, address), 0);
        // Nothing of the engine's own runs until the discard is over.
        const begin = performance.now();
        while (Atomics.load(words, DONE) === 0)
          assert.ok(performance.now() - begin < 60_000, "the caller's madvise never returned");
        assert.deepEqual(await reads.wrong(before), [], `round ${round}`);
      }
      const { invalidations } = engine.stats();
      assert.equal(invalidations.CLEAR, 0, "the engine drained, so its thread wasn't blocked");
    }),
);

test(
  "Two native threads discard the same memory, and two engines are read into: nothing is lost, everything ends",
  {
    skip: needsCompiler,
  },
  (t) =>
    withBed(t, FOLLOWED, async (one) => {
      await withBed(t, FOLLOWED, async (other) => {
        const start = koffi.load(buildLibrary(t)).func(DECLARATIONS.start);
        const { words, address } = wordsOfThread();
        for (const { memory } of [one, one, other])
          assert.equal(start(addressOf(memory), memory.byteLength, 300, 500, 0, address), 0);
        const goOn = (): boolean => Atomics.load(words, DONE) < 3;
        const seen = await Promise.all([load(one, words, goOn), load(other, words, goOn)]);
        assert.deepEqual(
          seen.map(({ stale }) => stale),
          [0, 0],
        );
      });
    }),
);

test(
  "A native thread that discards in a tight loop doesn't keep reads out for ever (BOUNDED_HOLD)",
  {
    skip: needsCompiler,
  },
  (t) =>
    withBed(t, FOLLOWED, async ({ file, memory }) => {
      const start = koffi.load(buildLibrary(t)).func(DECLARATIONS.start);
      const { words, address } = wordsOfThread();
      assert.equal(start(addressOf(memory), memory.byteLength, 2000, 0, 0, address), 0);
      let reads = 0;
      for (; Atomics.load(words, DONE) === 0; reads++) {
        await Promise.all(
          [0, 1].map((i) => file.read(memory.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), { position: 0 })),
        );
      }
      assert.ok(reads > 100, `${reads} reads went beside 2,000 discards`);
    }),
);

test(
  "A thread that discards and then computes, without another system call, doesn't keep reads out",
  {
    skip: needsCompiler,
  },
  (t) =>
    withBed(t, FOLLOWED, async ({ engine, file, memory }) => {
      const start = koffi.load(buildLibrary(t)).func(DECLARATIONS.start);
      const { words, address } = wordsOfThread();
      Atomics.store(words, COMPUTE, 1);
      try {
        assert.equal(start(addressOf(memory), memory.byteLength, 1, 0, 0, address), 0);
        await until("the discard", () => Atomics.load(words, ENDED) === 1);
        const buffer = memory.subarray(0, BLOCK_BYTES);
        let read = false;
        const reading = file.read(buffer, { position: 0 }).then(() => {
          read = true;
        });
        await until("a read", () => read);
        assert.equal(Atomics.load(words, DONE), 0);
        assert.equal(wrongBlocks(buffer, 0), null);
        await reading;
      } finally {
        Atomics.store(words, COMPUTE, 0);
      }
      // Drained for; or only announced, where our own thread had no processor to answer on.
      assert.ok(engine.stats().invalidations.CLEAR <= 1);
      await until("the end of the thread", () => Atomics.load(words, DONE) === 1);
    }),
);

test(
  "Writes under discards by a native thread: each page of the file is the memory's, or zeros, and never another's",
  {
    skip: needsCompiler,
  },
  (t) =>
    withBed(t, FOLLOWED, async ({ file, memory }) => {
      const start = koffi.load(buildLibrary(t)).func(DECLARATIONS.start);
      const { words, address } = wordsOfThread();
      const PAGES = 16;
      assert.equal(start(addressOf(memory), memory.byteLength, 400, 1000, 0, address), 0);
      const fd = openSync(`/proc/self/fd/${file.fd}`, "r");
      let whole = 0;
      const writer = async (location: number): Promise<void> => {
        const buffer = memory.subarray(location * PAGES * BLOCK_BYTES, (location + 1) * PAGES * BLOCK_BYTES);
        const onDisk = new Uint8Array(BLOCK_BYTES);
        for (let version = 1; Atomics.load(words, DONE) === 0; version = (version % 250) + 1) {
          buffer.fill(version);
          const position = location * PAGES * BLOCK_BYTES;
          assert.equal((await file.write(buffer, { position })).bytesWritten, buffer.byteLength);
          for (let page = 0; page < PAGES; page++) {
            readSync(fd, onDisk, 0, BLOCK_BYTES, position + page * BLOCK_BYTES);
            // A page that is discarded while it's filled keeps what was filled after that.
            const kept = onDisk.indexOf(version);
            const rest = kept < 0 ? onDisk : onDisk.subarray(0, kept);
            assert.ok(isFilledWith(rest, 0), `version ${version}: page ${page} begins with ${onDisk[0]}`);
            if (kept >= 0) assert.ok(isFilledWith(onDisk.subarray(kept), version), `version ${version}, page ${page}`);
            if (kept === 0) whole++;
          }
        }
      };
      try {
        await Promise.all([0, 1, 2, 3].map(writer));
      } finally {
        closeSync(fd);
      }
      assert.ok(whole > 100);
    }),
);

test(
  "A change that is announced by engine.notifier and made by another thread doesn't wait",
  {
    skip: needsCompiler,
  },
  (t) =>
    withBed(t, FOLLOWED, async ({ engine, file, memory }) => {
      const start = koffi.load(buildLibrary(t)).func(DECLARATIONS.start);
      const at = addressOf(memory);
      for (let round = 0; round < 20; round++) {
        const { words, address } = wordsOfThread();
        const buffer = memory.subarray(0, BLOCK_BYTES);
        for (let i = 0; i < 3; i++) await file.read(buffer, { position: 0 });
        let ready = (): void => {};
        const begun = new Promise<void>((resolve) => {
          ready = resolve;
        });
        const range = { start: at, end: at + memory.byteLength };
        const invalidation = engine.notifier.invalidateRangeStart(range, "CLEAR", { ready });
        await begun;
        assert.equal(start(at, memory.byteLength, 1, 0, 0, address), 0);
        const read = file.read(buffer, { position: BLOCK_BYTES });
        await until("the discard", () => Atomics.load(words, DONE) === 1);
        engine.notifier.invalidateRangeEnd(invalidation);
        await read;
        assert.equal(wrongBlocks(buffer, 1), null);
      }
      // The monitor made no second invalidation of it.
      assert.equal(engine.stats().invalidations.CLEAR, 0);
    }),
);
