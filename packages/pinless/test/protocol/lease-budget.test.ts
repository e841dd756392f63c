// The budget of leases: which lease makes room for another, and when a lease is worth its cost.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DEVICE_READS, LEASE, SEGMENTS, USED_MS } from "../../dist/protocol/chunk-table.js";
import { WRITE } from "../../dist/protocol/direction.js";
import { MAX_SEGMENTS, PINNED_PAGES } from "../../dist/protocol/lease-table.js";
import { PAGE, setUp, setUpWith } from "./lease-bed.js";

const HUGE_PAGE = 512 * PAGE;

test("Leases.acquire makes room by dropping the least recently used lease, one each millisecond (BUDGET)", () => {
  const { use, said, leases, gone } = setUpWith([0, 1, 2], { slots: 3 });
  leases.table.use(0, WRITE, 9);
  use(5, 10);
  assert.equal(use(5, 11), -1, "the slot isn't free yet");
  assert.deepEqual(said(), ["drop 1"]);
  use(6, 11);
  assert.equal(use(6, 11), -1);
  assert.deepEqual(said(), [], "another in the same millisecond");
  leases.released(1, 12);
  assert.deepEqual(gone, [1]);
  assert.equal(use(5, 12), 1);
  assert.deepEqual(said(), ["take 1: chunk 5, 16 pages"]);
});

test("Leases.acquire makes room when bytes or segments are short, not only slots", () => {
  const short = setUpWith([0, 1], { budgetPages: 32 });
  short.use(2, 10);
  assert.equal(short.use(2, 11), -1);
  assert.deepEqual(short.said(), ["drop 0"]);
  const many = setUpWith([], { slots: 8, budgetPages: 1 << 20 });
  for (const chunk of [0, 1]) many.table.store(chunk, SEGMENTS, MAX_SEGMENTS / 2);
  for (const chunk of [0, 1, 2]) {
    many.use(chunk, chunk + 1);
    many.use(chunk, chunk + 2);
  }
  assert.deepEqual(many.said(), ["take 0: chunk 0, 16 pages", "take 1: chunk 1, 16 pages", "drop 0"]);
});

test("Leases.acquire spares a lease in use, in either direction", () => {
  const { use, said, table } = setUpWith([0, 1], { slots: 2 });
  table.add(0, DEVICE_READS, 1);
  use(5, 10);
  use(5, 11);
  assert.deepEqual(said(), ["drop 1"]);
  table.add(1, DEVICE_READS, 1);
  use(5, 12);
  assert.deepEqual(said(), [], "all are used, or on their way");
});

test("Leases.acquire drops nothing for a chunk that could never fit", () => {
  const { use, said } = setUpWith([], { budgetPages: 15 });
  use(5, 10);
  assert.equal(use(5, 11), -1);
  assert.deepEqual(said(), []);
});

test("Leases.acquire counts a part of a huge page as all of it", () => {
  const { use, table, leases } = setUp({ budgetPages: 1024, slots: 8 });
  for (const chunk of [0, 1, 2]) {
    table.notePages(table.rangeOf(chunk), () => true);
    use(chunk, chunk + 1);
    use(chunk, chunk + 2);
  }
  assert.equal(leases.table.header(PINNED_PAGES), (2 * HUGE_PAGE) / PAGE);
  assert.equal(leases.held, 2, "the third made the first one go");
});

test("Leases.acquire with many chunks takes a lease once per-io requests have cost as much", () => {
  const { use, answers } = setUp({ idleMs: 10, slots: 8, chunks: 129 });
  answers.costPages = 20;
  for (let n = 0; n < 20; n++) assert.equal(use(0, 1 + n), -1, `${n} pages before`);
  assert.equal(use(0, 21), 0);
  for (const ms of [1, 2, 3, 4]) assert.equal(use(1, ms, false, 5 * PAGE), -1);
  assert.equal(use(1, 5, false, PAGE), 1, "large requests sooner");
  for (let n = 0; n < 100; n++) assert.equal(use(2, 1 + 10 * n), -1, "a pause each");
});

