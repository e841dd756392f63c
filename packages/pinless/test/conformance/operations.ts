/**
 * arena.migrate, arena.exclusive, arena.writeback: beside I/O, on parts and on all of an arena, and what they refuse.
 */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Arena } from "../../dist/engine/arena.js";
import type { OperationReport } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { Random } from "../support/random.js";
import { type Bed, BLOCKS, CHUNK, MIB, withArena } from "./bed.js";
import type { Ground } from "./ground.js";

function withBed(ground: Ground, body: (bed: Bed) => Promise<void>): Promise<void> {
  return withArena(ground, (engine) => engine.arena({ bytes: 4 * MIB }), 2 * MIB, body);
}

function assertDone(report: OperationReport, event: string, pages: number): void {
  const { waited, ...counts } = report;
  assert.deepEqual(counts, { event, pages, done: pages, busy: 0 });
  assert.ok(waited >= 0);
}

/** Skips the test where pages can't be moved, as in many containers. */
async function canMigrate(t: TestContext, arena: Arena): Promise<boolean> {
  try {
    await arena.migrate({ node: 0 });
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== "ERR_PINLESS_UNSUPPORTED") throw error;
    t.skip("machine: move_pages is forbidden or missing");
    return false;
  }
}

export function operations(ground: Ground): void {
  const named = (name: string): string => `${ground.name}: ${name}`;

  test(named("Arena.migrate counts pages on the node, and pages without memory, as done"), (t) =>
    withBed(ground, async ({ engine, arena, memory, file }) => {
      if (!(await canMigrate(t, arena))) return;
      memory.set(numberedBlocks(512));
      const before = engine.stats().invalidations.MIGRATE;
      assertDone(await arena.migrate({ node: 0 }, memory.subarray(5, 6)), "MIGRATE", 1);
      assertDone(await arena.migrate({ node: 0 }, memory.subarray(4095, 4097)), "MIGRATE", 2);
      assertDone(await arena.migrate({ node: 0 }, memory), "MIGRATE", 512);
      assert.equal(wrongBlocks(memory, 0), null);
      await file.read(memory.subarray(MIB, MIB + BLOCK_BYTES), { position: BLOCK_BYTES });
      assert.equal(wrongBlocks(memory.subarray(MIB, MIB + BLOCK_BYTES), 1), null);
      await arena.discard(memory.subarray(MIB));
      // The shared page of zeros, which migrates with no process.
      assert.equal(memory[MIB + 4096 * 7], 0);
      await arena.grow(2 * MIB);
      assertDone(await arena.migrate({ node: 0 }), "MIGRATE", 1536);
      assert.equal(engine.stats().invalidations.MIGRATE, before + 5, "one for each segment");
    }),
  );

  test(named("Arena.migrate to a missing or invalid node is refused before any request waits"), (t) =>
    withBed(ground, async ({ engine, arena, memory }) => {
      if (!(await canMigrate(t, arena))) return;
      const before = engine.stats().invalidations.MIGRATE;
      for (const range of [undefined, memory.subarray(0, 1)]) {
        const message = /node 1023 .* choose one of 0/;
        await assert.rejects(arena.migrate({ node: 1023 }, range), { code: "ERR_PINLESS_NO_NODE", message });
        for (const node of [-1, 0.5, Number.NaN, 2 ** 60, "0", null, undefined])
          await assert.rejects(arena.migrate({ node: node as number }, range), { code: "ERR_OUT_OF_RANGE" });
      }
      assert.equal(engine.stats().invalidations.MIGRATE, before);
      assert.equal(engine.notifier.inProgress, 0);
    }),
  );

  test(named("Arena.exclusive keeps I/O out of the range, and I/O beside it goes on"), () =>
    withBed(ground, async ({ engine, arena, memory, file }) => {
      const range = memory.subarray(100, 2 * BLOCK_BYTES);
      const events: string[] = [];
      const noted = (name: string, io: Promise<unknown>): Promise<unknown> => io.then(() => events.push(name));
      const io: Promise<unknown>[] = [];
      // Everything that touches the range: straight, through the page cache, copied by JavaScript to and from an odd
      // address.
      const odd = memory.subarray(4096 + 4, 4096 + 4 + 512);
      const ways = {
        read: () => file.read(memory.subarray(0, BLOCK_BYTES), { position: 0 }),
        write: () => file.write(memory.subarray(0, BLOCK_BYTES), { position: 40 * BLOCK_BYTES }),
        "buffered read": () => file.read(memory.subarray(4096, 4096 + 100), { position: 3 }),
        "copied read": () => file.read(odd, { position: 512 }),
        "copied write": () => file.write(odd, { position: 48 * BLOCK_BYTES }),
      };
      for (const way of Object.values(ways)) await way();
      const before = Uint8Array.from(memory.subarray(0, 2 * BLOCK_BYTES));
      const report = await arena.exclusive(range, async (bytes) => {
        events.push("begin");
        for (const [name, way] of Object.entries(ways)) io.push(noted(name, way()));
        const beside = memory.subarray(MIB, MIB + BLOCK_BYTES);
        for (let i = 0; i < 20; i++) await file.read(beside, { position: i * BLOCK_BYTES });
        assert.equal(wrongBlocks(beside, 19), null);
        assert.deepEqual(memory.subarray(0, 2 * BLOCK_BYTES), before, "something has written into it");
        assert.equal(bytes.buffer, range.buffer);
        assert.deepEqual([bytes.byteOffset, bytes.byteLength], [range.byteOffset, range.byteLength]);
        bytes.fill(0x11);
        events.push("end");
        return "what it gave";
      });
      const { result, ...rest } = report;
      assert.equal(result, "what it gave");
      assertDone(rest, "EXCLUSIVE", 2);
      await Promise.all(io);
      assert.deepEqual(events.slice(0, 2), ["begin", "end"]);
      assert.deepEqual(events.slice(2).sort(), Object.keys(ways).sort());
      const written = new Uint8Array(512);
      await file.read(written, { position: 48 * BLOCK_BYTES });
      assert.ok(isFilledWith(written, 0x11) || !isFilledWith(written, 0), "a copy was taken inside of it");
      assert.equal(engine.notifier.inProgress, 0);
    }),
  );

  test(named("Arena.exclusive ends when its function throws, and rejects with that"), () =>
    withBed(ground, async ({ engine, arena, memory, file }) => {
      const wrong = new Error("mine");
      const throwing: ((bytes: Uint8Array) => unknown)[] = [
        () => {
          throw wrong;
        },
        () => Promise.reject(wrong),
      ];
      for (const fn of throwing) {
        await assert.rejects(arena.exclusive(memory, fn), wrong);
        assert.equal(engine.notifier.inProgress, 0);
        await file.read(memory.subarray(0, BLOCK_BYTES), { position: 0 });
        assert.equal(wrongBlocks(memory.subarray(0, BLOCK_BYTES), 0), null);
      }
      assert.equal((await arena.exclusive(memory, (bytes) => bytes.byteLength)).result, memory.byteLength);
      const nothing = { code: "ERR_INVALID_ARG_TYPE" };
      await assert.rejects(arena.exclusive(memory, undefined as unknown as () => void), nothing);
      await assert.rejects(
        arena.exclusive((() => {}) as unknown as Uint8Array, () => {}),
        nothing,
      );
      assert.equal(engine.stats().invalidations.EXCLUSIVE, 3);
    }),
  );

  test(named("Arena.exclusive of the same range: one after the other, and each finds what the last left"), () =>
    withBed(ground, async ({ arena, memory, file }) => {
      const counter = memory.subarray(0, 8);
      counter.fill(0);
      let inside = 0;
      const turns = Array.from({ length: 50 }, (_, i) =>
        arena.exclusive(i % 2 === 0 ? counter : memory.subarray(0, 4096), async (bytes) => {
          assert.equal(++inside, 1);
          const before = bytes[0]!;
          await new Promise((resolve) => setImmediate(resolve));
          bytes[0] = before + 1;
          inside--;
        }),
      );
      const reads = turns.map((_, i) => file.read(memory.subarray(8192, 8192 + 4096), { position: i * 4096 }));
      await Promise.all([...turns, ...reads]);
      assert.equal(counter[0], 50);
    }),
  );

  const whereLeased = ground.pin === "lease" ? test : undefined;
  whereLeased?.(named("Arena.exclusive keeps leases; migrate and protect don't"), (t) =>
    withBed(ground, async ({ engine, arena, memory, file }) => {
      const page = memory.subarray(0, BLOCK_BYTES);
      const load = async (): Promise<{ taken: number; dropped: number }> => {
        for (let i = 0; i < 4; i++) await file.read(page, { position: 0 });
        return engine.stats().leases;
      };
      if (!(await canMigrate(t, arena))) return;
      const { taken } = await load();
      assert.equal(taken, 1);
      await arena.exclusive(page, () => {});
      assert.equal((await load()).taken, 1);
      await arena.migrate({ node: 0 }, page);
      assert.equal((await load()).taken, 2);
      assert.equal(engine.stats().revalidated, 1);
      await arena.protect("read", page);
      await arena.protect("readwrite", page);
      await engine.releasePins();
      assert.equal((await load()).taken, 3);
    }),
  );

  test(named("Arena.writeback of anonymous memory does nothing, at once, and says so"), () =>
    withBed(ground, async ({ engine, arena, memory }) => {
      await arena.grow(2 * MIB);
      const skipped = "this arena is anonymous memory: there is no file to write to";
      const report = { event: "PROTECTION_PAGE", done: 0, busy: 0, waited: 0, skipped };
      assert.deepEqual(await arena.writeback(), { ...report, pages: 1536 });
      assert.deepEqual(await arena.writeback(memory.subarray(4095, 4097)), { ...report, pages: 2 });
      assert.equal(engine.stats().invalidations.PROTECTION_PAGE, 0);
    }),
  );

  test(
    named("Arena.migrate, protect, exclusive and writeback refuse what isn't this arena's, and a closed arena"),
    (t) =>
      withBed(ground, async ({ engine, arena, memory }) => {
        if (!(await canMigrate(t, arena))) return;
        const other = await engine.arena({ bytes: 2 * MIB });
        const all: ((range: Uint8Array) => Promise<unknown>)[] = [
          (range) => arena.migrate({ node: 0 }, range),
          (range) => arena.protect("read", range),
          (range) => arena.protect("readwrite", range),
          (range) => arena.exclusive(range, () => assert.fail("it ran all the same")),
          (range) => arena.writeback(range),
        ];
        for (const run of all) {
          for (const range of [new Uint8Array(4096), other.alloc(4096), memory.subarray(4096, 4096)])
            await assert.rejects(run(range), { code: "ERR_PINLESS_RANGE" });
          for (const range of [7, "range", null, {}])
            await assert.rejects(run(range as unknown as Uint8Array), { code: "ERR_INVALID_ARG_TYPE" });
        }
        await arena.close();
        for (const run of all) await assert.rejects(run(memory), { code: "ERR_PINLESS_CLOSED" });
        await assert.rejects(arena.migrate({ node: -1 }), { code: "ERR_PINLESS_CLOSED" });
        assert.equal(engine.notifier.inProgress, 0);
      }),
  );

  test(named("Arena operations of every kind beside reads, in the same chunks: every read gets its bytes"), (t) =>
    withBed(ground, async ({ engine, arena, memory, file }) => {
      if (!(await canMigrate(t, arena))) return;
      let running = true;
      // The upper half of each chunk is read into, the lower is for the operations.
      const reader = async (id: number): Promise<void> => {
        const random = new Random(id);
        const buffer = memory.subarray(id * CHUNK + CHUNK / 2, id * CHUNK + CHUNK / 2 + BLOCK_BYTES);
        while (running) {
          const block = random.below(BLOCKS);
          await file.read(buffer, { position: block * BLOCK_BYTES });
          assert.equal(wrongBlocks(buffer, block), null);
        }
      };
      const readers = Promise.all(Array.from({ length: 8 }, (_, id) => reader(id)));
      const operator = async (id: number): Promise<void> => {
        const random = new Random(100 + id);
        for (let round = 0; round < 100; round++) {
          const at = (4 * random.below(2) + id) * CHUNK;
          const range = memory.subarray(at, at + (1 + random.below(8)) * 4096);
          const pages = range.byteLength / 4096;
          switch (random.below(4)) {
            case 0:
              assertDone(await arena.migrate({ node: 0 }, range), "MIGRATE", pages);
              break;
            case 1:
              await arena.exclusive(range, async (bytes) => {
                bytes.fill(round);
                await new Promise((resolve) => setImmediate(resolve));
                assert.ok(isFilledWith(bytes, round & 255));
              });
              break;
            case 2:
              assertDone(await arena.protect("read", range), "PROTECTION_VMA", pages);
              await assert.rejects(file.read(range, { position: 0 }), { code: "EFAULT" });
              assertDone(await arena.protect("readwrite", range), "PROTECTION_VMA", pages);
              range.fill(1);
              break;
            default:
              await arena.discard(range);
          }
        }
      };
      try {
        await Promise.all([0, 1, 2, 3].map(operator));
      } finally {
        running = false;
        await readers;
      }
      assert.equal(engine.notifier.inProgress, 0);
    }),
  );
}
