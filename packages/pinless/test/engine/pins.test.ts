// Times and numbers of pinned pages, by the kernel's own counter.
import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, constants, openSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import { type Arena, Engine, type EngineOptions, type File, probe } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { pinnedBytes } from "../support/proc.js";
import { Random } from "../support/random.js";
import { rounds } from "../support/rounds.js";
import { namedPipe, scratchDirectory } from "../support/undo.js";
import { until } from "../support/until.js";

const MIB = 1 << 20;
const BLOCKS = 512;
/** All of the arena is leased: the default budget is half of RLIMIT_MEMLOCK, and ordinary users have 8 MiB. */
const ARENA_BYTES = (await probe()).memlockBytes >= 32 * MIB ? 16 * MIB : 4 * MIB;

interface Bed {
  readonly engine: Engine;
  readonly arena: Arena;
  readonly file: File;
  /** VmPin before the engine was there. */
  readonly before: number;
}

async function withBed(t: TestContext, options: EngineOptions, body: (bed: Bed) => Promise<void>): Promise<void> {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(BLOCKS));
  const before = pinnedBytes();
  // What else runs here may make memory short; leases then go for that.
  const engine = await Engine.open({ depth: 32, events: { pressure: false }, ...options });
  try {
    await body({
      engine,
      before,
      arena: await engine.arena({ bytes: ARENA_BYTES }),
      file: await engine.openFile(name),
    });
  } finally {
    await engine.close();
  }
  assert.equal(pinnedBytes(), before, "pins were left behind by close()");
}

/** Reads random blocks into every chunk of the arena until each has a lease, or as long as `goOn` says. */
async function load({ engine, arena, file }: Bed, memory: Uint8Array, goOn?: () => boolean): Promise<void> {
  const random = new Random(1);
  const chunk = 2 * MIB;
  const locations = memory.byteLength / chunk;
  const worker = async (location: number): Promise<void> => {
    const buffer = memory.subarray(location * chunk, location * chunk + BLOCK_BYTES);
    // Every chunk by itself: one disk may serve some of them far more often than others.
    for (let rounds = 0; goOn === undefined ? rounds < 3 : goOn(); rounds++) {
      const block = random.below(BLOCKS);
      await file.read(buffer, { position: block * BLOCK_BYTES });
      assert.equal(wrongBlocks(buffer, block), null);
    }
  };
  assert.equal(engine.stats().pin, engine.pin);
  assert.ok(arena.bytes >= memory.byteLength);
  await Promise.all(Array.from({ length: locations }, (_, location) => worker(location)));
}

test("Engine with leases: nothing is pinned soon after the last request (NO_IDLE_PIN)", (t) =>
  withBed(t, { lease: { max: 3_600_000 } }, async (bed) => {
    const memory = bed.arena.alloc(ARENA_BYTES);
    for (let round = 0; round < 3; round++) {
      // On a busy machine leases may end again before the test looks.
      await until("something is pinned", async () => {
        await load(bed, memory);
        return pinnedBytes() > bed.before;
      });
      await until("VmPin back to what it was", () => pinnedBytes() === bed.before);
      await until("no live lease", () => bed.engine.stats().leases.live === 0);
      assert.equal(bed.engine.stats().leases.bytes, 0);
    }
    assert.equal((await probe()).pinnedBytes, bed.before);
  }));

test("Engine with leases: a pin that the program holds itself stays (control)", (t) =>
  withBed(t, { pin: "lifetime" }, async (bed) => {
    await load(bed, bed.arena.alloc(2 * MIB));
    assert.ok(pinnedBytes() >= bed.before + ARENA_BYTES);
    // As long as leases would have needed to go, twice over; here nothing may happen.
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.ok(pinnedBytes() >= bed.before + ARENA_BYTES);
  }));

/** Watches VmPin from another thread: word 0 of `flags` is set once it has come down to `floor`. */
const WATCHER = `
  const { readFileSync } = require("node:fs");
  const { workerData: { flags, floor }, parentPort } = require("node:worker_threads");
  parentPort.postMessage("watching");
  const pinned = () => 1024 * Number(/^VmPin:\\s*(\\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))[1]);
  while (Atomics.load(flags, 1) === 0) {
    if (pinned() <= floor) Atomics.store(flags, 0, 1);
    Atomics.wait(flags, 1, 0, 1);
  }
`;

