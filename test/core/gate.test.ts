import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CHUNK_WORDS,
  ChunkTable,
  DEVICE_READS,
  DEVICE_WRITES,
  GATE,
  HELD,
  SEGMENTS,
  SEQUENCE,
} from "../../dist/core/chunk-table.js";
import { MMU_EVENTS } from "../../dist/core/events.js";
import { claim, returned } from "../../dist/core/lease-table.js";
import { EFAULT } from "../../dist/core/ports.js";
import { CHUNK } from "./world/kernel.js";
import { Plain, START } from "./world/plain.js";

const COUNTS = [DEVICE_WRITES, DEVICE_READS, HELD, GATE] as const;

/** A second arena right behind the first one. */
function second(plain: Plain, chunks = 2): { table: ChunkTable; index: number } {
  const start = plain.table.range.end;
  const table = new ChunkTable({ start, end: start + chunks * CHUNK }, CHUNK);
  return { table, index: plain.dispatcher.gate.addTable(table) };
}

function words(table: ChunkTable, word: number): number[] {
  return Array.from({ length: table.chunks }, (_, c) => table.load(c, word));
}

test("Gate makes the chunks of an invalidation odd from its turn to its end, and no others", () => {
  const plain = new Plain();
  const clear = plain.start("CLEAR", 1, 2);
  const waiting = plain.start("CLEAR", 2, 2);
  assert.deepEqual(words(plain.table, SEQUENCE), [0, 1, 1, 0]);
  plain.end(clear);
  assert.deepEqual(words(plain.table, SEQUENCE), [0, 2, 3, 1]);
  plain.end(waiting);
  assert.deepEqual(words(plain.table, SEQUENCE), [0, 2, 4, 2]);
});

test("Gate leaves no trace of a request that it kept out of a span's later chunk", () => {
  const plain = new Plain();
  const softDirty = plain.start("SOFT_DIRTY", 0);
  const exclusive = plain.start("EXCLUSIVE", 2);
  const span = plain.submit(true, 0, { chunks: 4 })!;
  assert.equal(plain.where(span), "out");
  for (const word of [DEVICE_WRITES, DEVICE_READS] as const) {
    for (let c = 0; c < 4; c++) assert.equal(plain.table.inFlight(c, word), 0);
  }
  assert.deepEqual(words(plain.table, HELD), [1, 1, 1, 1]);
  plain.end(exclusive);
  assert.equal(plain.where(span), "per-io");
  plain.end(softDirty);
  plain.complete();
  for (const word of COUNTS) assert.deepEqual(words(plain.table, word), [0, 0, 0, 0]);
});

test("Gate holds a span until the last invalidation on any of its chunks has ended", () => {
  const plain = new Plain();
  const all = [0, 1, 3].map((chunk) => plain.start("CLEAR", chunk));
  const span = plain.submit(false, 0, { chunks: 4 })!;
  for (const invalidation of all) {
    assert.equal(plain.where(span), "out");
    plain.end(invalidation);
  }
  assert.equal(plain.where(span), "per-io");
  assert.equal(plain.dispatcher.gate.heldTotal, 1);
});

test("a start waits only for I/O that went before it (BOUNDED_WAIT)", () => {
  const plain = new Plain();
  plain.lease(0);
  const [before, other] = [plain.read(0), plain.write(0)];
  assert.deepEqual([plain.where(before), plain.where(other)], ["leased", "leased"]);
  const softDirty = plain.start("SOFT_DIRTY", 0);
  const after = [plain.read(0), plain.read(0)];
  for (const request of after) assert.equal(plain.where(request), "per-io");
  plain.complete(other);
  plain.tags();
  assert.equal(softDirty.state, "draining", "its lease is in use by what went before");
  plain.complete(before);
  plain.tags();
  assert.equal(softDirty.state, "begun");
  assert.deepEqual(
    after.map((request) => plain.where(request)),
    ["per-io", "per-io"],
  );
  plain.end(softDirty);
});

test("a lease that the monitor dropped is waited for until its tag was seen and its update returned", () => {
  for (const tagFirst of [true, false]) {
    const plain = new Plain();
    plain.lease(0);
    const table = plain.leases!.table.words;
    claim(table, 0);
    plain.kernel.empty(0, "monitor");
    const clear = plain.start("CLEAR", 0);
    const steps = [(): void => plain.tags(), (): void => returned(table, 0)];
    for (const step of tagFirst ? steps : steps.reverse()) {
      plain.dispatcher.nudge();
      plain.loop.runAll();
      assert.equal(clear.state, "draining", `tag first: ${tagFirst}`);
      step();
    }
    plain.dispatcher.nudge();
    plain.loop.runAll();
    assert.equal(clear.state, "begun", `tag first: ${tagFirst}`);
    plain.end(clear);
  }
});

test("an invalidation that gets its turn at another's end has its leases' tags looked for", () => {
  const plain = new Plain();
  plain.lease(0);
  const exclusive = plain.start("EXCLUSIVE", 0);
  const clear = plain.start("CLEAR", 0);
  plain.loop.runAll();
  plain.end(exclusive);
  plain.tags();
  assert.equal(clear.state, "begun");
});

