/** Many ranges in one call: readMany and writeMany. */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { type PlannedRead, ReadPlan, Targets } from "../../dist/files/range-plan.js";
import { Engine, type File, type FileRange } from "../../dist/index.js";
import { cachedBytes, forget } from "../support/page-cache.js";
import { Random } from "../support/random.js";
import { rounds } from "../support/rounds.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const BLOCK = 4096;
const BYTES = 300 * BLOCK + 1234;

/** Opens a file of random bytes on disk; on an engine of its own. */
async function opened(
  t: TestContext,
  {
    scheme = "auto",
    directory = scratchDirectory(t),
  }: { scheme?: "auto" | "io_uring" | "aio" | "direct"; directory?: string } = {},
): Promise<{ engine: Engine; file: File; name: string; content: Buffer }> {
  const name = path.join(directory, "file");
  const content = Buffer.from(new Random(7).bytes(BYTES));
  writeFileSync(name, content);
  forget(name);
  const engine = await Engine.open({ scheme });
  undoing(t, () => engine.close());
  return { engine, file: await engine.openFile(name, "r+"), name, content };
}

const range = fc.record({
  position: fc.integer({ min: 0, max: BYTES + 2 * BLOCK }),
  length: fc.oneof(fc.constantFrom(0, 1, 100, BLOCK), fc.integer({ min: 0, max: 400_000 })),
});
const limits = fc.record({
  mergeWithinBytes: fc.constantFrom(0, BLOCK, 5 * BLOCK, 1 << 20),
  amplificationMax: fc.constantFrom(1, 1.5, 2, 10),
});

function emptyRead(): PlannedRead {
  return { position: 0, bytes: 0, targets: [] };
}

/** Blocks that ranges touch, each once. */
function blocksOf(ranges: readonly { position: number; length: number }[]): Set<number> {
  const blocks = new Set<number>();
  for (const { position, length } of ranges)
    for (let block = Math.floor(position / BLOCK); block * BLOCK < position + length; block++) blocks.add(block);
  return blocks;
}

test("the plan of a readMany has each block of the ranges once, and no more bytes than its limits allow", () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 40 }), limits, (ranges, merging) => {
      const asked = ranges.filter(({ length }) => length > 0).sort((a, b) => a.position - b.position);
      const targets = new Targets(asked.length);
      for (const { position, length } of asked) targets.add(position, length, new Uint8Array(0), 0);
      const plan = new ReadPlan(targets, Uint32Array.from(asked.keys()), BLOCK, merging);
      const reads: PlannedRead[] = [];
      for (let read = emptyRead(); plan.next(read); read = emptyRead()) reads.push(read);
      const needed = blocksOf(asked);
      const read = reads.reduce((sum, { bytes }) => sum + bytes, 0);
      assert.ok(read <= merging.amplificationMax * needed.size * BLOCK, `${read} bytes for ${needed.size} blocks`);
      let end = 0;
      for (const { position, bytes } of reads) {
        assert.ok(position >= end && position % BLOCK === 0 && bytes % BLOCK === 0 && bytes > 0);
        end = position + bytes;
        for (let block = position / BLOCK; block * BLOCK < end; block++) needed.delete(block);
      }
      assert.equal(needed.size, 0, "blocks that aren't read");
      const wanted = asked.reduce((sum, { length }) => sum + length, 0);
      let delivered = 0;
      for (const { position, bytes, targets: of } of reads)
        for (const i of of)
          delivered += Math.max(
            0,
            Math.min(targets.ends[i]!, position + bytes) - Math.max(asked[i]!.position, position),
          );
      assert.equal(delivered, wanted, "a range gets bytes twice, or not all");
    }),
  );
});

for (const scheme of ["io_uring", "aio", "direct"] as const)
  test(`${scheme}: readMany gives random ranges as slices of the file, in the order asked`, async (t) => {
    const { file, content } = await opened(t, { scheme });
    await fc.assert(
      fc.asyncProperty(fc.array(range, { maxLength: 30 }), limits, async (ranges, options) => {
        const expected = ranges.map(({ position, length }) => content.subarray(position, position + length));
        const all = await file.readMany(ranges, options).toArray();
        assert.equal(all.length, ranges.length);
        for (const [i, bytes] of all.entries()) assert.ok(expected[i]!.equals(bytes), `range ${i}`);
        let seen = 0;
        for await (const bytes of file.readMany(new Set(ranges), options))
          assert.ok(expected[seen++]!.equals(bytes), `range ${seen} of the iteration`);
        assert.equal(seen, ranges.length);
      }),
      { numRuns: 60 },
    );
    await file.close();
  });

