// An arena's memory as the kernel reports it.
import assert from "node:assert/strict";
import { closeSync, constants, open as openFd, openSync, writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { type Arena, type ArenaOptions, Engine, type EngineOptions, probe } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { needsRoot, swap } from "../support/disks.js";
import { addressOf, mappings, mappingsOf, smapsBytes } from "../support/proc.js";
import { Random } from "../support/random.js";
import { rounds } from "../support/rounds.js";
import { namedPipe, scratchDirectory, undoing } from "../support/undo.js";

const MIB = 1 << 20;
const { hugePages, swapActive } = await probe();
const needsHugePages = hugePages === null || hugePages === "never" ? "machine: no transparent huge pages" : false;

/** An engine and an arena, all of whose memory is `memory`. */
async function withMemory(
  options: EngineOptions,
  arenaOptions: ArenaOptions,
  body: (engine: Engine, arena: Arena, memory: Uint8Array, range: [number, number]) => Promise<void>,
): Promise<void> {
  // Paging out and in is what makes memory short.
  const engine = await Engine.open({ events: { pressure: false }, ...options });
  try {
    const arena = await engine.arena(arenaOptions);
    const memory = arena.alloc(arena.bytes);
    const address = addressOf(memory);
    await body(engine, arena, memory, [address, address + memory.byteLength]);
  } finally {
    await engine.close();
  }
}

test("Engine.arena isn't inherited by children, unless asked for", async () => {
  for (const inherit of [false, true]) {
    await withMemory({}, { bytes: 4 * MIB, inherit }, async (_engine, arena, _memory, [start, end]) => {
      await arena.grow(2 * MIB);
      const second = addressOf(arena.alloc(2 * MIB));
      for (const mapping of [...mappingsOf(start, end), ...mappingsOf(second, second + 2 * MIB)]) {
        const flags = mapping.get("VmFlags")!.split(" ");
        assert.equal(flags.includes("dc"), !inherit, mapping.get("Range"));
      }
    });
  }
});

test("Engine.arena is present when it's made, and in huge pages", { skip: needsHugePages }, () =>
  withMemory({}, { bytes: 8 * MIB }, async (_engine, _arena, _memory, [start, end]) => {
    assert.equal(smapsBytes("Rss", start, end), 8 * MIB);
    assert.equal(smapsBytes("AnonHugePages", start, end), 8 * MIB);
  }),
);

test("Arena.collapse makes huge pages of small ones, and says how many", { skip: needsHugePages }, () =>
  withMemory({}, { bytes: 8 * MIB, hugePages: false }, async (engine, arena, memory, [start, end]) => {
    assert.equal(smapsBytes("AnonHugePages", start, end), 0);
    for (let page = 0; page < memory.byteLength / 4096; page++) memory[page * 4096] = page;
    const report = await arena.collapse(memory.subarray(3 * MIB, 3 * MIB + 1));
    assert.deepEqual([report.event, report.pages, report.done, report.busy], ["MIGRATE", 512, 512, 0]);
    assert.equal(smapsBytes("AnonHugePages", start, end), 2 * MIB);
    const all = await arena.collapse();
    assert.deepEqual([all.pages, all.done, all.busy], [2048, 2048, 0]);
    assert.equal(smapsBytes("AnonHugePages", start, end), 8 * MIB);
    for (let page = 0; page < memory.byteLength / 4096; page++) assert.equal(memory[page * 4096], page & 255);
    assert.equal(engine.stats().invalidations.MIGRATE, 2);
  }),
);

test("Arena.discard frees the pages; lazily, when the kernel needs them", () =>
  withMemory({}, { bytes: 8 * MIB }, async (_engine, arena, memory, [start, end]) => {
    memory.fill(1);
    assert.equal(smapsBytes("Rss", start, end), 8 * MIB);
    await arena.discard(memory.subarray(2 * MIB, 4 * MIB));
    assert.equal(smapsBytes("Rss", start, end), 6 * MIB);
    assert.equal(smapsBytes("LazyFree", start, end), 0);
    await arena.discard(memory.subarray(4 * MIB, 6 * MIB), { lazily: true });
    assert.equal(smapsBytes("LazyFree", start, end), 2 * MIB);
    await arena.close();
    assert.equal(smapsBytes("Rss", start, end), 0);
    assert.ok(isFilledWith(memory, 0));
  }));

test("Arena.pageOut rejects without swap", { skip: swapActive ? "machine: swap is on" : false }, () =>
  withMemory({}, { bytes: 2 * MIB }, async (engine, arena, memory) => {
    for (const range of [undefined, memory.subarray(0, 1)]) {
      const code = await arena.pageOut(range).then(
        () => "paged out",
        (error) => error.code,
      );
      // Swap may have been switched on meanwhile.
      if (!(await probe()).swapActive) assert.equal(code, "ERR_PINLESS_NO_SWAP");
    }
    assert.equal(engine.notifier.inProgress, 0);
  }),
);

test("Arena.pageOut sends pages to swap, and their content comes back", { skip: needsRoot }, (t) =>
  withMemory({ lease: { chunk: 65536 } }, { bytes: 8 * MIB }, async (engine, arena, memory, [start, end]) => {
    swap(t, 64 * MIB);
    memory.set(numberedBlocks(2048));
    const report = await arena.pageOut(memory.subarray(2 * MIB, 4 * MIB));
    assert.equal(report.event, "CLEAR");
    assert.equal(report.pages, 512);
    assert.equal(report.done + report.busy, 512);
    assert.ok(report.done >= 500, `${report.done} of 512 pages left`);
    // What the cache of swap still holds counts as swapped out all the same.
    assert.equal(smapsBytes("Swap", start, end), report.done * 4096);
    const all = await arena.pageOut();
    assert.equal(all.pages, 2048);
    assert.ok(smapsBytes("Swap", start, end) >= 2000 * 4096);
    assert.equal(wrongBlocks(memory, 0), null);
    assert.equal(engine.stats().invalidations.CLEAR, 2);
  }),
);

test("Arena: the number of mappings stays the same over thousands of leases and discards", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(64));
  const options = { depth: 32, lease: { chunk: 65536, idle: 1000, max: 2, budget: 4 * MIB } };
  await withMemory(options, { bytes: 8 * MIB }, async (engine, arena, memory) => {
    const file = await engine.openFile(name);
    const random = new Random(3);
    const chunks = memory.byteLength / 65536;
    // Two reads take a lease; its clock, the budget and discards end it.
    const worker = async (until: number): Promise<void> => {
      while (engine.stats().leases.taken < until) {
        const chunk = memory.subarray(65536 * random.below(chunks)).subarray(0, 65536);
        const block = random.below(64);
        const part = chunk.subarray(BLOCK_BYTES * random.below(16)).subarray(0, BLOCK_BYTES);
        for (let use = 0; use < 4; use++) await file.read(part, { position: block * BLOCK_BYTES });
        if (random.below(4) === 0) await arena.discard(part);
      }
    };
    const run = (until: number): Promise<unknown> => Promise.all(Array.from({ length: 16 }, () => worker(until)));
    await run(500);
    const before = mappings();
    const range = addressOf(memory);
    const own = mappingsOf(range, range + memory.byteLength).length;
    const most = rounds(2500, 6000);
    await run(most);
    const { taken, dropped } = engine.stats().leases;
    assert.ok(taken >= most && dropped > most / 2, `${taken} leases taken, ${dropped} dropped`);
    assert.equal(mappingsOf(range, range + memory.byteLength).length, own);
    // Threads and the heap take some of their own.
    assert.ok(mappings() < before + 500, `${before} mappings have become ${mappings()}`);
  });
});

