/**
 * Arenas that are a mapping of a file: what is read into them, what is in the file for it, and what each operation
 * does.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Arena } from "../../dist/engine/arena.js";
import type { PortableEngine } from "../../dist/engine/engine.js";
import type { File, Invalidation, MmuEvent, OperationReport } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { Random } from "../support/random.js";
import { until } from "../support/until.js";
import { type Bed, BLOCKS, CHUNK, MIB, withArena } from "./bed.js";
import { type Ground, withEngine } from "./ground.js";

interface FileBed extends Bed {
  /** Path of the mapped file. */
  readonly path: string;
}

async function withBed(ground: Ground, body: (bed: FileBed) => Promise<void>): Promise<void> {
  const path = await ground.file(new Uint8Array(0));
  const makeArena = (engine: PortableEngine): Promise<Arena> => engine.arena({ file: path, bytes: 2 * MIB });
  await withArena(ground, makeArena, MIB, (bed) => body({ ...bed, path }));
}

function assertDone(report: OperationReport, event: MmuEvent, pages: number): void {
  const { waited, ...counts } = report;
  assert.deepEqual(counts, { event, pages, done: pages, busy: 0 });
  assert.ok(waited >= 0);
}

function submitted(file: File, op: "read" | "write", buffer: Uint8Array, position: number): Promise<[number, number]> {
  return new Promise((resolve) => {
    assert.notEqual(
      file.submit(op, buffer, position, (errno, bytes) => resolve([errno, bytes])),
      "busy",
    );
  });
}

async function begun(engine: PortableEngine, start: number, end: number, event: MmuEvent): Promise<Invalidation> {
  const invalidation = engine.notifier.invalidateRangeStart({ start, end }, event);
  await until("the start of an invalidation", () => invalidation.state === "begun");
  return invalidation;
}