test("an invalidation across two arenas concerns both, and is one", () => {
  const plain = new Plain();
  const { table } = second(plain);
  const clear = plain.start("CLEAR", 3, 2);
  assert.equal(clear.state, "begun");
  assert.deepEqual([...words(plain.table, SEQUENCE), ...words(table, SEQUENCE)], [0, 0, 0, 1, 1, 0]);
  plain.end(clear);
  assert.deepEqual([...words(plain.table, SEQUENCE), ...words(table, SEQUENCE)], [0, 0, 0, 2, 2, 0]);
});

test("Gate.addTable puts a new arena under the invalidation in progress on its addresses", () => {
  for (const event of MMU_EVENTS) {
    const plain = new Plain();
    const clear = plain.start(event, 3, 2);
    const { table } = second(plain);
    assert.deepEqual(words(table, SEQUENCE), [1, 0]);
    plain.end(clear);
    assert.deepEqual(words(table, SEQUENCE), [2, 0]);
  }
});

test("Gate.removeTable forgets an arena; its number is used again", () => {
  const plain = new Plain();
  const first = second(plain);
  plain.dispatcher.gate.removeTable(first.index);
  const clear = plain.start("CLEAR", 4);
  assert.deepEqual(words(first.table, SEQUENCE), [0, 0]);
  const next = second(plain);
  assert.equal(next.index, first.index);
  assert.deepEqual(words(next.table, SEQUENCE), [1, 0]);
  plain.end(clear);
  plain.dispatcher.gate.removeTable(next.index);
});

test("I/O on what was unmapped fails at once, also while another invalidation is in progress there", () => {
  const plain = new Plain();
  const unmap = plain.start("UNMAP", 0, 4);
  const migrate = plain.start("MIGRATE", 0, 4);
  plain.end(unmap);
  assert.equal(migrate.state, "begun");
  const request = plain.write(0);
  plain.dispatcher.gate.removeTable(plain.index);
  plain.end(migrate);
  plain.loop.runAll();
  assert.equal(request.errno, -EFAULT);
});

test("Gate.unsettle keeps leases away until settle, and what is held in them isn't used (NO_STALE_IO)", () => {
  const plain = new Plain();
  plain.lease(0);
  const range = { start: START, end: START + 1 };
  plain.dispatcher.gate.unsettle(range);
  assert.deepEqual([plain.where(plain.write(0)), plain.where(plain.write(0))], ["per-io", "per-io"]);
  plain.write(1);
  assert.equal(plain.where(plain.write(1)), "leased", "beside it");
  plain.dispatcher.gate.settle(range);
  assert.equal(plain.where(plain.write(0)), "leased");
});

test("Gate.settle leaves a chunk unsettled that another announcement is about", () => {
  const plain = new Plain();
  const { gate } = plain.dispatcher;
  const [left, right] = [
    { start: START, end: START + CHUNK + 1 },
    { start: START + CHUNK + 4096, end: START + 2 * CHUNK },
  ];
  plain.lease(0);
  plain.lease(1);
  for (const range of [left, right, right]) gate.unsettle(range);
  for (const [range, expected] of [
    [left, ["leased", "per-io"]],
    [right, ["leased", "per-io"]],
    [right, ["leased", "leased"]],
  ] as const) {
    gate.settle(range);
    assert.deepEqual([plain.where(plain.write(0)), plain.where(plain.write(1))], expected);
  }
  assert.throws(() => gate.settle(left), { invariant: "NO_STALE_IO" });
});

test("Gate.notePages counts huge pages in the segments of their chunks", () => {
  const plain = new Plain();
  const { range } = plain.table;
  plain.dispatcher.gate.notePages({ start: START, end: START + 3 * CHUNK }, ({ start }) => start !== START + CHUNK);
  assert.deepEqual(words(plain.table, SEGMENTS), [1, 16, 1, 16]);
  plain.dispatcher.gate.notePages(range, () => false);
  assert.deepEqual(words(plain.table, SEGMENTS), [16, 16, 16, 16]);
});

test("Gate.complete refuses a request that isn't in flight (EXACTLY_ONCE)", () => {
  const plain = new Plain();
  const clear = plain.start("CLEAR", 0);
  const held = plain.write(0);
  assert.throws(() => plain.dispatcher.completed(0, 1), { invariant: "EXACTLY_ONCE" });
  plain.end(clear);
  plain.complete();
  assert.equal(held.calls, 1);
});

test("Gate notices a count that goes below 0 (EXACTLY_ONCE)", () => {
  const plain = new Plain();
  plain.write(0);
  plain.loop.runMicrotasks();
  plain.table.words[0 * CHUNK_WORDS + DEVICE_WRITES] = 0;
  assert.throws(() => plain.dispatcher.completed(0, 1), { invariant: "EXACTLY_ONCE" });
});