for (const when of [
  "at rest",
  "with requests in the kernel",
  "with requests accepted and not yet submitted",
] as const) {
  test(`Engine with leases: pins go while the event loop is blocked, ${when}`, (t) =>
    // So long that the leases are still there when this thread has waited for a core.
    withBed(t, { lease: { idle: 1000, max: 3_600_000 } }, async (bed) => {
      const { arena, file, engine, before } = bed;
      const memory = arena.alloc(ARENA_BYTES);
      const flags = new Int32Array(new SharedArrayBuffer(8));
      const watcher = new Worker(WATCHER, { eval: true, workerData: { flags, floor: before } });
      // Also when an assertion fails: it would run for ever.
      t.after(() => watcher.terminate());
      await once(watcher, "message");
      await load(bed, memory);
      let done = 0;
      const wrong: string[] = [];
      if (when !== "at rest") {
        for (let i = 0; i < 8; i++) {
          const buffer = memory.subarray(i * 2 * MIB, i * 2 * MIB + BLOCK_BYTES).fill(0);
          const answer = file.submit("read", buffer, i * BLOCK_BYTES, (errno) => {
            done++;
            const difference = errno === 0 ? wrongBlocks(buffer, i) : `errno ${errno}`;
            if (difference !== null) wrong.push(difference);
          });
          assert.equal(answer, "queued");
        }
        if (when === "with requests in the kernel") for (let i = 0; i < 3; i++) await Promise.resolve();
      }
      // A fast device has answered by now what was submitted, and that's as good: the leases are taken either way.
      if (when !== "with requests in the kernel") assert.equal(done, 0);
      assert.ok(pinnedBytes() > before);
      Atomics.store(flags, 0, 0);
      const begin = performance.now();
      // Nothing of the engine's own runs from here on: only the monitor can give the leases back.
      while (Atomics.load(flags, 0) === 0 && performance.now() - begin < 60_000);
      const blockedMs = performance.now() - begin;
      Atomics.store(flags, 1, 1);
      const unpinned = Atomics.load(flags, 0) === 1;
      await once(watcher, "exit");
      assert.ok(unpinned, `pages were pinned for ${blockedMs} ms of a blocked event loop`);
      await file.close();
      assert.deepEqual([done, wrong], [when === "at rest" ? 0 : 8, []]);
      await until("the engine to count the leases that the monitor gave back", () => engine.stats().leases.live === 0);
    }));
}

test("Engine with leases: no lease lives longer than max, however constant the load (BOUNDED_RESIDENCY)", (t) =>
  withBed(t, { lease: { max: 100, idle: 3_600_000 } }, async (bed) => {
    const memory = bed.arena.alloc(ARENA_BYTES / 2);
    // Nothing but `max` ends a lease here, so the load goes on for ever where that doesn't.
    await load(bed, memory, () => bed.engine.stats().leases.dropped < 12);
    const { residencyMax, taken } = bed.engine.stats().leases;
    assert.ok(taken >= 12);
    assert.ok(residencyMax >= 100, `a lease was given back after ${residencyMax} ms at most: by another clock`);
  }));

test("Engine.releasePins gives every lease back, at rest and under load, and I/O goes on", (t) =>
  withBed(t, { lease: { idle: 3_600_000, max: 3_600_000 } }, async (bed) => {
    const { engine, before } = bed;
    const memory = bed.arena.alloc(ARENA_BYTES);
    await load(bed, memory);
    assert.equal(engine.stats().leases.live, ARENA_BYTES / (2 * MIB));
    assert.equal(pinnedBytes(), before + ARENA_BYTES);
    await engine.releasePins();
    assert.equal(engine.stats().leases.live, 0);
    assert.equal(pinnedBytes(), before);
    let running = true;
    const loading = load(bed, memory, () => running);
    await until("leases are given back under load", async () => {
      await engine.releasePins();
      return engine.stats().leases.dropped > 50;
    });
    running = false;
    await loading;
    await engine.releasePins();
    assert.equal(pinnedBytes(), before);
  }));

