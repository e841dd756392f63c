// DEVICE_WRITES_DIRTY: what a device wrote into memory survives its reclaim. The control is leases that populate
// nothing after a registration. (Swap is a file: zram, which has no writeback, keeps what clean pages lose.)
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { type Arena, Engine, type EngineOptions } from "../../dist/index.js";
import { RegisteredBuffers } from "../../dist/schemes/io-uring/registered-buffers.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { needsRoot, swap } from "../support/disks.js";
import { figure, isColumn } from "../support/figure.js";
import { addressOf, smapsBytes } from "../support/proc.js";
import { Random } from "../support/random.js";
import { type Squeezer, squeezer } from "../support/squeeze.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

const MIB = 1 << 20;
const BLOCKS = 1024;
const BYTES = BLOCKS * BLOCK_BYTES;

interface Way {
  readonly options: EngineOptions;
  readonly populate?: false;
  /** Loses what the device wrote: a control. */
  readonly harmed?: true;
  /** Leaves out this way of making pages clean. */
  readonly without?: string;
}

const WAYS: Record<string, Way> = {
  lease: { options: { scheme: "io_uring", pin: "lease" } },
  "per-io": { options: { scheme: "io_uring", pin: "per-io" } },
  aio: { options: { scheme: "aio" } },
  direct: { options: { scheme: "direct" } },
  // Memory that is registered for life can't be swapped out to begin with.
  lifetime: { options: { scheme: "io_uring", pin: "lifetime" }, harmed: true, without: "swapped in by loads" },
  "lease, nothing populated": { options: { scheme: "io_uring", pin: "lease" }, populate: false, harmed: true },
};

/** Leases whose pages aren't populated for writing: the control. */
function populateNothing(t: TestContext): void {
  const { populate } = RegisteredBuffers.prototype;
  undoing(t, () => {
    RegisteredBuffers.prototype.populate = populate;
  });
  RegisteredBuffers.prototype.populate = () => 0;
}

type Step = (arena: Arena, memory: Uint8Array) => Promise<void>;

/** Way to reclaim memory. */
interface Reclaimer {
  /** Before the memory is made. */
  enter?(): void;
  leave?(): void;
  readonly reclaim: Step;
}

function residentBytes(memory: Uint8Array): number {
  const start = addressOf(memory);
  return smapsBytes("Rss", start, start + memory.byteLength);
}

const byCall: Reclaimer = {
  reclaim: async (arena, memory) => {
    await arena.pageOut(memory);
  },
};

function byLimit(cgroup: Squeezer): Reclaimer {
  return {
    ...cgroup,
    async reclaim(_arena, memory) {
      // What else is charged there may go first.
      await until("the limit to take the memory", async () => {
        await cgroup.squeeze(2 * MIB);
        return residentBytes(memory) < memory.byteLength / 4;
      });
    },
  };
}

/** Makes every page clean that the device will write. */
const CLEANERS: Record<string, Step> = {
  "lazily discarded": async (arena, memory) => {
    await arena.discard(memory, { lazily: true });
  },
  "swapped in by loads": async (arena, memory) => {
    await arena.pageOut(memory);
    let sum = 0;
    for (let at = 0; at < memory.byteLength; at += BLOCK_BYTES) sum += memory[at]!;
    assert.ok(sum >= 0);
  },
};

/**
 * Reads the file into clean memory, gives all pins back and has the memory reclaimed. Returns the number of wrong
 * blocks.
 */