test("readMany goes around the page cache, reads shared bytes once, and takes from it what it has", async (t) => {
  const { engine, file, name } = await opened(t);
  const ranges = [5, 0, 5, 100, 5].map((block) => ({ position: block * BLOCK + 7, length: 100 }));
  const { submitted, buffered } = engine.stats();
  await file.readMany(ranges, { mergeWithinBytes: 0 }).toArray();
  const cold = engine.stats();
  assert.deepEqual([cold.submitted - submitted, cold.buffered - buffered], [3, 0]);
  assert.equal(cachedBytes(name), 0);
  readFileSync(name);
  await file.readMany(ranges, { mergeWithinBytes: 0 }).toArray();
  assert.equal(engine.stats().buffered - cold.buffered, 3);
  await file.close();
});

test("readMany reads into given memory: of an arena directly, into any other by a copy", async (t) => {
  const { engine, file, content } = await opened(t);
  const arena = await engine.arena({ bytes: 1 << 20 });
  const [whole, tail] = [arena.alloc(2 * BLOCK), arena.alloc(BLOCK)];
  const plain = new Uint16Array(500);
  const bounced = engine.stats().bounced;
  const direct = await file.readMany([{ position: BLOCK, buffer: whole }]).toArray();
  assert.equal(direct[0], whole);
  assert.equal(engine.stats().bounced, bounced);
  const results = await file
    .readMany([
      { position: 3, buffer: plain, length: 999 },
      { position: 300 * BLOCK, buffer: tail },
      { position: BYTES, buffer: Buffer.alloc(10) },
    ])
    .toArray();
  assert.ok(content.subarray(BLOCK, 3 * BLOCK).equals(whole));
  assert.ok(content.subarray(3, 1002).equals(results[0]!));
  assert.equal(results[0]!.buffer, plain.buffer);
  assert.ok(content.subarray(300 * BLOCK).equals(results[1]!));
  assert.equal(results[2]!.byteLength, 0);
  await file.close();
});

test("a result of readMany is as long as what the file has of its range, however much was asked for", async (t) => {
  const { file, content } = await opened(t);
  const ranges = [
    { position: 10, length: 2 ** 50 },
    { position: 2 ** 52, length: 2 ** 50 },
    { position: 0, length: 0 },
  ];
  const all = await file.readMany(ranges).toArray();
  assert.deepEqual(
    all.map(({ byteLength }) => byteLength),
    [BYTES - 10, 0, 0],
  );
  assert.ok(content.subarray(10).equals(all[0]!));
  await file.close();
});

test("hundreds of thousands of ranges are read, whole or in part", async (t) => {
  const { file, content } = await opened(t);
  const ranges = Array.from({ length: rounds(200_000, 1_000_000) }, (_, i) => ({
    position: (i * 7919) % BYTES,
    length: 8,
  }));
  const all = await file.readMany(ranges).toArray();
  assert.equal(all.length, ranges.length);
  for (let i = 0; i < all.length; i += 997)
    assert.ok(content.subarray(ranges[i]!.position, ranges[i]!.position + 8).equals(all[i]!));
  let seen = 0;
  for await (const bytes of file.readMany(ranges)) if (bytes.length > 0 && ++seen === 20_000) break;
  await file.close();
});

test("readMany refuses wrong arguments at once; its results reject on a file that can't be read", async (t) => {
  const { engine, file, name } = await opened(t);
  const refused: [unknown, unknown, string][] = [
    [[{ position: -1, length: 1 }], {}, "ERR_OUT_OF_RANGE"],
    [[{ position: 0.5, length: 1 }], {}, "ERR_OUT_OF_RANGE"],
    [[{ position: 0, length: -1 }], {}, "ERR_OUT_OF_RANGE"],
    [[{ position: 1, length: Number.MAX_SAFE_INTEGER }], {}, "ERR_OUT_OF_RANGE"],
    [[{ position: 0, length: 2, buffer: new Uint8Array(1) }], {}, "ERR_OUT_OF_RANGE"],
    [[{ position: "0", length: 1 }], {}, "ERR_INVALID_ARG_TYPE"],
    [[{ position: 0 }], {}, "ERR_INVALID_ARG_TYPE"],
    [[{ position: 0, buffer: "text" }], {}, "ERR_INVALID_ARG_TYPE"],
    [[null], {}, "ERR_INVALID_ARG_TYPE"],
    [7, {}, "ERR_INVALID_ARG_TYPE"],
    [[], { signal: 1 }, "ERR_INVALID_ARG_TYPE"],
    [[], { amplificationMax: 0.5 }, "ERR_PINLESS_OPTION"],
    [[], { mergeWithinBytes: -1 }, "ERR_PINLESS_OPTION"],
    [[], { merge: 1 }, "ERR_PINLESS_OPTION"],
  ];
  for (const [ranges, options, code] of refused)
    assert.throws(() => file.readMany(ranges as FileRange[], options as object), { code }, JSON.stringify(ranges));
  const writeOnly = await engine.openFile(name, "w");
  await assert.rejects(writeOnly.readMany([]).toArray(), { code: "EBADF" });
  await writeOnly.close();
  const directory = await engine.openFile(path.dirname(name), "r");
  await assert.rejects(directory.readMany([{ position: 3, length: 4 }]).toArray(), { code: "EISDIR", position: 3 });
  await directory.close();
  await file.close();
  await assert.rejects(file.readMany([{ position: 0, length: 1 }]).toArray(), { code: "EBADF" });
});