test("Engine.releasePins ends lifetime registrations for good, and I/O goes on", (t) =>
  withBed(t, { pin: "lifetime" }, async (bed) => {
    const memory = bed.arena.alloc(ARENA_BYTES);
    await load(bed, memory);
    assert.equal(bed.engine.stats().perIo, 0);
    assert.ok(pinnedBytes() >= bed.before + ARENA_BYTES);
    await bed.engine.releasePins();
    await until("VmPin back to what it was", () => pinnedBytes() === bed.before);
    await load(bed, memory);
    assert.ok(bed.engine.stats().perIo > 0);
    assert.equal(pinnedBytes(), bed.before);
  }));

test("Engine with pin per-io never pins at rest", (t) =>
  withBed(t, { pin: "per-io" }, async (bed) => {
    await load(bed, bed.arena.alloc(ARENA_BYTES));
    assert.equal(pinnedBytes(), bed.before);
    const { submitted, perIo, leases } = bed.engine.stats();
    assert.deepEqual([perIo, leases.taken], [submitted, 0]);
  }));

// A part of a huge page pins all of it: a small chunk costs as much as a large one there.
for (const [pages, chunk, budget] of [
  ["small", 65536, 2 * 65536],
  ["small", 2 * MIB, 4 * MIB],
  ["huge", 65536, 4 * MIB],
  ["huge", 2 * MIB, 4 * MIB],
] as const) {
  const KIB = 1024;
  test(`Engine with leases of ${chunk / KIB} KiB in ${pages} pages never exceeds a budget of two (BUDGET)`, (t) =>
    withBed(t, { lease: { chunk, budget } }, async ({ engine, file, before }) => {
      const arena = await engine.arena({ bytes: 16 * MIB, hugePages: pages === "huge" });
      const memory = arena.alloc(16 * MIB);
      const random = new Random(chunk);
      let uses = 0;
      const allUses = rounds(20, 60);
      let most = 0;
      const worker = async (): Promise<void> => {
        while (++uses < allUses) {
          const at = random.below(memory.byteLength / chunk) * chunk;
          const buffer = memory.subarray(at, at + BLOCK_BYTES);
          // Beyond the budget a lease is another's once it would have paid for itself: some chunks are used for long
          // enough.
          for (let use = 1 + random.below(400); use > 0; use--) {
            await file.read(buffer, { position: random.below(BLOCKS) * BLOCK_BYTES });
            const { bytes } = engine.stats().leases;
            assert.ok(bytes <= budget, `${bytes} bytes are leased, of a budget of ${budget}`);
            if (use % 3 === 0) most = Math.max(most, pinnedBytes() - before);
          }
        }
      };
      await Promise.all(Array.from({ length: 4 }, worker));
      assert.ok(engine.stats().leases.taken >= 3, "hardly a lease was taken");
      assert.ok(most > 0 && most <= budget, `${most} bytes were pinned with a budget of ${budget}`);
    }));
}

test("Engine with leases: a read of a pipe that waits for data pins nothing and delays no other call", async (t) => {
  const pipe = namedPipe(t);
  await withBed(t, {}, async ({ engine, arena, file, before }) => {
    const writer = openSync(pipe, constants.O_RDWR);
    try {
      const reader = await engine.openFile(pipe);
      const memory = arena.alloc(4 * BLOCK_BYTES);
      const [first, second] = [memory.subarray(BLOCK_BYTES, BLOCK_BYTES + 9), memory.subarray(2 * BLOCK_BYTES)];
      // The chunk has a lease when the pipe's reads begin.
      for (let i = 0; i < 3; i++) await file.read(memory.subarray(0, BLOCK_BYTES), { position: 0 });
      // Three at once, so that what they wait in is used more than once.
      const others = [1, 2].map(() => reader.read(Buffer.alloc(9)));
      const reads = [reader.read(first), reader.read(second)];
      await until("VmPin back to what it was", () => pinnedBytes() === before);
      await arena.discard();
      await arena.collapse();
      await engine.releasePins();
      for (let i = 0; i < 3; i++) writeSync(writer, "something");
      for (const read of [reads[0]!, ...others]) assert.equal((await read).bytesRead, 9);
      assert.equal(Buffer.from(first).toString(), "something");
      // Whatever comes later must not get into memory that is gone.
      const refused = assert.rejects(reads[1]!, { code: "EFAULT" });
      await arena.close();
      writeSync(writer, "something else");
      await refused;
      assert.ok(isFilledWith(memory, 0));
    } finally {
      closeSync(writer);
    }
  });
});