test("Leases.acquire with a few large chunks takes a lease once it has paid, as with many small ones", () => {
  const { use, answers } = setUp({ idleMs: 10, chunks: 2, chunkBytes: 4 << 20 });
  answers.costPages = 20;
  for (let n = 0; n < 20; n++) assert.equal(use(0, 1 + n), -1);
  assert.equal(use(0, 21), 0);
});

test("Leases.acquire with a few chunks looks at a lease's cost only for a second after there was no room", () => {
  const { use, answers, said, leases } = setUp({ idleMs: 10_000, slots: 1, maxMs: 3_600_000, budgetPages: 16 });
  answers.costPages = 1000;
  use(0, 1);
  assert.equal(use(0, 2), 0);
  use(1, 3);
  leases.table.use(0, WRITE, 4);
  assert.equal(use(1, 5), -1, "there's no room");
  said();
  for (let ms = 6; ms < 1005; ms += 10) assert.equal(use(1, ms), -1);
  assert.deepEqual(said(), []);
  use(1, 1005);
  assert.deepEqual(said(), ["drop 0"]);
});

test("Leases.acquire keeps the leases if memory is used evenly and far beyond the budget (no churn)", () => {
  const { use, said, leases, table, answers } = setUp({ slots: 4, chunks: 16, idleMs: 50, maxMs: 3_600_000 });
  answers.costPages = 12;
  let perIo = 0;
  for (let n = 0; n < 16 * 400; n++) {
    const [chunk, nowMs] = [(n * 7) % 16, 1 + (n >> 3)];
    const held = table.load(chunk, LEASE) - 1;
    if (held >= 0 && leases.table.use(held, WRITE, nowMs)) table.store(chunk, USED_MS, nowMs);
    else if (use(chunk, nowMs) < 0) perIo++;
  }
  assert.deepEqual(
    said().map((call) => call.slice(0, 4)),
    ["take", "take", "take", "take"],
  );
  assert.ok(perIo > 16 * 290);
});

test("Leases.acquire replaces a lease if another chunk has missed a lease's cost since its last use", () => {
  const { use, said, answers, leases } = setUpWith([0], { slots: 1, idleMs: 50 });
  answers.costPages = 8;
  for (let n = 0; n < 9; n++) use(3, 10 + n);
  assert.deepEqual(said(), ["drop 0"]);
  leases.released(0, 20);
  assert.equal(use(3, 21), 0);
  said();
  for (let n = 0; n < 100; n++) {
    leases.table.use(0, WRITE, 22 + n);
    assert.equal(use(5, 22 + n), -1);
  }
  assert.deepEqual(said(), [], "chunk 3 is used all the time");
});

test("A chunk whose lease was held for max goes per-io for a sixteenth of it, and no longer", () => {
  const { use, leases, table, gone } = setUpWith([0, 1], { idleMs: 1000, maxMs: 160 });
  for (let ms = 3; ms < 162; ms += 5) for (const slot of [0, 1]) leases.table.use(slot, WRITE, ms);
  leases.drop(1);
  leases.released(1, 100);
  leases.tick(162);
  leases.released(0, 163);
  assert.deepEqual(gone, [1, 0]);
  for (const [chunk, ms, slot] of [
    [0, 164, -1],
    [1, 164, 0],
    [0, 172, -1],
    [0, 173, 1],
  ] as const) {
    table.store(chunk, USED_MS, ms - 1);
    assert.equal(use(chunk, ms), slot, `chunk ${chunk} at ${ms} ms`);
  }
});

test("A chunk rests across the clock's wrap, and not for a whole round of the clock", () => {
  const { use, leases, table } = setUpWith([0], { idleMs: 1000, maxMs: 160 });
  const start = 0x7fffffff - 5;
  leases.table.use(0, WRITE, start);
  leases.tick(start);
  leases.released(0, start);
  for (const [ms, slot] of [
    [start + 1, -1],
    [(start + 9) | 0, -1],
    [start - 1_000_000, 0],
  ] as const) {
    table.store(0, USED_MS, ms - 1);
    assert.equal(use(0, ms), slot, `${ms}`);
  }
});