async function lostBlocks(options: EngineOptions, file: string, clean: Step, by: Reclaimer): Promise<number> {
  const engine = await Engine.open({
    ...options,
    depth: 32,
    lease: { idle: 60_000, max: 60_000 },
    events: { pressure: false },
  });
  try {
    // The engine's threads have touched their memory before.
    await engine.arena({ bytes: 1 });
    by.enter?.();
    const arena = await engine.arena({ bytes: BYTES, hugePages: false });
    const memory = arena.alloc(BYTES);
    const source = await engine.openFile(file);
    memory.fill(0x11);
    // Chunks that were just used take their next lease at once: every block below goes by one.
    for (let round = 0; round < 2; round++)
      for (let at = 0; at < memory.byteLength; at += 2 * MIB)
        await source.read(memory.subarray(at, at + BLOCK_BYTES), { position: 0 });
    await clean(arena, memory);
    const before = engine.stats().perIo;
    await Promise.all(
      Array.from({ length: BLOCKS }, (_, block) => {
        const at = block * BLOCK_BYTES;
        return source.read(memory.subarray(at, at + BLOCK_BYTES), { position: at });
      }),
    );
    const perIo = engine.stats().perIo - before;
    if (engine.pin === "per-io") assert.equal(perIo, BLOCKS);
    else assert.equal(perIo, 0, "some went per-io: this would show nothing");
    await engine.releasePins();
    await by.reclaim(arena, memory);
    const left = residentBytes(memory);
    assert.ok(left < BYTES / 2, `${left} of ${BYTES} bytes weren't reclaimed: this would show nothing`);
    let lost = 0;
    for (let block = 0; block < BLOCKS; block++) {
      const at = block * BLOCK_BYTES;
      if (wrongBlocks(memory.subarray(at, at + BLOCK_BYTES), block) !== null) lost++;
    }
    return lost;
  } finally {
    by.leave?.();
    await engine.close();
  }
}

function numbered(t: TestContext): string {
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, numberedBlocks(BLOCKS));
  return file;
}

for (const [how, clean] of Object.entries(CLEANERS)) {
  for (const by of ["MADV_PAGEOUT", "a memory cgroup's limit"]) {
    test(`DEVICE_WRITES_DIRTY: memory ${how} keeps bytes that were read into it, after reclaim by ${by}`, {
      skip: needsRoot,
    }, async (t) => {
      swap(t, 64 * MIB);
      const file = numbered(t);
      const cgroup = by === "MADV_PAGEOUT" ? null : squeezer(t);
      if (typeof cgroup === "string") return t.skip(cgroup);
      const reclaimer = cgroup === null ? byCall : byLimit(cgroup);
      for (const [name, { options, populate, harmed, without }] of Object.entries(WAYS)) {
        if (without === how) continue;
        if (populate === false) populateNothing(t);
        const lost = await lostBlocks(options, file, clean, reclaimer);
        if (harmed) assert.ok(lost > BLOCKS / 2, `${name} lost ${lost} blocks only: clean pages weren't at stake`);
        else assert.equal(lost, 0, name);
        t.diagnostic(`${name}: ${lost} of ${BLOCKS} blocks lost`);
        const harm = `blocks lost of ${BLOCKS} that were read into clean pages (${how}), reclaimed by ${by}`;
        if (isColumn(name) && WAYS.lifetime!.without !== how) figure(t, harm, name, String(lost));
      }
    });
  }
}

/**
 * Reads into memory, parts of which are reclaimed all the time, and compares what was read before. Returns what's
 * wrong.
 */
