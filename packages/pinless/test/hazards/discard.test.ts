// Other code of the process throws away pages of an arena: a read that begins after that must arrive all the same.
import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, openSync, readSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import koffi from "koffi";
import { type Arena, Engine, type EngineOptions, type File } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { figure, isColumn } from "../support/figure.js";
import { addressOf } from "../support/proc.js";
import { Random } from "../support/random.js";
import { scratchDirectory } from "../support/undo.js";
import { until } from "../support/until.js";
import { BEGUN, buildLibrary, COMPUTE, DECLARATIONS, DONE, ENDED, FAILED, needsCompiler } from "./native.js";
import { WAYS } from "./ways.js";

const MIB = 1 << 20;
const BLOCKS = 256;
const DONTNEED = 4;
const FOLLOWED: EngineOptions = {};
/** Options of the control: without the monitor the harm shows. */
const UNFOLLOWED: EngineOptions = { events: { userfaultfd: false } };

const madvise = koffi.load(null).func("int madvise(uintptr_t at, size_t bytes, int advice)");

interface Bed {
  readonly engine: Engine;
  readonly arena: Arena;
  readonly file: File;
  readonly memory: Uint8Array;
}

async function withBed(t: TestContext, options: EngineOptions, body: (bed: Bed) => Promise<void>): Promise<void> {
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
interface Seen {
  quiet: number;
  stale: number;
}

/**
 * Reads blocks into random places while `goOn` says so. `discards`: those of the other code that have begun and ended.
 */
async function load({ file, memory }: Bed, discards: Int32Array, goOn: () => boolean): Promise<Seen> {
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

function wordsOfThread(): { words: Int32Array; address: number } {
  const words = new Int32Array(new SharedArrayBuffer(64));
  return { words, address: Number(koffi.address(new Uint8Array(words.buffer))) };
}

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
    const { words } = wordsOfThread();
    let over = false;
    const discarding = storm(t, bed.memory, words, 300).finally(() => {
      over = true;
    });
    const [seen] = await Promise.all([load(bed, words, () => !over), discarding]);
    assert.ok(seen.quiet > 50, `only ${seen.quiet} reads were undisturbed`);
    return seen;
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

/** Sixteen reads into the first pages of `memory`. A fast device may answer some before the program's next line. */
function readBlocks(engine: Engine, file: File, memory: Uint8Array, from: number) {
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
          assert.ok(performance.now() - begin < 60_000, "the caller was never let go");
        assert.deepEqual(await reads.wrong(before), [], `round ${round}`);
      }
      const { invalidations } = engine.stats();
      assert.equal(invalidations.CLEAR, 0, "somebody drained after all: this shows nothing");
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

test(
  "Whoever announces a change by engine.notifier and makes it from another thread isn't kept waiting",
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
      // Nothing of it was made an invalidation of its own.
      assert.equal(engine.stats().invalidations.CLEAR, 0);
    }),
);
