/** arena.protect: what fails and what goes on, to the page, by every way that I/O can take. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { File } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { Random } from "../support/random.js";
import { type Bed, BLOCKS, CHUNK, MIB, withArena } from "./bed.js";
import { type Ground, withEngine } from "./ground.js";

const PAGE = 4096;

/** `memory` is all of the arena. */
function withBed(ground: Ground, body: (bed: Bed) => Promise<void>): Promise<void> {
  return withArena(ground, (engine) => engine.arena({ bytes: 2 * MIB }), 2 * MIB, body);
}

/** Pages `first` to `first + count - 1`. */
function pages(memory: Uint8Array, first: number, count: number): Uint8Array {
  return memory.subarray(first * PAGE, (first + count) * PAGE);
}

/** Code of a read's error; null if it succeeded. */
async function errorOf(read: Promise<unknown>): Promise<string | null> {
  return read.then(
    () => null,
    (error) => error.code,
  );
}

/** Reads block 3 into a page as often as it takes for a lease. */
async function readInto(file: File, page: Uint8Array): Promise<string | null> {
  let code: string | null = null;
  for (let i = 0; i < 3; i++) {
    code = await errorOf(file.read(page, { position: 3 * BLOCK_BYTES }));
    if (code === null) assert.equal(wrongBlocks(page, 3), null);
  }
  return code;
}

