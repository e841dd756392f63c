/** engine.notifier used directly: the I/O that each event waits for, holds and lets through, and I/O after it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Arena } from "../../dist/engine/arena.js";
import type { PortableEngine } from "../../dist/engine/engine.js";
import type { File, MmuEvent } from "../../dist/index.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { BLOCKS, CHUNK, LEASES, MIB } from "./bed.js";
import { type Ground, withEngine } from "./ground.js";

/** For each event: the directions of I/O that wait, and the result of I/O after it. */
const EVENTS: Readonly<Record<MmuEvent, { read: "waits"; write: "waits" | "goes on"; after: string }>> = {
  UNMAP: { read: "waits", write: "waits", after: "EFAULT" },
  CLEAR: { read: "waits", write: "waits", after: "as before" },
  MIGRATE: { read: "waits", write: "waits", after: "as before" },
  PROTECTION_VMA: { read: "waits", write: "goes on", after: "EFAULT for reads" },
  PROTECTION_PAGE: { read: "waits", write: "goes on", after: "as before" },
  SOFT_DIRTY: { read: "waits", write: "goes on", after: "as before" },
  EXCLUSIVE: { read: "waits", write: "waits", after: "as before" },
  RELEASE: { read: "waits", write: "waits", after: "EFAULT" },
};

interface Bed {
  readonly engine: PortableEngine;
  readonly arena: Arena;
  readonly file: File;
  /** One chunk of it is invalidated, the other is beside it. */
  readonly chunk: Uint8Array;
  readonly beside: Uint8Array;
  readonly range: { readonly start: number; readonly end: number };
}

/** A request whose end can be looked at. */
interface Watched {
  errno: number | null;
  readonly ended: Promise<number>;
}

function watch(file: File, op: "read" | "write", buffer: Uint8Array, block: number): Watched {
  let resolve = (_: number): void => {};
  const watched: Watched = { errno: null, ended: new Promise((r) => (resolve = r)) };
  const answer = file.submit(op, buffer, block * BLOCK_BYTES, (errno) => {
    watched.errno = errno;
    resolve(errno);
  });
  assert.equal(answer, "queued");
  return watched;
}

