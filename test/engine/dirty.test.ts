// DEVICE_WRITES_DIRTY: what a device wrote into memory survives that the memory is reclaimed.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { type Arena, Engine, type PinMode } from "../../dist/index.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { needsRoot, swap } from "../support/disks.js";
import { Random } from "../support/random.js";
import { scratchDirectory } from "../support/undo.js";

const MIB = 1 << 20;
const BLOCKS = 1024;

/** Makes every page clean that the device will write. */
const CLEANERS: Record<string, (arena: Arena, memory: Uint8Array) => Promise<void>> = {
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

/** Reads the file into clean memory, gives all pins back and has the memory reclaimed: how many blocks are wrong then? */
async function lostBlocks(
  pin: PinMode,
  file: string,
  clean: (arena: Arena, memory: Uint8Array) => Promise<void>,
): Promise<number> {
  const engine = await Engine.open({
    pin,
    depth: 32,
    lease: { idle: 60_000, max: 60_000 },
    events: { pressure: false },
  });
  try {
    const arena = await engine.arena({ bytes: 4 * MIB, hugePages: false });
    const memory = arena.alloc(BLOCKS * BLOCK_BYTES);
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
    if (pin === "per-io") assert.equal(perIo, BLOCKS);
    else assert.equal(perIo, 0, "some went per-io: this would show nothing");
    await engine.releasePins();
    await arena.pageOut(memory);
    let lost = 0;
    for (let block = 0; block < BLOCKS; block++) {
      const at = block * BLOCK_BYTES;
      if (wrongBlocks(memory.subarray(at, at + BLOCK_BYTES), block) !== null) lost++;
    }
    return lost;
  } finally {
    await engine.close();
  }
}

for (const [how, clean] of Object.entries(CLEANERS)) {
  test(`DEVICE_WRITES_DIRTY: memory ${how} keeps what was read into it`, {
    skip: needsRoot,
  }, async (t) => {
    swap(t, 64 * MIB);
    const file = path.join(scratchDirectory(t), "file");
    writeFileSync(file, numberedBlocks(BLOCKS));
    assert.equal(await lostBlocks("lease", file, clean), 0, "lease");
    assert.equal(await lostBlocks("per-io", file, clean), 0, "per-io");
    // The control. Memory that is registered for life can't be swapped out to begin with.
    if (how !== "lazily discarded") return;
    const lost = await lostBlocks("lifetime", file, clean);
    assert.ok(lost > BLOCKS / 2, `lifetime lost ${lost} blocks only: clean pages weren't at stake`);
  });
}

test("Arena.pageOut in the middle of load: every read gets its bytes, whatever goes out and comes back", {
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
        while (operations < 300) {
          const first = random.below(BLOCKS - 4);
          await source.read(buffer, { position: first * BLOCK_BYTES });
          // What was read is sent out, and must come back as it was.
          if (random.below(4) === 0) await arena.pageOut(buffer);
          assert.equal(wrongBlocks(buffer, first), null, `${pin}, after ${operations} operations`);
        }
      };
      const operator = async (): Promise<void> => {
        const random = new Random(99);
        while (operations++ < 300) {
          const at = random.below(32) * 2 * 65536;
          const report = await arena.pageOut(memory.subarray(at, at + 2 * 65536));
          assert.deepEqual([report.event, report.pages], ["CLEAR", 32]);
          assert.equal(report.done + report.busy, 32);
          if (operations % 50 === 0) await engine.releasePins();
        }
      };
      await Promise.all([operator(), ...Array.from({ length: 32 }, (_, id) => reader(id))]);
      assert.equal(engine.stats().failed, 0);
    } finally {
      await engine.close();
    }
  }
});