export function protection(ground: Ground): void {
  const named = (name: string): string => `${ground.name}: ${name}`;

  test(named('Arena.protect("read"): reads into it fail with EFAULT by every way, and leave it as it was'), () =>
    withBed(ground, async ({ engine, arena, memory, file }) => {
      // All of the first two chunks, and a part of the third.
      const range = pages(memory, 0, 40);
      memory.fill(7);
      // What was leased before, or registered for life.
      await readInto(file, memory.subarray(0, PAGE));
      await readInto(file, memory.subarray(39 * PAGE, 40 * PAGE));
      memory.fill(7);
      const report = await arena.protect("read", range);
      const { waited, ...counts } = report;
      assert.deepEqual(counts, { event: "PROTECTION_VMA", pages: 40, done: 40, busy: 0 });
      assert.ok(waited >= 0);
      for (const first of [0, 20, 33, 39]) {
        const page = pages(memory, first, 1);
        const says = async (what: string, read: Promise<unknown>): Promise<void> => {
          assert.equal(await errorOf(read), "EFAULT", `${what} into page ${first}`);
        };
        await says("read", file.read(page, { position: 0 }));
        await says("read at the own position", file.read(page));
        await says("read of a part", file.read(page, { offset: 512, length: 512, position: 512 }));
        await says("read at an odd position", file.read(page, { position: 1 }));
        await says("read of odd length", file.read(page, { length: 100, position: 0 }));
        await says("read to an odd address", file.read(page.subarray(1, 513), { position: 512 }));
        await says("read to odd everything", file.read(page.subarray(3, 50), { position: 11 }));
        await says("readv", file.readv([page.subarray(0, 512), page.subarray(512)], 0));
        for (const view of [page, page.subarray(1, 513), page.subarray(0, 100)]) {
          const errno = await new Promise((resolve) => file.submit("read", view, 0, resolve));
          assert.equal(errno, -14, `submit into page ${first}`);
        }
      }
      assert.ok(isFilledWith(memory, 7));
      assert.equal(engine.stats().invalidations.PROTECTION_VMA, 1);
      // Beside it, in the same chunk too.
      for (const first of [40, 47, 48]) assert.equal(await readInto(file, pages(memory, first, 1)), null);
      assert.equal((await file.readv([pages(memory, 40, 1), pages(memory, 0, 1)], 0)).bytesRead, PAGE);
    }),
  );

  test(named('Arena.protect("read"): writes of files from it go on'), () =>
    withBed(ground, async ({ arena, memory, file }) => {
      const source = pages(memory, 0, 20);
      source.set(numberedBlocks(40).subarray(20 * BLOCK_BYTES));
      for (let round = 0; round < 3; round++) await file.write(source, { position: 0 });
      await arena.protect("read", source);
      const back = pages(memory, 32, 20);
      for (const view of [source, pages(source, 16, 4), pages(source, 3, 1)]) {
        await file.write(new Uint8Array(BLOCKS * BLOCK_BYTES), { position: 0 });
        const block = (view.byteOffset - source.byteOffset) / BLOCK_BYTES;
        for (const odd of [0, 5]) {
          const part = view.subarray(odd);
          const { bytesWritten } = await file.write(part, { position: odd });
          assert.equal(bytesWritten, part.byteLength);
        }
        await file.read(back.subarray(0, view.byteLength), { position: 0 });
        assert.equal(wrongBlocks(back.subarray(0, view.byteLength), 20 + block), null);
      }
    }),
  );

  test(named('Arena.protect("readwrite") on a part restores that part'), () =>
    withBed(ground, async ({ arena, memory, file }) => {
      const random = new Random(12);
      const PAGES = 64;
      const readOnly = new Array<boolean>(PAGES).fill(false);
      for (let round = 0; round < 40; round++) {
        const first = random.below(PAGES);
        const count = Math.min(PAGES - first, 1 + random.below(round % 3 === 0 ? 40 : 6));
        const access = random.below(2) === 0 ? "read" : "readwrite";
        const { done } = await arena.protect(access, pages(memory, first, count));
        assert.equal(done, count);
        readOnly.fill(access === "read", first, first + count);
        for (let i = 0; i < 12; i++) {
          const page = random.below(PAGES);
          const expected = readOnly[page] ? "EFAULT" : null;
          assert.equal(await readInto(file, pages(memory, page, 1)), expected, `round ${round}, page ${page}`);
          // A store shows it too, where it may be tried.
          if (!readOnly[page]) memory[page * PAGE + 1] = round;
        }
      }
      await arena.protect("readwrite");
      memory.fill(1);
      for (let page = 0; page < PAGES; page++) assert.equal(await readInto(file, pages(memory, page, 1)), null);
    }),
  );

  test(named("Arena.protect of everything: all segments, and none that come later"), () =>
    withBed(ground, async ({ arena, memory, file }) => {
      await arena.grow(2 * MIB);
      const second = arena.alloc(MIB);
      const { pages: count, done } = await arena.protect("read");
      assert.deepEqual([count, done], [1024, 1024]);
      await arena.grow(2 * MIB);
      const third = arena.alloc(2 * MIB).subarray(0, PAGE);
      for (const page of [memory.subarray(0, PAGE), second.subarray(0, PAGE)])
        assert.equal(await errorOf(file.read(page, { position: 0 })), "EFAULT");
      assert.equal(await readInto(file, third), null);
      await arena.protect("readwrite");
      for (const page of [memory.subarray(0, PAGE), second.subarray(0, PAGE)])
        assert.equal(await readInto(file, page), null);
    }),
  );

  test(named("Arena.protect takes whole pages, or a buffer as alloc gave it"), () =>
    withBed(ground, async ({ engine, arena, memory, file }) => {
      for (const [from, to] of [
        [1, PAGE],
        [0, PAGE - 1],
        [PAGE, 2 * PAGE + 1],
        [100, 200],
      ]) {
        const range = memory.subarray(from, to);
        await assert.rejects(arena.protect("read", range), { code: "ERR_PINLESS_RANGE", message: /whole pages/ });
      }
      for (const access of ["write", "none", undefined]) {
        const call = arena.protect(access as "read", memory);
        await assert.rejects(call, { code: "ERR_INVALID_ARG_VALUE" });
      }
      assert.equal(engine.stats().invalidations.PROTECTION_VMA, 0);
      await arena.grow(2 * MIB);
      const [odd, next] = [arena.alloc(PAGE + 100), arena.alloc(PAGE)];
      assert.equal((await arena.protect("read", odd)).pages, 2);
      assert.equal(await errorOf(file.read(odd.subarray(PAGE), { position: 0 })), "EFAULT");
      assert.equal(await readInto(file, next), null);
    }),
  );

  test(named("Arena.free makes memory writable again, and what was asked for before it doesn't last"), () =>
    withEngine(ground, { lease: { chunk: CHUNK } }, async (engine) => {
      const arena = await engine.arena({ bytes: 2 * MIB });
      const keep = arena.alloc(3 * PAGE);
      for (let round = 0; round < 10; round++) {
        const buffer = arena.alloc(2 * PAGE + 1);
        const asked = round % 2 === 0 ? arena.protect("read", buffer) : arena.protect("read");
        // Also while the protection is still on its way.
        if (round % 3 === 0) await asked;
        await arena.free(buffer);
        await asked;
        const again = arena.alloc(3 * PAGE);
        assert.equal(again.byteOffset, buffer.byteOffset);
        again.fill(round);
        await arena.free(again);
        await arena.protect("readwrite", keep);
      }
    }),
  );

  test(named("Arena.close leaves memory that can be read and written, whatever was protected or is about to be"), () =>
    withEngine(ground, {}, async (engine) => {
      for (let round = 0; round < 4; round++) {
        const arena = await engine.arena({ bytes: 2 * MIB });
        await arena.grow(2 * MIB);
        const views = [arena.alloc(2 * MIB).fill(1), arena.alloc(2 * MIB).fill(1)];
        await arena.protect("read", pages(views[0]!, 3, 70));
        // Not awaited: some of it comes after the end.
        const calls = [
          arena.protect("read"),
          arena.protect("readwrite", pages(views[0]!, 10, 3)),
          arena.protect("read"),
        ];
        const outcomes = Promise.allSettled(calls);
        if (round > 1) await calls[0];
        await arena.close();
        for (const outcome of await outcomes)
          if (outcome.status === "rejected") assert.equal(outcome.reason.code, "ERR_PINLESS_CLOSED");
        for (const view of views) {
          assert.ok(isFilledWith(view, 0));
          view.fill(2);
          assert.ok(isFilledWith(view, 2));
        }
      }
    }),
  );

  test(named("Arena.discard of read-only memory: whole pages go, a page can't be written with zeros"), () =>
    withBed(ground, async ({ engine, arena, memory, file }) => {
      memory.fill(5);
      await arena.protect("read", pages(memory, 4, 4));
      const refused = { code: "ERR_PINLESS_READ_ONLY" };
      await assert.rejects(arena.discard(memory.subarray(4 * PAGE + 1, 6 * PAGE)), refused);
      await assert.rejects(arena.discard(memory.subarray(2 * PAGE, 5 * PAGE - 1)), refused);
      await assert.rejects(arena.discard(memory.subarray(5 * PAGE + 1, 5 * PAGE + 2), { lazily: true }), refused);
      assert.ok(isFilledWith(memory, 5), "a refused discard has thrown something away");
      assert.equal(engine.notifier.inProgress, 0);
      // The edges are in writable pages.
      const { done } = await arena.discard(memory.subarray(4 * PAGE - 9, 8 * PAGE + 9));
      assert.equal(done, 4);
      assert.ok(isFilledWith(memory.subarray(4 * PAGE - 9, 8 * PAGE + 9), 0));
      assert.equal(memory[4 * PAGE - 10], 5);
      assert.equal(memory[8 * PAGE + 9], 5);
      assert.equal(await errorOf(file.read(pages(memory, 5, 1), { position: 0 })), "EFAULT");
      for (const report of [await arena.collapse(), await arena.discard(undefined, { lazily: true })])
        assert.equal(report.done + report.busy, report.pages);
      await arena.protect("readwrite");
      memory.fill(6);
    }),
  );

  test(named("Arena.protect in the middle of reads, direct and copied: what came too late fails with EFAULT"), () =>
    withBed(ground, async ({ arena, memory, file }) => {
      const until = { done: false };
      let arrived = 0;
      let refused = 0;
      // Each reads into pages of its own, some unaligned and so through a copy by JavaScript, which must never meet
      // read-only memory.
      const reader = async (id: number): Promise<void> => {
        const view = id % 2 === 0 ? pages(memory, id, 1) : pages(memory, id, 1).subarray(4, 4 + 1024);
        while (!until.done) {
          const code = await errorOf(file.read(view, { position: id * BLOCK_BYTES }));
          assert.ok(code === null || code === "EFAULT", String(code));
          if (code === null) arrived++;
          else {
            refused++;
            // It's answered at once, in a microtask.
            await new Promise((resolve) => setImmediate(resolve));
          }
        }
      };
      const readers = Promise.all(Array.from({ length: 32 }, (_, id) => reader(id)));
      const random = new Random(3);
      try {
        for (let round = 0; round < 150; round++) {
          const first = random.below(32);
          const access = round % 2 === 0 ? "read" : "readwrite";
          const before = { arrived, refused };
          await arena.protect(access, pages(memory, access === "read" ? first : 0, access === "read" ? 8 : 48));
          // However slow the disk is, some reader meets every state.
          while (access === "read" ? refused === before.refused : arrived === before.arrived)
            await new Promise((resolve) => setImmediate(resolve));
        }
      } finally {
        until.done = true;
        await readers;
      }
      assert.ok(arrived > 20 && refused > 20, `${arrived} arrived, ${refused} were refused`);
    }),
  );

  test(named("Arena.protect holds for another engine's reads as well"), () =>
    withBed(ground, async ({ arena, memory }) => {
      const path = await ground.file(numberedBlocks(4));
      memory.fill(3);
      await arena.protect("read", pages(memory, 1, 1));
      await withEngine(ground, {}, async (other) => {
        const file = await other.openFile(path, "r");
        for (const view of [pages(memory, 1, 1), pages(memory, 0, 2), memory.subarray(2 * PAGE - 3, 2 * PAGE + 3)])
          assert.equal(await errorOf(file.read(view, { position: 0 })), "EFAULT");
        assert.ok(isFilledWith(memory, 3));
        assert.equal(await readInto(file, pages(memory, 2, 1)), null);
      });
    }),
  );

  const whereLeased = ground.pin === "lease" ? test : undefined;
  whereLeased?.(named("a chunk that is read-only, or partly, takes no lease until it's writable again"), () =>
    withBed(ground, async ({ engine, arena, memory, file }) => {
      const taken = (): number => engine.stats().leases.taken;
      await readInto(file, pages(memory, 0, 1));
      await readInto(file, pages(memory, 16, 1));
      assert.ok(taken() >= 2, "no lease was at stake");
      await arena.protect("read", pages(memory, 0, 17));
      await engine.releasePins();
      const before = taken();
      const { perIo } = engine.stats();
      assert.equal(await readInto(file, pages(memory, 0, 1)), "EFAULT");
      assert.equal(await readInto(file, pages(memory, 16, 1)), "EFAULT");
      assert.equal(await readInto(file, pages(memory, 17, 1)), null);
      for (let i = 0; i < 3; i++) await file.write(pages(memory, 0, 1), { position: 0 });
      assert.equal(taken(), before);
      assert.equal(engine.stats().perIo, perIo + 3 + 3 + 3, "partly: the kernel is asked; all of it: it isn't");
      await arena.protect("readwrite", pages(memory, 0, 17));
      await file.write(numberedBlocks(4).subarray(3 * BLOCK_BYTES), { position: 3 * BLOCK_BYTES });
      await readInto(file, pages(memory, 0, 1));
      await readInto(file, pages(memory, 16, 1));
      assert.equal(taken(), before + 2);
    }),
  );
}
