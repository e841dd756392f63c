import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  CHUNK_WORDS,
  ChunkTable,
  DEVICE_READS,
  DEVICE_WRITES,
  GATE,
  IN_PROGRESS,
  NO_LEASE,
  READ_ONLY,
  REFUSED,
  SEGMENTS,
  UNLEASABLE,
  UNMAPPED,
} from "../../dist/protocol/chunk-table.js";

const CHUNK = 65536;
const PAGE = 4096;
const START = 0x7f00_0000_0000;

function tableOf(pages: number): ChunkTable {
  return new ChunkTable({ start: START, end: START + pages * PAGE }, CHUNK);
}

test("ChunkTable covers its range with chunks, the last one short", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), (pages) => {
      const table = tableOf(pages);
      let at = START;
      for (let c = 0; c < table.chunks; c++) {
        const { start, end } = table.rangeOf(c);
        assert.equal(start, at);
        assert.ok(end - start === CHUNK || c === table.chunks - 1);
        assert.equal(table.load(c, SEGMENTS), (end - start) / PAGE);
        at = end;
      }
      assert.equal(at, START + pages * PAGE);
    }),
  );
});

test("ChunkTable.chunksOf and chunkAt agree with a search of all chunks", () => {
  const page = fc.integer({ min: -20, max: 120 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), page, fc.nat(60), (pages, from, count) => {
      const table = tableOf(pages);
      const range = { start: START + from * PAGE, end: START + (from + count) * PAGE };
      const hit: number[] = [];
      for (let c = 0; c < table.chunks; c++) {
        const { start, end } = table.rangeOf(c);
        if (Math.max(start, range.start) < Math.min(end, range.end)) hit.push(c);
      }
      const found = table.chunksOf(range);
      assert.deepEqual(found, hit.length === 0 ? null : { first: hit[0], last: hit.at(-1) });
      if (found !== null && from >= 0) assert.equal(table.chunkAt(range.start), found.first);
    }),
  );
});

test("ChunkTable refuses an unaligned start, a chunk size that isn't a power of two, and words of another size", () => {
  const range = { start: START, end: START + 2 * CHUNK };
  assert.throws(() => new ChunkTable({ ...range, start: START + PAGE }, CHUNK), { invariant: "STATE" });
  assert.throws(() => new ChunkTable(range, CHUNK + PAGE), { invariant: "STATE" });
  assert.throws(() => new ChunkTable(range, CHUNK, new Int32Array(3 * CHUNK_WORDS)), { invariant: "STATE" });
});

test("ChunkTable uses the words of another thread, and changes none", () => {
  const range = { start: START, end: START + 2 * CHUNK };
  const first = new ChunkTable(range, CHUNK);
  first.setBits(1, UNMAPPED);
  first.add(0, DEVICE_WRITES, 2);
  const before = first.words.slice();
  const second = new ChunkTable(range, CHUNK, first.words);
  assert.deepEqual(second.words, before);
  assert.ok(first.words.buffer instanceof SharedArrayBuffer);
  second.add(0, DEVICE_READS, 1);
  assert.equal(first.inFlight(0, DEVICE_READS), 1);
});

test("ChunkTable's counters and gate bits leave each other and other chunks alone", () => {
  const bits = fc.nat(255);
  const step = fc.oneof(
    fc.record({ do: fc.constant("set" as const), bits }),
    fc.record({ do: fc.constant("clear" as const), bits }),
    fc.record({ do: fc.constant("in" as const), word: fc.constantFrom(DEVICE_READS, DEVICE_WRITES) }),
    fc.record({ do: fc.constant("out" as const), word: fc.constantFrom(DEVICE_READS, DEVICE_WRITES) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (list) => {
      const table = tableOf(48);
      const counts = { [DEVICE_READS]: 0, [DEVICE_WRITES]: 0 } as Record<number, number>;
      let gate = 0;
      for (const s of list) {
        if (s.do === "set" && s.bits !== 0) {
          gate |= s.bits;
          table.setBits(1, s.bits);
        } else if (s.do === "clear") {
          gate &= ~s.bits;
          table.clearBits(1, s.bits);
        } else if (s.do === "in") {
          counts[s.word]!++;
          table.add(1, s.word, 1);
        } else if (s.do === "out" && counts[s.word]! > 0) {
          counts[s.word]!--;
          table.add(1, s.word, -1);
        }
        assert.equal(table.load(1, GATE), gate);
        for (const word of [DEVICE_READS, DEVICE_WRITES] as const) assert.equal(table.inFlight(1, word), counts[word]);
      }
      const others = [...table.words.slice(0, CHUNK_WORDS), ...table.words.slice(2 * CHUNK_WORDS)];
      assert.ok(
        others.every((word, i) => word === 0 || i % CHUNK_WORDS === SEGMENTS),
        "other chunks",
      );
    }),
  );
});

test("ChunkTable.notePages counts a huge page as one segment, and each small page as one", () => {
  const table = tableOf(24);
  table.notePages(table.rangeOf(0), () => true);
  assert.equal(table.load(0, SEGMENTS), 1);
  table.notePages(table.rangeOf(0), () => false);
  assert.equal(table.load(0, SEGMENTS), 16);
  assert.equal(table.load(1, SEGMENTS), 8);
});

test("ChunkTable.notePages keeps what it knows of the rest of a chunk of several huge pages", () => {
  const AREA = 2 << 20;
  const start = 1024 * AREA;
  const table = new ChunkTable({ start, end: start + 5 * AREA }, 4 * AREA);
  const part = (first: number, last: number) => ({ start: start + first * AREA, end: start + last * AREA });
  assert.deepEqual(
    [0, 1].map((c) => table.load(c, SEGMENTS)),
    [4 * 512, 512],
  );
  table.notePages(part(0, 5), () => true);
  assert.deepEqual(
    [0, 1].map((c) => table.load(c, SEGMENTS)),
    [4, 1],
  );
  table.notePages(part(1, 3), (area) => area.start === start + AREA);
  assert.equal(table.load(0, SEGMENTS), 3 + 512);
  table.notePages(part(3, 5), () => false);
  assert.deepEqual(
    [0, 1].map((c) => table.load(c, SEGMENTS)),
    [2 + 2 * 512, 512],
  );
});

test("ChunkTable's bits of an invalidation in progress and those that forbid a lease are disjoint", () => {
  assert.equal(IN_PROGRESS & NO_LEASE, 0);
  for (const bit of [UNMAPPED, READ_ONLY, UNLEASABLE, REFUSED]) assert.notEqual(NO_LEASE & bit, 0);
});