/** Blocks every thread of libuv's pool, until the function that it returns is called or the test ends. */
function blockPool(t: TestContext): () => void {
  const pipe = namedPipe(t);
  // Newer Nodes have a thread for each core.
  let blocked = Number(process.env.UV_THREADPOOL_SIZE ?? Math.max(4, availableParallelism()));
  let writer = -1;
  const unblock = (): void => {
    if (blocked > 0 && writer < 0) writer = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  };
  for (let i = blocked; i > 0; i--) {
    // Opening a pipe waits for its other end, which stays until the last of them has met it.
    openFd(pipe, "r", (error, fd) => {
      if (error === null) closeSync(fd);
      if (--blocked === 0) closeSync(writer);
    });
  }
  undoing(t, unblock);
  return unblock;
}

test("Arena operations and I/O go on while libuv's thread pool is blocked", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(4));
  await withMemory({}, { bytes: 4 * MIB }, async (engine, arena, memory) => {
    const file = await engine.openFile(name);
    const unblock = blockPool(t);
    let poolAnswered = false;
    const answer = stat(name).then(() => {
      poolAnswered = true;
    });
    try {
      assert.equal((await arena.discard()).busy, 0);
      assert.equal((await arena.collapse()).event, "MIGRATE");
      await arena.grow(2 * MIB);
      const other = await engine.arena({ bytes: 2 * MIB });
      await file.read(memory.subarray(0, BLOCK_BYTES), { position: BLOCK_BYTES });
      await file.read(Buffer.alloc(100), { position: 1 });
      assert.equal(wrongBlocks(memory.subarray(0, BLOCK_BYTES), 1), null);
      await other.close();
      assert.equal(poolAnswered, false, "the pool wasn't blocked: this has shown nothing");
    } finally {
      unblock();
      await answer;
    }
  });
});