export function notifier(ground: Ground): void {
  const named = (name: string): string => `${ground.name}: ${name}`;

  const withBed = async (body: (bed: Bed) => Promise<void>): Promise<void> => {
    const path = await ground.file(numberedBlocks(BLOCKS));
    await withEngine(ground, { depth: 64, lease: LEASES }, async (engine) => {
      const file = await engine.openFile(path, "r+");
      const arena = await engine.arena({ bytes: 2 * MIB });
      const [chunk, beside] = [arena.alloc(CHUNK), arena.alloc(CHUNK)];
      const start = ground.addressOf(chunk);
      await body({ engine, arena, file, chunk, beside, range: { start, end: start + CHUNK } });
    });
  };
  /** Long enough for whatever could go on to have done so: requests beside it come and go. */
  const letOthersRun = async ({ file, beside }: Bed): Promise<void> => {
    for (let i = 0; i < 20; i++) {
      await file.read(beside.subarray(0, BLOCK_BYTES), { position: i * BLOCK_BYTES });
      await file.write(beside.subarray(0, BLOCK_BYTES), { position: i * BLOCK_BYTES });
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const part = (view: Uint8Array, i: number): Uint8Array => view.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);

  for (const [event, expected] of Object.entries(EVENTS) as [MmuEvent, (typeof EVENTS)[MmuEvent]][]) {
    test(
      named(`invalidateRangeStart(${event}): reads wait, a write ${expected.write}; afterwards ${expected.after}`),
      () =>
        withBed(async (bed) => {
          const { engine, file, chunk, range } = bed;
          // With a lease where there are any, and with requests of both kinds in flight.
          for (let i = 0; i < 3; i++) await file.read(part(chunk, 0), { position: 0 });
          const early = [watch(file, "read", part(chunk, 0), 0), watch(file, "read", part(chunk, 1), 1)];
          const earlyWrite = watch(file, "write", part(chunk, 0), 0);
          let ready = (): void => {};
          const begun = new Promise<void>((resolve) => {
            // The last of them is answered right after it let the invalidation begin.
            ready = () => queueMicrotask(resolve);
          });
          const invalidation = engine.notifier.invalidateRangeStart(range, event, { ready: () => ready() });
          assert.equal(invalidation.state, "draining", "it began with requests in flight");
          await begun;
          assert.equal(invalidation.state, "begun");
          const reads = early.map(({ errno }) => errno);
          assert.deepEqual(reads, [0, 0], "EXCLUSION: it began with reads in flight");
          if (expected.write === "waits")
            assert.equal(earlyWrite.errno, 0, "EXCLUSION: it began with a write in flight");
          assert.equal(engine.notifier.inProgress, 1);
          // REVOKED_MEANS_REVOKED. PROTECTION_VMA doesn't wait for the lease.
          if (ground.pin === "lease" && event !== "PROTECTION_VMA")
            assert.equal(engine.stats().leases.live, event === "EXCLUSIVE" ? 1 : 0, "the lease of the range");
          chunk.fill(0);
          const late = watch(file, "read", part(chunk, 2), 2);
          const spanning = watch(file, "read", chunk.subarray(0, CHUNK), 0);
          const lateWrite = watch(file, "write", part(chunk, 3), 3);
          await letOthersRun(bed);
          assert.deepEqual([late.errno, spanning.errno], [null, null], "a read went on during the invalidation");
          assert.equal(lateWrite.errno, expected.write === "waits" ? null : 0, "FILTER");
          assert.equal(engine.stats().held, expected.write === "waits" ? 3 : 2);
          engine.notifier.invalidateRangeEnd(invalidation);
          const [read, span, write] = await Promise.all([late.ended, spanning.ended, lateWrite.ended]);
          const EFAULT = -14;
          assert.deepEqual([read, span], expected.after === "as before" ? [0, 0] : [EFAULT, EFAULT]);
          assert.equal(write, expected.after === "EFAULT" ? EFAULT : 0);
          if (read === 0) assert.equal(wrongBlocks(part(chunk, 2), 2), null);
          assert.equal(engine.notifier.inProgress, 0);
          const after = await watch(file, "read", part(chunk, 4), 4).ended;
          assert.equal(after, expected.after === "as before" ? 0 : EFAULT);
          if (after === 0) assert.equal(wrongBlocks(part(chunk, 4), 4), null);
          await letOthersRun(bed);
        }),
    );

    test(named(`invalidateRangeStart(${event}) that may not wait is refused, and changes nothing`), () =>
      withBed(async (bed) => {
        const { engine, file, chunk, range } = bed;
        await engine.releasePins();
        const start = (): unknown => engine.notifier.invalidateRangeStart(range, event, { blockable: false });
        const ready = (): never => assert.fail("a refused invalidation was ready");
        const busy = watch(file, "read", part(chunk, 0), 0);
        const before = engine.stats();
        assert.equal(start(), "EAGAIN");
        assert.equal(engine.notifier.invalidateRangeStart(range, event, { blockable: false, ready }), "EAGAIN");
        assert.deepEqual(engine.stats(), before, "BALANCED_VETO");
        assert.equal(engine.notifier.inProgress, 0);
        assert.equal(await busy.ended, 0);
        assert.equal(wrongBlocks(part(chunk, 0), 0), null);
        await engine.releasePins();
        // Without I/O and leases it begins at once; a second one there doesn't.
        const first = engine.notifier.invalidateRangeStart(range, event, { blockable: false });
        assert.ok(first !== "EAGAIN");
        assert.equal(first.state, "begun");
        assert.equal(start(), "EAGAIN");
        engine.notifier.invalidateRangeEnd(first);
        await letOthersRun(bed);
      }),
    );
  }

  test(named("invalidateRangeStart doesn't wait for I/O that comes after it, however much (BOUNDED_WAIT)"), () =>
    withBed(async (bed) => {
      const { engine, file, chunk, range } = bed;
      let running = true;
      const reader = async (i: number): Promise<void> => {
        while (running) {
          await file.read(part(chunk, i), { position: i * BLOCK_BYTES });
          assert.equal(wrongBlocks(part(chunk, i), i), null);
        }
      };
      const readers = Promise.all(Array.from({ length: 16 }, (_, i) => reader(i)));
      for (let round = 0; round < 100; round++) {
        await new Promise<void>((ready) => {
          const invalidation = engine.notifier.invalidateRangeStart(range, "CLEAR", {
            // Long enough that readers ask again, however many promises are between an answer and the next question.
            ready: () => void letOthersRun(bed).then(() => ready(engine.notifier.invalidateRangeEnd(invalidation))),
          });
        });
      }
      running = false;
      await readers;
      assert.ok(engine.stats().held >= 100, `${engine.stats().held} reads were held`);
    }),
  );

  test(named("invalidateRangeEnd lets held I/O go before the next invalidation begins (BOUNDED_HOLD)"), () =>
    withBed(async ({ engine, file, chunk, range }) => {
      await engine.releasePins();
      const { notifier } = engine;
      const order: string[] = [];
      const first = notifier.invalidateRangeStart(range, "CLEAR", { ready: () => order.push("first") });
      assert.equal(first.state, "begun");
      const read = watch(file, "read", part(chunk, 1), 1);
      let second = first;
      const begun = new Promise<void>((resolve) => {
        second = notifier.invalidateRangeStart({ start: range.start + 1, end: range.start + 2 }, "MIGRATE", {
          ready: () => {
            order.push("second");
            queueMicrotask(resolve);
          },
        });
      });
      assert.equal(second.state, "waiting");
      notifier.invalidateRangeEnd(first);
      await begun;
      assert.equal(read.errno, 0, "it began before the read that the first had held");
      notifier.invalidateRangeEnd(second);
      assert.equal(await read.ended, 0);
      assert.deepEqual(order, ["first", "second"]);
      assert.equal(wrongBlocks(part(chunk, 1), 1), null);
    }),
  );

  test(named("an invalidation doesn't begin over I/O that another on its way holds (BOUNDED_HOLD)"), () =>
    withBed(async ({ engine, arena, file, chunk, range }) => {
      await engine.releasePins();
      const { notifier } = engine;
      const besideRange = { start: range.start + CHUNK, end: range.end + CHUNK };
      const left = notifier.invalidateRangeStart(range, "CLEAR");
      const right = notifier.invalidateRangeStart(besideRange, "CLEAR");
      // Lies in both: the end of the one doesn't let it go.
      const edge = chunk.byteOffset + CHUNK - BLOCK_BYTES;
      const spanning = watch(file, "read", new Uint8Array(chunk.buffer, edge, 2 * BLOCK_BYTES), 3);
      let begun = (): void => {};
      const next = new Promise<void>((resolve) => (begun = resolve));
      const third = notifier.invalidateRangeStart(range, "CLEAR", { ready: () => queueMicrotask(begun) });
      notifier.invalidateRangeEnd(left);
      assert.equal(third.state, "waiting");
      assert.equal(spanning.errno, null);
      notifier.invalidateRangeEnd(right);
      await next;
      assert.equal(spanning.errno, 0, "it began before the read that it had waited for");
      notifier.invalidateRangeEnd(third);
      assert.equal(wrongBlocks(new Uint8Array(chunk.buffer, edge, 2 * BLOCK_BYTES), 3), null);
      assert.ok(arena.bytes > 0);
    }),
  );

  test(named("an invalidation that waited for another gets its turn, with nothing else going on"), () =>
    withBed(async ({ engine, file, chunk, beside, range }) => {
      const both = { start: range.start, end: range.end + CHUNK };
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 3; i++) {
          await file.read(part(chunk, 0), { position: 0 });
          await file.read(part(beside, 0), { position: 0 });
        }
        const begin = (where: typeof range): Promise<() => void> =>
          new Promise((resolve) => {
            const invalidation = engine.notifier.invalidateRangeStart(where, "CLEAR", {
              ready: () => resolve(() => engine.notifier.invalidateRangeEnd(invalidation)),
            });
          });
        const endFirst = await begin(range);
        const second = begin(both);
        const third = begin(both);
        endFirst();
        // The lease of the other chunk has to go for it.
        const endSecond = await second;
        endSecond();
        (await third)();
      }
    }),
  );

  test(named("invalidations of other ranges don't wait for each other, nor for I/O beside them"), () =>
    withBed(async (bed) => {
      const { engine, chunk, range, file } = bed;
      await engine.releasePins();
      const one = engine.notifier.invalidateRangeStart(range, "CLEAR");
      const besideRange = { start: range.start + CHUNK, end: range.end + CHUNK };
      const two = engine.notifier.invalidateRangeStart(besideRange, "UNMAP");
      assert.deepEqual([one.state, two.state, engine.notifier.inProgress], ["begun", "begun", 2]);
      const held = watch(file, "read", part(chunk, 0), 0);
      engine.notifier.invalidateRangeEnd(two);
      assert.equal(await watch(file, "read", part(bed.beside, 0), 0).ended, -14);
      assert.equal(held.errno, null);
      engine.notifier.invalidateRangeEnd(one);
      assert.equal(await held.ended, 0);
      assert.equal(wrongBlocks(part(chunk, 0), 0), null);
    }),
  );
}