test("an aborted readMany rejects, and leaves nothing in flight", async (t) => {
  const { engine, file } = await opened(t);
  const arena = await engine.arena({ bytes: 4 << 20 });
  const ranges = Array.from({ length: 600 }, (_, i) =>
    i % 2 === 0 ? { position: 2 * i, length: 500 } : { position: (i % 300) * BLOCK, buffer: arena.alloc(BLOCK) },
  );
  const reason = new Error("enough");
  await assert.rejects(file.readMany(ranges, { signal: AbortSignal.abort(reason) }).toArray(), { code: "ABORT_ERR" });
  const abort = new AbortController();
  const reading = file.readMany(ranges, { signal: abort.signal, mergeWithinBytes: 0 }).toArray();
  setImmediate(() => abort.abort(reason));
  await assert.rejects(reading, { code: "ABORT_ERR", cause: reason });
  const { submitted, completed, failed } = engine.stats();
  assert.equal(submitted, completed + failed);
  assert.equal((await file.readMany(ranges).toArray()).length, 600);
  await file.close();
});

for (const scheme of ["io_uring", "aio", "direct"] as const)
  test(`${scheme}: writeMany leaves the file as the writes in the order given would`, async (t) => {
    const { file, name, content } = await opened(t, { scheme });
    const random = new Random(3);
    const one = fc.record({
      position: fc.oneof(
        fc.integer({ min: 0, max: 60 }).map((block) => block * BLOCK),
        fc.integer({ min: 0, max: BYTES }),
      ),
      length: fc.constantFrom(0, 1, 100, BLOCK, 3 * BLOCK, 5000),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(one, { maxLength: 20 }), async (places) => {
        const writes = places.map(({ position, length }) => ({ position, buffer: Buffer.from(random.bytes(length)) }));
        let expected = content;
        for (const { position, buffer } of writes) {
          if (position + buffer.length > expected.length && buffer.length > 0)
            expected = Buffer.concat([expected, Buffer.alloc(position + buffer.length - expected.length)]);
          buffer.copy(expected, position);
        }
        await file.truncate(BYTES);
        const { bytesWritten } = await file.writeMany(writes);
        assert.equal(
          bytesWritten,
          places.reduce((sum, { length }) => sum + length, 0),
        );
        assert.ok(readFileSync(name).equals(expected));
        expected.copy(content);
      }),
      { numRuns: 40 },
    );
    await file.close();
  });

test("a writeMany that fails says which writes were done", async (t) => {
  const { engine, file } = await opened(t);
  const buffer = Buffer.alloc(10);
  await assert.rejects(file.writeMany([{ position: -1, buffer }]), { code: "ERR_OUT_OF_RANGE" });
  await assert.rejects(file.writeMany([{ position: 0, buffer: 5 } as never]), { code: "ERR_INVALID_ARG_TYPE" });
  // The last is beyond the largest file of any filesystem here. The one that overlaps it isn't begun.
  const last = Number.MAX_SAFE_INTEGER - 20;
  const writes = [
    { position: 0, buffer },
    { position: 50, buffer },
    { position: last, buffer },
    { position: last + 5, buffer },
  ];
  await assert.rejects(file.writeMany(writes), (error: Error & { written: number[] }) => {
    const { bytesWritten, index, position, written, code } = error as never;
    assert.deepEqual(
      { bytesWritten, index, position, written, code },
      {
        bytesWritten: 20,
        index: 2,
        position: last,
        written: [0, 1],
        code: "EFBIG",
      },
    );
    return true;
  });
  await assert.rejects(file.writeMany(writes, { signal: AbortSignal.abort() }), { code: "ABORT_ERR", bytesWritten: 0 });
  await file.close();
  await assert.rejects(file.writeMany([{ position: 0, buffer }]), { code: "EBADF" });
  assert.equal(engine.stats().submitted > 0, true);
});