export function fileArenas(ground: Ground): void {
  const named = (name: string): string => `${ground.name}: an arena of a file: ${name}`;

  test(named("what is read into it is copied there, whichever way, and is in the file"), () =>
    withBed(ground, async ({ engine, arena, memory, file, path }) => {
      const { submitted: before } = engine.stats();
      const block = (i: number): Uint8Array => memory.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
      await file.read(memory.subarray(0, 8 * BLOCK_BYTES), { position: 0 });
      assert.deepEqual(await submitted(file, "read", block(8), 8 * BLOCK_BYTES), [0, BLOCK_BYTES]);
      assert.equal(engine.stats().bounced, 2);
      const { buffers } = await file.readv([block(9), block(10)], 9 * BLOCK_BYTES);
      assert.equal(buffers.length, 2);
      // Unaligned: through the page cache.
      await file.read(memory.subarray(11 * BLOCK_BYTES, 11 * BLOCK_BYTES + 100), { position: 11 * BLOCK_BYTES });
      await file.read(memory.subarray(11 * BLOCK_BYTES + 100, 13 * BLOCK_BYTES), { position: 11 * BLOCK_BYTES + 100 });
      assert.equal(engine.stats().bounced, 6);
      assert.equal(engine.stats().submitted - before, 12, "a copy is a request too");
      assert.equal(wrongBlocks(memory.subarray(0, 13 * BLOCK_BYTES), 0), null);
      const end = await file.read(memory.subarray(13 * BLOCK_BYTES, 15 * BLOCK_BYTES), { position: 63 * BLOCK_BYTES });
      assert.equal(end.bytesRead, BLOCK_BYTES);
      assert.ok(isFilledWith(block(14), 0));
      assert.ok(!engine.stats().degraded.some((why) => why.includes("refused")), "a registration was tried");
      assertDone(await arena.writeback(), "PROTECTION_PAGE", 512);
      const content = Uint8Array.from(await ground.contentOf(path));
      assert.equal(content.length, 2 * MIB);
      assert.equal(wrongBlocks(content.subarray(0, 13 * BLOCK_BYTES), 0), null);
    }),
  );

  test(named("what is written from it goes straight; from odd addresses it's copied"), () =>
    withBed(ground, async ({ engine, memory, file }) => {
      memory.set(numberedBlocks(100).subarray(32 * BLOCK_BYTES));
      for (let i = 0; i < 4; i++) await file.write(memory.subarray(0, 4 * BLOCK_BYTES), { position: 0 });
      assert.deepEqual(await submitted(file, "write", memory.subarray(0, BLOCK_BYTES), 0), [0, BLOCK_BYTES]);
      assert.equal(engine.stats().bounced, 0);
      assert.equal(engine.stats().leases.taken, 0);
      const odd = memory.subarray(4 * BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 1);
      await file.write(odd, { position: 4 * BLOCK_BYTES });
      assert.ok(!file.direct || engine.stats().bounced === 1);
      const plain = new Uint8Array(5 * BLOCK_BYTES);
      await file.read(plain, { position: 0 });
      assert.equal(wrongBlocks(plain.subarray(0, 4 * BLOCK_BYTES), 32), null);
      assert.deepEqual(plain.subarray(4 * BLOCK_BYTES), odd);
    }),
  );

  test(named("an arena maps its file's pages, or the bytes asked for, to which the file is lengthened"), async () => {
    const path = await ground.file(new Uint8Array(5000).fill(7));
    await withEngine(ground, {}, async (engine) => {
      const whole = await engine.arena({ file: path });
      assert.equal(whole.bytes, 8192);
      const all = whole.alloc(8192);
      assert.ok(isFilledWith(all.subarray(0, 5000), 7) && isFilledWith(all.subarray(5000), 0));
      assert.equal((await ground.contentOf(path)).length, 5000, "as long as it was");
      const part = await engine.arena({ file: path, bytes: 1 });
      assert.equal(part.bytes, 4096);
      assert.equal((await ground.contentOf(path)).length, 5000, "never made shorter");
      const file = await engine.openFile(path, "r+");
      const longer = await engine.arena({ file, bytes: 3 * MIB + 1 });
      assert.equal(longer.bytes, 3 * MIB + 4096);
      assert.equal((await ground.contentOf(path)).length, 3 * MIB + 4096);
      // One file: what one of them stores the others load.
      longer.view(5000, 1)[0] = 9;
      await longer.writeback();
      assert.equal(all[5000], 9);
      await longer.close();
      assert.equal(
        (await file.read(Buffer.alloc(1), { position: 5000 })).buffer[0],
        9,
        "the file is still the caller's",
      );
      const made = await engine.arena({ file: `${path}.new`, bytes: 4096 });
      made.alloc(1)[0] = 1;
      assert.equal((await ground.contentOf(`${path}.new`))[0], 1);
    });
  });

  test(named("what can't be mapped is refused, with nothing left open"), async () => {
    const path = await ground.file(new Uint8Array(4096));
    const empty = await ground.file(new Uint8Array(0));
    await withEngine(ground, {}, async (engine) => {
      await assert.rejects(engine.arena({ file: `${path}.none` }), { code: "ENOENT", syscall: "open" });
      await assert.rejects(engine.arena({ file: empty }), { code: "ERR_OUT_OF_RANGE", message: /empty/ });
      if (ground.device !== undefined)
        await assert.rejects(engine.arena({ file: ground.device }), {
          code: "ERR_PINLESS_UNSUPPORTED",
          message: /regular/,
        });
      for (const bytes of [0, -1, 1.5, Number.NaN, "1" as unknown as number])
        await assert.rejects(engine.arena({ file: path, bytes }), { code: "ERR_OUT_OF_RANGE" });
      await assert.rejects(engine.arena({ file: path, bytes: 2 ** 52 }), { code: "EFBIG", syscall: "fallocate", path });
      const readOnly = await engine.openFile(path, "r");
      await assert.rejects(engine.arena({ file: readOnly }), { code: "EACCES", syscall: "mmap" });
      await assert.rejects(engine.arena({ file: readOnly, bytes: 8192 }), { code: "EBADF", syscall: "fallocate" });
      assert.equal((await ground.contentOf(path)).length, 4096);
    });
  });

  test(named("view() is what it has at a position; grow() maps what comes next"), () =>
    withBed(ground, async ({ arena, memory, file, path }) => {
      await file.read(arena.view(MIB, BLOCK_BYTES), { position: 5 * BLOCK_BYTES });
      assert.equal(arena.view(0, MIB).byteOffset, memory.byteOffset);
      await arena.grow(5000);
      assert.equal(arena.bytes, 2 * MIB + 8192);
      await file.read(arena.view(2 * MIB, 2 * BLOCK_BYTES), { position: 7 * BLOCK_BYTES });
      assertDone(await arena.writeback(arena.view(2 * MIB, 1)), "PROTECTION_PAGE", 1);
      const content = Uint8Array.from(await ground.contentOf(path));
      assert.equal(content.length, 2 * MIB + 8192);
      assert.equal(wrongBlocks(content.subarray(MIB, MIB + BLOCK_BYTES), 5), null);
      assert.equal(wrongBlocks(content.subarray(2 * MIB), 7), null);
      const nowhere = [
        [-1, 1],
        [0, 0],
        [2 * MIB + 8192, 1],
        [2 * MIB - 1, 2],
        [Number.NaN, 1],
        [0.5, 1],
        [0, 1.5],
      ] as const;
      for (const [at, bytes] of nowhere) assert.throws(() => arena.view(at, bytes), { code: "ERR_OUT_OF_RANGE" });
      await assert.rejects(arena.free(arena.view(MIB + 4096, 4096)), { code: "ERR_PINLESS_NOT_ALLOCATED" });
      await arena.free(memory);
      arena.alloc(MIB);
    }),
  );

  test(named("discard and pageOut lose nothing; collapse and discarding lazily are refused"), () =>
    withBed(ground, async ({ engine, arena, memory, file }) => {
      const part = memory.subarray(0, BLOCKS * BLOCK_BYTES);
      await file.read(part, { position: 0 });
      assertDone(await arena.discard(memory.subarray(1, 3 * BLOCK_BYTES - 1)), "CLEAR", 1);
      memory[MIB - 2] = 2;
      assertDone(await arena.discard(), "CLEAR", 512);
      assert.equal(wrongBlocks(part, 0), null);
      assert.equal(memory[MIB - 2], 2);
      memory[MIB - 1] = 1;
      assertDone(await arena.pageOut(), "CLEAR", 512);
      assert.equal(wrongBlocks(part, 0), null);
      assert.equal(memory[MIB - 1], 1);
      const unsupported = { code: "ERR_PINLESS_UNSUPPORTED" };
      await assert.rejects(arena.discard(memory, { lazily: true }), unsupported);
      await assert.rejects(arena.collapse(), unsupported);
      const anonymous = await engine.arena({ bytes: MIB });
      assert.throws(() => anonymous.view(0, 1), unsupported);
    }),
  );

  test(named("protect keeps reads out of it, and free makes it writable again"), () =>
    withBed(ground, async ({ arena, memory, file }) => {
      memory.fill(3);
      assertDone(await arena.protect("read", memory), "PROTECTION_VMA", 256);
      for (const bytes of [BLOCK_BYTES, 100])
        await assert.rejects(file.read(memory.subarray(0, bytes), { position: 0 }), { code: "EFAULT" });
      await file.write(memory.subarray(0, BLOCK_BYTES), { position: 0 });
      assert.ok(isFilledWith(memory, 3));
      await arena.free(memory);
      const again = arena.alloc(MIB);
      assert.equal(again.byteOffset, memory.byteOffset);
      assert.ok(isFilledWith(again, 3), "the file's bytes stay");
      await file.read(again.subarray(0, BLOCK_BYTES), { position: BLOCK_BYTES });
      assert.equal(wrongBlocks(again.subarray(0, BLOCK_BYTES), 1), null);
    }),
  );

  test(named("EXCLUSION: no copy during an invalidation that concerns reads; writes go on during writeback's"), () =>
    withBed(ground, async ({ engine, memory, file }) => {
      const start = ground.addressOf(memory);
      const plain = Buffer.alloc(1);
      for (const event of ["PROTECTION_PAGE", "CLEAR", "EXCLUSIVE"] as const) {
        memory.fill(1);
        const invalidation = await begun(engine, start, start + MIB, event);
        const { held } = engine.stats();
        const reads = [BLOCK_BYTES, 100].map((bytes, i) =>
          file.read(memory.subarray(i * CHUNK, i * CHUNK + bytes), { position: i * BLOCK_BYTES }),
        );
        await until("both copies are held", () => engine.stats().held === held + 2);
        if (event === "PROTECTION_PAGE")
          await file.write(memory.subarray(CHUNK, CHUNK + BLOCK_BYTES), { position: MIB });
        await file.read(plain, { position: 0 });
        assert.ok(isFilledWith(memory, 1), event);
        engine.notifier.invalidateRangeEnd(invalidation);
        await Promise.all(reads);
        assert.equal(wrongBlocks(memory.subarray(0, BLOCK_BYTES), 0), null);
        assert.deepEqual(
          memory.subarray(CHUNK, CHUNK + 100),
          numberedBlocks(2).subarray(BLOCK_BYTES, BLOCK_BYTES + 100),
        );
      }
    }),
  );

  test(
    named("EXCLUSION, LINEAR: reads arrive under a storm of operations, and none comes into what is exclusive"),
    () =>
      withBed(ground, async ({ engine, arena, memory, file }) => {
        const random = new Random(5);
        let running = true;
        const reader = async (lane: number): Promise<void> => {
          const part = memory.subarray(lane * 4 * BLOCK_BYTES, (lane + 1) * 4 * BLOCK_BYTES);
          while (running) {
            const first = random.below(BLOCKS - 4);
            await file.read(part, { position: first * BLOCK_BYTES });
            assert.equal(wrongBlocks(part, first), null);
          }
        };
        const readers = Promise.all(Array.from({ length: 8 }, (_, lane) => reader(lane)));
        const all = memory.subarray(0, 32 * BLOCK_BYTES);
        for (let round = 0; round < 12; round++) {
          await arena.exclusive(all, async (bytes) => {
            const before = Uint8Array.from(bytes);
            for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
            assert.deepEqual(bytes, before, "something was copied into it");
          });
          assertDone(await arena.writeback(all), "PROTECTION_PAGE", 32);
          assertDone(await arena.discard(), "CLEAR", 512);
          assert.equal((await arena.pageOut(all)).pages, 32);
        }
        running = false;
        await readers;
        assert.equal(engine.stats().failed, 0);
      }),
  );

  test(named("free and close wait for copies; after close it reads as zeros, and the file has all of it"), () =>
    withBed(ground, async ({ arena, memory, file, path }) => {
      const parts = Array.from({ length: 8 }, (_, i) =>
        memory.subarray(i * 4 * BLOCK_BYTES, (i + 1) * 4 * BLOCK_BYTES),
      );
      const reads = parts.map((part, i) => file.read(part, { position: i * 4 * BLOCK_BYTES }));
      await arena.free(memory);
      await Promise.all(reads);
      assert.equal(wrongBlocks(memory.subarray(0, 32 * BLOCK_BYTES), 0), null);
      const others = parts.map((part, i) => file.read(part, { position: (i + 8) * 4 * BLOCK_BYTES }));
      await arena.close();
      await Promise.all(others);
      assert.ok(isFilledWith(memory, 0));
      memory.fill(1);
      for (const bytes of [BLOCK_BYTES, 100]) {
        await assert.rejects(file.read(memory.subarray(0, bytes), { position: 0 }), { code: "EFAULT" });
        await assert.rejects(file.write(memory.subarray(0, bytes), { position: 0 }), { code: "EFAULT" });
      }
      assert.throws(() => arena.view(0, 1), { code: "ERR_PINLESS_CLOSED" });
      const content = Uint8Array.from(await ground.contentOf(path));
      assert.equal(wrongBlocks(content.subarray(0, 32 * BLOCK_BYTES), 32), null);
    }),
  );
}