async function readUnderLimit(options: EngineOptions, file: string, cgroup: Squeezer): Promise<string[]> {
  const PLACES = 128;
  const PLACE_BYTES = 65536;
  // Pins that fill the limit would leave nothing to reclaim.
  const lease = { chunk: PLACE_BYTES, budget: 1 * MIB, idle: 3_600_000, max: 3_600_000 };
  const engine = await Engine.open({ ...options, depth: 32, lease, events: { pressure: false } });
  try {
    await engine.arena({ bytes: 1 });
    cgroup.enter();
    const arena = await engine.arena({ bytes: PLACES * PLACE_BYTES, hugePages: false });
    const memory = arena.alloc(PLACES * PLACE_BYTES);
    const source = await engine.openFile(file);
    const wrong: string[] = [];
    const reader = async (id: number): Promise<void> => {
      const random = new Random(id);
      // Every reader has places of its own.
      const locations = Array.from({ length: PLACES / 16 }, (_, i) => ({ at: (i * 16 + id) * PLACE_BYTES, first: -1 }));
      for (let i = 0; i < 30; i++) {
        if (random.below(32) === 0) await cgroup.squeeze((PLACES * PLACE_BYTES) / 2);
        const location = locations[random.below(locations.length)]!;
        const bytes = memory.subarray(location.at, location.at + PLACE_BYTES);
        const difference = location.first < 0 ? null : wrongBlocks(bytes, location.first);
        if (difference !== null) wrong.push(difference);
        const first = random.below(BLOCKS - 16);
        location.first = first;
        const read = (from: number, to: number): Promise<unknown> =>
          source.read(bytes.subarray(from * BLOCK_BYTES, to * BLOCK_BYTES), { position: (first + from) * BLOCK_BYTES });
        // The first one goes without a lease, the second takes it.
        await read(0, 1);
        await read(1, 2);
        await read(2, 16);
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, id) => reader(id)));
    assert.equal(engine.stats().failed, 0);
    return wrong;
  } finally {
    cgroup.leave();
    await engine.close();
  }
}

test("A memory cgroup at its limit reclaims memory under reads: bytes that were read are always there", {
  skip: needsRoot,
}, async (t) => {
  swap(t, 128 * MIB);
  const file = numbered(t);
  const cgroup = squeezer(t);
  if (typeof cgroup === "string") return t.skip(cgroup);
  for (const [name, { options, populate, harmed }] of Object.entries(WAYS)) {
    if (name === "lifetime") continue;
    if (populate === false) populateNothing(t);
    const wrong: string[] = [];
    // The kernel chooses what it reclaims.
    for (let round = 0; round < (harmed ? 20 : 1) && wrong.length === 0; round++)
      wrong.push(...(await readUnderLimit(options, file, cgroup)));
    if (harmed) assert.ok(wrong.length > 0, `${name}: nothing was lost`);
    else assert.deepEqual(wrong, [], name);
    t.diagnostic(`${name}: ${wrong.length} looks found something else`);
  }
});

test("Arena.pageOut in the middle of load: every read gets its bytes, whichever pages are paged out", {
  skip: needsRoot,
}, async (t) => {
  swap(t, 128 * MIB);
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, numberedBlocks(BLOCKS));
  for (const pin of ["lease", "per-io"] as const) {
    const engine = await Engine.open({
      pin,
      depth: 32,
      lease: { chunk: 65536, idle: 20 },
      events: { pressure: false },
    });
    try {
      const arena = await engine.arena({ bytes: 4 * MIB });
      const memory = arena.alloc(4 * MIB);
      const source = await engine.openFile(file);
      let operations = 0;
      const reader = async (id: number): Promise<void> => {
        const random = new Random(id);
        const buffer = memory.subarray(id * 65536, id * 65536 + 4 * BLOCK_BYTES);
        while (operations < 100) {
          const first = random.below(BLOCKS - 4);
          await source.read(buffer, { position: first * BLOCK_BYTES });
          // What was read is sent out, and must come back as it was.
          if (random.below(4) === 0) await arena.pageOut(buffer);
          assert.equal(wrongBlocks(buffer, first), null, `${pin}, after ${operations} operations`);
        }
      };
      const operator = async (): Promise<void> => {
        const random = new Random(99);
        while (operations++ < 100) {
          const at = random.below(32) * 2 * 65536;
          const report = await arena.pageOut(memory.subarray(at, at + 2 * 65536));
          assert.deepEqual([report.event, report.pages], ["CLEAR", 32]);
          assert.equal(report.done + report.busy, 32);
          if (operations % 20 === 0) await engine.releasePins();
        }
      };
      await Promise.all([operator(), ...Array.from({ length: 32 }, (_, id) => reader(id))]);
      assert.equal(engine.stats().failed, 0);
    } finally {
      await engine.close();
    }
  }
});
