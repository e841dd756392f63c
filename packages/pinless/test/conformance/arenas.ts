/** Guarantees of an arena about its memory. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { Random } from "../support/random.js";
import { type Ground, withEngine } from "./ground.js";

const MIB = 1 << 20;
const PAGE = 4096;

export function arenas(ground: Ground): void {
  const named = (name: string): string => `${ground.name}: ${name}`;

  test(named("Arena.alloc aligns to pages and straddles no chunk, however buffers come and go"), async () => {
    const chunk = 65536;
    await withEngine(ground, { lease: { chunk } }, async (engine) => {
      const arena = await engine.arena({ bytes: 2 * MIB });
      const whole = arena.alloc(2 * MIB);
      const base = whole.byteOffset;
      await arena.free(whole);
      // A size to allocate, or (negative) which of the live buffers to free.
      const step = fc.oneof(fc.integer({ min: 1, max: 3 * chunk }), fc.integer({ min: -100, max: -1 }));
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
          const live: Uint8Array[] = [];
          for (const value of steps) {
            if (value < 0) {
              if (live.length > 0) await arena.free(live.splice(-value % live.length, 1)[0]!);
              continue;
            }
            let buffer: Uint8Array;
            try {
              buffer = arena.alloc(value);
            } catch (error) {
              assert.equal((error as { code?: string }).code, "ERR_PINLESS_ARENA_FULL");
              continue;
            }
            const start = buffer.byteOffset - base;
            assert.equal(buffer.byteLength, value);
            assert.equal(start % PAGE, 0);
            assert.ok(start >= 0 && start + value <= 2 * MIB, "outside of the arena");
            if (value <= chunk)
              assert.equal(Math.floor(start / chunk), Math.floor((start + value - 1) / chunk), "straddles a chunk");
            for (const other of live) {
              const apart =
                other.byteOffset + other.byteLength <= buffer.byteOffset ||
                buffer.byteOffset + buffer.byteLength <= other.byteOffset;
              assert.ok(apart, "two live buffers overlap");
            }
            live.push(buffer);
          }
          for (const buffer of live) await arena.free(buffer);
          // Nothing was lost on the way: the whole arena is one free piece again.
          await arena.free(arena.alloc(2 * MIB));
        }),
        { numRuns: 60 },
      );
    });
  });

  test(named("Arena.alloc throws ERR_PINLESS_ARENA_FULL when full, and has room again after free"), () =>
    withEngine(ground, {}, async (engine) => {
      const arena = await engine.arena({ bytes: 2 * MIB });
      assert.equal(arena.bytes, 2 * MIB);
      const buffers = Array.from({ length: 2 }, () => arena.alloc(MIB));
      assert.throws(() => arena.alloc(1), { code: "ERR_PINLESS_ARENA_FULL" });
      await arena.free(buffers[0]!);
      arena.alloc(MIB);
      assert.throws(() => arena.alloc(1), { code: "ERR_PINLESS_ARENA_FULL" });
      for (const bytes of [0, -1, 1.5, Number.NaN, "1" as unknown as number])
        assert.throws(() => arena.alloc(bytes), { code: "ERR_OUT_OF_RANGE" });
    }),
  );

  test(named("Arena.free refuses a second free, parts, and foreign views"), () =>
    withEngine(ground, {}, async (engine) => {
      const arena = await engine.arena({ bytes: 2 * MIB });
      const other = await engine.arena({ bytes: 2 * MIB });
      const buffer = arena.alloc(3 * PAGE);
      await assert.rejects(arena.free(buffer.subarray(PAGE)), { code: "ERR_PINLESS_NOT_ALLOCATED" });
      await assert.rejects(arena.free(buffer.subarray(0, PAGE)), { code: "ERR_PINLESS_NOT_ALLOCATED" });
      await assert.rejects(other.free(buffer), { code: "ERR_PINLESS_RANGE" });
      await assert.rejects(arena.free(new Uint8Array(PAGE)), { code: "ERR_PINLESS_RANGE" });
      await assert.rejects(arena.free(undefined as unknown as Uint8Array), { code: "ERR_INVALID_ARG_TYPE" });
      const first = arena.free(buffer);
      await assert.rejects(arena.free(buffer), { code: "ERR_PINLESS_NOT_ALLOCATED" });
      await first;
      await assert.rejects(arena.free(buffer), { code: "ERR_PINLESS_NOT_ALLOCATED" });
    }),
  );

  test(
    named("Arena.free waits for I/O on the buffer, also for reads that still wait for room in the ring"),
    async () => {
      const path = await ground.file(numberedBlocks(64));
      await withEngine(ground, { depth: 1 }, async (engine) => {
        const file = await engine.openFile(path, "r");
        const arena = await engine.arena({ bytes: 2 * MIB });
        const events: string[] = [];
        const reads: Promise<unknown>[] = [];
        for (let i = 0; i < 20; i++) {
          const buffer = arena.alloc(BLOCK_BYTES);
          reads.push(file.read(buffer, { position: i * BLOCK_BYTES }).then(() => events.push(`read ${i}`)));
          reads.push(arena.free(buffer).then(() => events.push(`free ${i}`)));
        }
        await Promise.all(reads);
        for (let i = 0; i < 20; i++)
          assert.ok(events.indexOf(`read ${i}`) < events.indexOf(`free ${i}`), `buffer ${i} was freed under its read`);
      });
    },
  );

  test(named("Arena.grow adds room and leaves views and their content where they are"), () =>
    withEngine(ground, {}, async (engine) => {
      const path = await ground.file(numberedBlocks(16));
      const file = await engine.openFile(path, "r");
      const arena = await engine.arena({ bytes: 2 * MIB });
      const before = arena.alloc(2 * MIB);
      before.fill(0x5a);
      assert.throws(() => arena.alloc(1), { code: "ERR_PINLESS_ARENA_FULL" });
      await arena.grow(3 * MIB);
      assert.equal(arena.bytes, 6 * MIB, "rounded up to whole huge pages");
      const after = arena.alloc(4 * MIB);
      await file.read(after.subarray(0, 16 * BLOCK_BYTES), { position: 0 });
      assert.equal(wrongBlocks(after.subarray(0, 16 * BLOCK_BYTES), 0), null);
      assert.ok(isFilledWith(before, 0x5a));
      await file.read(before.subarray(0, BLOCK_BYTES), { position: BLOCK_BYTES });
      assert.equal(wrongBlocks(before.subarray(0, BLOCK_BYTES), 1), null);
      await assert.rejects(arena.grow(0), { code: "ERR_OUT_OF_RANGE" });
      const { pages } = await arena.discard();
      assert.equal(pages, (6 * MIB) / PAGE, "an operation on the whole arena covers all its segments");
      assert.ok(isFilledWith(before, 0) && isFilledWith(after, 0));
    }),
  );

  test(named("Arena.discard zeroes exactly the range, whatever its edges, and reports it"), () =>
    withEngine(ground, {}, async (engine) => {
      const arena = await engine.arena({ bytes: 4 * MIB });
      const memory = arena.alloc(4 * MIB);
      const random = new Random(42);
      for (let round = 0; round < 60; round++) {
        memory.fill(0xab);
        // Inside a page, across a few, and across chunks.
        const length = [1 + random.below(PAGE), 1 + random.below(5 * PAGE), 1 + random.below(3 * MIB)][round % 3]!;
        const start = random.below(memory.byteLength - length);
        const whole = round % 4 === 0;
        const from = whole ? start - (start % PAGE) : start;
        const report = await arena.discard(
          memory.subarray(from, from + length),
          round % 2 === 0 ? {} : { lazily: true },
        );
        assert.equal(report.event, "CLEAR");
        assert.equal(report.busy, 0);
        assert.equal(report.done, report.pages);
        if (round % 2 === 0)
          assert.ok(isFilledWith(memory.subarray(from, from + length), 0), `round ${round}: not zeroed`);
        assert.ok(isFilledWith(memory.subarray(0, from), 0xab), `round ${round}: bytes before the range changed`);
        assert.ok(isFilledWith(memory.subarray(from + length), 0xab), `round ${round}: bytes after the range changed`);
      }
      assert.equal(engine.stats().invalidations.CLEAR, 60);
    }),
  );

  test(named("Arena operations refuse what isn't this arena's"), () =>
    withEngine(ground, {}, async (engine) => {
      const arena = await engine.arena({ bytes: 2 * MIB });
      const other = await engine.arena({ bytes: 2 * MIB });
      const foreign = other.alloc(PAGE);
      const buffer = arena.alloc(2 * PAGE);
      // The buffer behind the views reaches further than the arena does.
      const outside = new Uint8Array(buffer.buffer, 0, buffer.byteOffset + PAGE);
      const ranges = [foreign, new Uint8Array(PAGE), buffer.subarray(0, 0), buffer.subarray(PAGE, PAGE)];
      if (buffer.byteOffset > 0) ranges.push(outside);
      for (const range of ranges) {
        await assert.rejects(arena.discard(range), { code: "ERR_PINLESS_RANGE" });
        await assert.rejects(arena.collapse(range), { code: "ERR_PINLESS_RANGE" });
      }
      await assert.rejects(arena.discard("all" as unknown as Uint8Array), { code: "ERR_INVALID_ARG_TYPE" });
      for (const bytes of [0, -1, 0.5, Number.NaN])
        await assert.rejects(engine.arena({ bytes }), { code: "ERR_OUT_OF_RANGE" });
      await assert.rejects(engine.arena(undefined as unknown as { bytes: number }), { code: "ERR_OUT_OF_RANGE" });
      assert.equal(engine.notifier.inProgress, 0, "a refused operation left an invalidation open");
    }),
  );

  test(named("Arena.close leaves zeros to its views and EFAULT to I/O on them"), async () => {
    const path = await ground.file(numberedBlocks(64));
    await withEngine(ground, { depth: 2 }, async (engine) => {
      const file = await engine.openFile(path, "r+");
      const arena = await engine.arena({ bytes: 4 * MIB });
      const memory = arena.alloc(2 * MIB);
      memory.fill(0xcd);
      // Some of these are in flight, some wait for room: each gets its bytes, or EFAULT if it hadn't begun.
      const outcomes = Array.from({ length: 24 }, (_, i) => {
        // Every other one by a copy, which must not come later than the zeros.
        const buffer = memory.subarray(i * BLOCK_BYTES + (i % 2), (i + 1) * BLOCK_BYTES + (i % 2));
        return file.read(buffer, { position: i * BLOCK_BYTES }).then(
          ({ bytesRead }) => bytesRead,
          (error) => error.code,
        );
      });
      await arena.close();
      assert.ok(isFilledWith(memory, 0));
      for (const outcome of await Promise.all(outcomes)) assert.ok([BLOCK_BYTES, "EFAULT"].includes(outcome), outcome);
      await file.read(new Uint8Array(PAGE), { position: 0 });
      assert.ok(isFilledWith(memory, 0), "something was copied into closed memory");
      memory.fill(0xef); // a stale view is ordinary memory outside of any arena
      assert.ok(isFilledWith(memory, 0xef));
      for (const [from, to] of [[0], [PAGE, 2 * PAGE], [1, 100], [1, PAGE + 1]] as const) {
        const view = memory.subarray(from, to);
        await assert.rejects(file.read(view, { position: 0 }), { code: "EFAULT", syscall: "read" });
        await assert.rejects(file.write(view, { position: 0 }), { code: "EFAULT", syscall: "write", bytesWritten: 0 });
        const errno = await new Promise((resolve) => file.submit("read", view, 0, resolve));
        assert.equal(errno, -14);
      }
      assert.ok(isFilledWith(memory, 0xef));
      await arena.close();
      assert.throws(() => arena.alloc(1), { code: "ERR_PINLESS_CLOSED" });
      await assert.rejects(arena.free(memory), { code: "ERR_PINLESS_CLOSED" });
      await assert.rejects(arena.discard(), { code: "ERR_PINLESS_CLOSED" });
      await assert.rejects(arena.grow(1), { code: "ERR_PINLESS_CLOSED" });
      // The engine goes on, and so does the memory of arenas made later.
      const later = (await engine.arena({ bytes: 2 * MIB })).alloc(BLOCK_BYTES);
      await file.read(later, { position: 5 * BLOCK_BYTES });
      assert.equal(wrongBlocks(later, 5), null);
      assert.equal(engine.stats().invalidations.UNMAP, 1);
    });
    assert.equal(wrongBlocks(await ground.contentOf(path), 0), null);
  });

  test(named("File.readv ends where a buffer fails, with what it has read by then, as readv(2) does"), async () => {
    const path = await ground.file(numberedBlocks(8));
    await withEngine(ground, {}, async (engine) => {
      const file = await engine.openFile(path, "r");
      const arena = await engine.arena({ bytes: 2 * MIB });
      const closed = await engine.arena({ bytes: 2 * MIB });
      const [good, bad] = [arena.alloc(2 * BLOCK_BYTES), closed.alloc(BLOCK_BYTES)];
      await closed.close();
      const { bytesRead } = await file.readv([good, bad, good], BLOCK_BYTES);
      assert.equal(bytesRead, 2 * BLOCK_BYTES);
      assert.equal(wrongBlocks(good, 1), null);
      await assert.rejects(file.readv([bad, good], 0), { code: "EFAULT" });
      // From the file's own position, which moves by as much.
      assert.equal((await file.readv([good.subarray(0, BLOCK_BYTES), bad])).bytesRead, BLOCK_BYTES);
      await file.read(good.subarray(0, BLOCK_BYTES));
      assert.equal(wrongBlocks(good.subarray(0, BLOCK_BYTES), 1), null);
    });
  });

  test(named("Arena.close lets writes that began write what the memory held"), async () => {
    const blocks = 700;
    const path = await ground.file(new Uint8Array(0));
    await withEngine(ground, { depth: 2 }, async (engine) => {
      const file = await engine.openFile(path, "r+");
      const arena = await engine.arena({ bytes: 4 * MIB });
      // Not aligned, so that it's copied in pieces; there isn't room to copy all of it at once.
      const memory = arena.alloc(blocks * BLOCK_BYTES + 4).subarray(4);
      memory.set(numberedBlocks(blocks));
      const writes = [0, 1, 2, 3].map((i) =>
        file.write(memory, { position: i * memory.byteLength }).then(
          ({ bytesWritten }) => bytesWritten,
          ({ code, bytesWritten }) => {
            assert.equal(code, "EFAULT");
            return bytesWritten as number;
          },
        ),
      );
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
      await arena.close();
      const written = await Promise.all(writes);
      assert.ok(written.some((bytes) => bytes > 0));
      const content = await ground.contentOf(path);
      for (const [i, bytes] of written.entries()) {
        const part = content.slice(i * memory.byteLength, i * memory.byteLength + bytes - (bytes % BLOCK_BYTES));
        assert.equal(wrongBlocks(part, 0), null, `write ${i} of ${bytes} bytes`);
      }
    });
  });

  test(named("Engine: memory of one engine is memory like any other to another engine"), async () => {
    const path = await ground.file(numberedBlocks(16));
    await withEngine(ground, {}, (one) =>
      withEngine(ground, {}, async (two) => {
        const buffer = (await one.arena({ bytes: 2 * MIB })).alloc(2 * BLOCK_BYTES);
        const file = await two.openFile(path, "r");
        await file.read(buffer, { position: 3 * BLOCK_BYTES });
        assert.equal(wrongBlocks(buffer, 3), null);
        assert.equal(two.stats().bounced, 1);
      }),
    );
  });
}
