/** Memory operations in the middle of load: no wrong byte, and reports that say what was done. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Arena } from "../../dist/engine/arena.js";
import type { OperationReport } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { Random } from "../support/random.js";
import { rounds } from "../support/rounds.js";
import { type Ground, withEngine } from "./ground.js";

const MIB = 1 << 20;
const BLOCKS = 1024;
const PAGES_OF_HUGE = 512;

function assertReport(report: OperationReport, event: string, pages: number): void {
  assert.deepEqual([report.event, report.pages], [event, pages]);
  assert.equal(report.done + report.busy, report.pages);
  assert.ok(report.done >= 0 && report.busy >= 0);
  assert.ok(report.waited >= 0 && Number.isFinite(report.waited));
}

export function invalidations(ground: Ground): void {
  const named = (name: string): string => `${ground.name}: ${name}`;
  // Pages that are registered for life can't be made one, and lose what is read into them after a discard.
  const movable = ground.pin !== "lifetime";

  test(named("Arena operations beside 32 reads in flight: every read gets its bytes"), async () => {
    const path = await ground.file(numberedBlocks(BLOCKS));
    const chunk = 256 * 1024;
    await withEngine(ground, { depth: 32, lease: { chunk, idle: 20, max: 100 } }, async (engine) => {
      const file = await engine.openFile(path, "r");
      const arena = await engine.arena({ bytes: 8 * MIB });
      const memory = arena.alloc(8 * MIB);
      let operations = 0;
      let running = true;
      // The upper half of each chunk is read into, the lower is for the operations: they meet in the lease and in the
      // huge page.
      const reader = async (id: number): Promise<void> => {
        const random = new Random(id);
        const buffer = memory.subarray(id * chunk + chunk / 2, id * chunk + chunk / 2 + 8 * BLOCK_BYTES);
        while (running) {
          const blocks = 1 + random.below(8);
          const first = random.below(BLOCKS - blocks);
          const part = buffer.subarray(0, blocks * BLOCK_BYTES);
          await file.read(part, { position: first * BLOCK_BYTES });
          const wrong = wrongBlocks(part, first);
          assert.equal(wrong, null, `after ${operations} operations`);
        }
      };
      const readers = Promise.all(Array.from({ length: 32 }, (_, id) => reader(id)));
      // Each has chunks of its own.
      const operator = async (id: number): Promise<void> => {
        const random = new Random(id);
        while (operations < (movable ? rounds(200, 500) : rounds(100, 200))) {
          operations++;
          const at = (4 * random.below(8) + id) * chunk;
          const pages = 1 + random.below(chunk / 2 / 4096);
          const range = memory.subarray(at, at + pages * 4096);
          switch (random.below(8)) {
            case 0:
              assertReport(await arena.discard(range, { lazily: true }), "CLEAR", pages);
              break;
            case 1: {
              const report = await arena.collapse(range);
              assertReport(report, "MIGRATE", PAGES_OF_HUGE);
              break;
            }
            case 2: {
              // An edge inside a page at both ends.
              const report = await arena.discard(range.subarray(5, range.byteLength - 5));
              assertReport(report, "CLEAR", Math.max(0, pages - 2));
              break;
            }
            default:
              range.fill(1);
              assertReport(await arena.discard(range), "CLEAR", pages);
              if (movable) assert.ok(isFilledWith(range, 0));
          }
        }
      };
      try {
        await Promise.all([0, 1, 2, 3].map(operator));
        await arena.grow(2 * MIB);
      } finally {
        running = false;
        await readers;
      }
      const { invalidations, waited, failed, revalidated } = engine.stats();
      assert.equal(invalidations.CLEAR + invalidations.MIGRATE, operations);
      assert.equal(waited.count, operations);
      assert.equal(failed, 0);
      if (ground.pin === "lease") assert.ok(revalidated > 50, `${revalidated} leases were taken again`);
    });
  });

  // Registered for life, reads are lost here: that's the harm, and has tests of its own.
  const whereMovable = movable ? test : undefined;
  whereMovable?.(named("Arena.discard of memory under read: each page is the read's or zeros"), async () => {
    const path = await ground.file(numberedBlocks(BLOCKS));
    await withEngine(ground, { depth: 32, lease: { chunk: 65536 } }, async (engine) => {
      const file = await engine.openFile(path, "r");
      const arena = await engine.arena({ bytes: 4 * MIB });
      const memory = arena.alloc(4 * MIB);
      const random = new Random(9);
      let data = 0;
      let zeros = 0;
      for (let round = 0; round < 100; round++) {
        const reads = Array.from({ length: 16 }, async (_, i) => {
          const buffer = memory.subarray(i * 65536, i * 65536 + 4 * BLOCK_BYTES).fill(0xee);
          const first = random.below(BLOCKS - 4);
          await file.read(buffer, { position: first * BLOCK_BYTES });
          return { buffer, first };
        });
        const discards = [random.below(16), random.below(16)].map((i) =>
          arena.discard(memory.subarray(i * 65536, i * 65536 + 4 * BLOCK_BYTES)),
        );
        await Promise.all(discards);
        for (const { buffer, first } of await Promise.all(reads)) {
          for (let i = 0; i < 4; i++) {
            const page = buffer.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
            const wrong = wrongBlocks(page, first + i);
            if (wrong === null) data++;
            else {
              assert.ok(isFilledWith(page, 0), `round ${round}: neither the read's nor the discard's: ${wrong}`);
              zeros++;
            }
          }
        }
      }
      assert.ok(data > 3000 && zeros > 0, `${data} pages of data, ${zeros} of zeros`);
    });
  });

  test(named("Arena operations overlap and queue on the same range, and all of them end"), async () => {
    const path = await ground.file(numberedBlocks(BLOCKS));
    await withEngine(ground, { depth: 8 }, async (engine) => {
      const file = await engine.openFile(path, "r");
      const one = await engine.arena({ bytes: 4 * MIB });
      const two = await engine.arena({ bytes: 4 * MIB });
      const memory: [Arena, Uint8Array][] = [one, two].map((arena) => [arena, arena.alloc(4 * MIB)]);
      const random = new Random(4);
      for (let round = 0; round < 30; round++) {
        const all: Promise<unknown>[] = [];
        for (let i = 0; i < 20; i++) {
          const [arena, view] = memory[random.below(2)]!;
          const from = random.below(view.byteLength - 2 * MIB);
          const range = view.subarray(from, from + 1 + random.below(2 * MIB));
          if (i % 3 === 0) all.push(file.read(view.subarray(0, BLOCK_BYTES), { position: 0 }));
          else all.push(i % 4 === 0 ? arena.collapse(range) : arena.discard(i % 5 === 0 ? undefined : range));
        }
        await Promise.all(all);
        assert.equal(engine.notifier.inProgress, 0);
      }
      const buffer = memory[0]![1].subarray(BLOCK_BYTES, 2 * BLOCK_BYTES);
      await engine.releasePins();
      await file.read(buffer, { position: 5 * BLOCK_BYTES });
      assert.equal(wrongBlocks(buffer, 5), null);
    });
  });

  test(named("Engine.close in the middle of memory operations and reads ends all of them"), async () => {
    for (let round = 0; round < rounds(2, 5); round++) {
      const path = await ground.file(numberedBlocks(64));
      const engine = await ground.open({ depth: 4 });
      const file = await engine.openFile(path, "r");
      const arena = await engine.arena({ bytes: 4 * MIB });
      const memory = arena.alloc(MIB);
      const calls: Promise<unknown>[] = [];
      for (let i = 0; i < 10; i++) {
        calls.push(file.read(memory.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), { position: i * BLOCK_BYTES }));
        calls.push(arena.discard(memory.subarray(i * BLOCK_BYTES, (i + 2) * BLOCK_BYTES)));
        if (i % 5 === 0) calls.push(arena.collapse());
      }
      calls.push(arena.grow(2 * MIB), engine.arena({ bytes: 2 * MIB }), engine.openFile(path));
      const outcomes = Promise.allSettled(calls);
      for (let turn = 0; turn < 2 * round; turn++) await new Promise((resolve) => setImmediate(resolve));
      await engine.close();
      for (const outcome of await outcomes) {
        if (outcome.status === "fulfilled") continue;
        assert.ok(["ERR_PINLESS_CLOSED", "EFAULT"].includes(outcome.reason.code), outcome.reason);
      }
      assert.ok(isFilledWith(memory, 0));
    }
  });
}
