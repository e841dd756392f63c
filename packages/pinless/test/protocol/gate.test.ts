import assert from "node:assert/strict";
import { test } from "node:test";
import { COUNTED } from "../../dist/protocol/acceptance.js";
import {
  CHUNK_WORDS,
  ChunkTable,
  DEVICE_READS,
  DEVICE_WRITES,
  GATE,
  HELD,
  INVALIDATED,
  SEGMENTS,
} from "../../dist/protocol/chunk-table.js";
import { READ } from "../../dist/protocol/direction.js";
import { EFAULT } from "../../dist/protocol/errno.js";
import { MMU_EVENTS } from "../../dist/protocol/events.js";
import { claim, returned } from "../../dist/protocol/lease-table.js";
import { CHUNK } from "./world/kernel.js";
import { Plain, START, type Submitted } from "./world/plain.js";

const COUNTS = [DEVICE_WRITES, DEVICE_READS, HELD, GATE] as const;

/** A second arena right behind the first one. */
function second(plain: Plain, chunks = 2): { table: ChunkTable; index: number } {
  const start = plain.table.range.end;
  const table = new ChunkTable({ start, end: start + chunks * CHUNK }, CHUNK);
  return { table, index: plain.gate.addTable(table) };
}

function words(table: ChunkTable, word: number): number[] {
  return Array.from({ length: table.chunks }, (_, c) => table.load(c, word));
}

/** 1 for each chunk that is marked by an invalidation in progress. */
function marked(table: ChunkTable): number[] {
  return words(table, GATE).map((gate) => ((gate & INVALIDATED) === 0 ? 0 : 1));
}

test("Gate marks the chunks of an invalidation from its turn to its end, and no others", () => {
  const plain = new Plain();
  const clear = plain.start("CLEAR", 1, 2);
  const waiting = plain.start("CLEAR", 2, 2);
  assert.deepEqual(marked(plain.table), [0, 1, 1, 0]);
  plain.end(clear);
  assert.deepEqual(marked(plain.table), [0, 0, 1, 1]);
  plain.end(waiting);
  assert.deepEqual(marked(plain.table), [0, 0, 0, 0]);
});

test("Gate leaves no trace of a span that a later chunk keeps out", () => {
  const plain = new Plain();
  const softDirty = plain.start("SOFT_DIRTY", 0);
  const exclusive = plain.start("EXCLUSIVE", 2);
  const span = plain.deviceRead(0, { chunks: 4 });
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
  const span = plain.deviceWrite(0, { chunks: 4 });
  for (const invalidation of all) {
    assert.equal(plain.where(span), "out");
    plain.end(invalidation);
  }
  assert.equal(plain.where(span), "per-io");
  assert.equal(plain.gate.heldTotal, 1);
});

test("a start waits only for I/O submitted before it (BOUNDED_WAIT)", () => {
  const plain = new Plain();
  plain.lease(0);
  const [before, other] = [plain.deviceRead(0), plain.deviceWrite(0)];
  assert.deepEqual([plain.where(before), plain.where(other)], ["leased", "leased"]);
  const softDirty = plain.start("SOFT_DIRTY", 0);
  const after = [plain.deviceRead(0), plain.deviceRead(0)];
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

test("an invalidation waits for a lease that the monitor drops: for its tag and for its update's return", () => {
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

test("for an invalidation that gets its turn at another's end the tags of its leases are reaped", () => {
  const plain = new Plain();
  plain.lease(0);
  const exclusive = plain.start("EXCLUSIVE", 0);
  const clear = plain.start("CLEAR", 0);
  plain.loop.runAll();
  plain.end(exclusive);
  plain.tags();
  assert.equal(clear.state, "begun");
});

test("an invalidation across two arenas is one invalidation of both", () => {
  const plain = new Plain();
  const { table } = second(plain);
  const clear = plain.start("CLEAR", 3, 2);
  assert.equal(clear.state, "begun");
  assert.deepEqual([...marked(plain.table), ...marked(table)], [0, 0, 0, 1, 1, 0]);
  plain.end(clear);
  assert.deepEqual([...marked(plain.table), ...marked(table)], [0, 0, 0, 0, 0, 0]);
});

test("Gate.addTable applies an invalidation in progress to a new arena at its addresses", () => {
  for (const event of MMU_EVENTS) {
    const plain = new Plain();
    const clear = plain.start(event, 3, 2);
    const { table } = second(plain);
    assert.deepEqual(marked(table), [1, 0]);
    plain.end(clear);
    assert.deepEqual(marked(table), [0, 0]);
  }
});

test("Gate.removeTable forgets an arena; its number is used again", () => {
  const plain = new Plain();
  const first = second(plain);
  plain.gate.removeTable(first.index);
  const clear = plain.start("CLEAR", 4);
  assert.deepEqual(marked(first.table), [0, 0]);
  const next = second(plain);
  assert.equal(next.index, first.index);
  assert.deepEqual(marked(next.table), [1, 0]);
  plain.end(clear);
  plain.gate.removeTable(next.index);
});

test("I/O on unmapped memory fails at once, also while another invalidation is in progress there", () => {
  const plain = new Plain();
  const unmap = plain.start("UNMAP", 0, 4);
  const migrate = plain.start("MIGRATE", 0, 4);
  plain.end(unmap);
  assert.equal(migrate.state, "begun");
  const request = plain.deviceWrite(0);
  plain.gate.removeTable(plain.index);
  plain.end(migrate);
  plain.loop.runAll();
  assert.equal(request.errno, -EFAULT);
});

test("Gate.addTable with leasable false: its requests go per-io for good, whatever happens to its memory", () => {
  const plain = new Plain();
  const { range } = plain.table;
  plain.gate.removeTable(plain.index);
  const table = new ChunkTable(range, CHUNK);
  assert.equal(plain.gate.addTable(table, { leasable: false }), plain.index);
  const location = { ...plain.location(0), words: table.words };
  const write = (): boolean => {
    plain.dispatcher.accept(READ, 0, plain.owner, COUNTED, location, 0, () => {});
    const leased = plain.kernel.issues.some(({ intended }) => intended !== null);
    plain.complete();
    return leased;
  };
  assert.deepEqual([write(), write()], [false, false]);
  plain.end(plain.start("CLEAR", 0));
  assert.deepEqual([write(), write()], [false, false], "after an invalidation");
});

test("Gate.resume of a chunk that no invalidation has marked is a bug (EXCLUSION)", () => {
  const plain = new Plain();
  const clear = plain.start("CLEAR", 0);
  plain.table.clearBits(0, INVALIDATED);
  assert.throws(() => plain.end(clear), { invariant: "EXCLUSION" });
});

const PAGE = 4096;

/** Pages of chunk 0, and on. */
function pages(first: number, count: number): { start: number; end: number } {
  return { start: START + first * PAGE, end: START + (first + count) * PAGE };
}

/** Changes the protection of pages, and says what chunks 0 and 1 say of a device write and a device read then. */
function protect(plain: Plain, range: { start: number; end: number }, readOnly: boolean): string[] {
  plain.notifier.invalidateRangeEnd(plain.start("PROTECTION_VMA", 0, 2), [{ range, readOnly }]);
  plain.tags();
  return [0, 1].map((chunk) => {
    const went = [plain.deviceWrite(chunk), plain.deviceWrite(chunk), plain.deviceRead(chunk)].map((request) =>
      plain.where(request),
    );
    plain.complete();
    plain.loop.now += 1;
    return went.slice(1).join(" ");
  });
}

const WRITABLE = "leased leased";
const PARTLY = "per-io per-io";
const READ_ONLY = "out per-io";

test("a partly read-only chunk takes no leases; a read-only one also refuses device writes (NO_STALE_IO)", () => {
  const plain = new Plain();
  const steps: [{ start: number; end: number }, boolean, string[]][] = [
    [pages(5, 1), true, [PARTLY, WRITABLE]],
    [pages(4, 12), true, [PARTLY, WRITABLE]],
    [pages(0, 17), true, [READ_ONLY, PARTLY]],
    [pages(0, 32), true, [READ_ONLY, READ_ONLY]],
    [pages(16, 15), false, [READ_ONLY, PARTLY]],
    [pages(15, 1), false, [PARTLY, PARTLY]],
    [pages(16, 16), false, [PARTLY, WRITABLE]],
    [pages(0, 14), false, [PARTLY, WRITABLE]],
    [pages(0, 32), false, [WRITABLE, WRITABLE]],
  ];
  for (const [range, readOnly, expected] of steps)
    assert.deepEqual(protect(plain, range, readOnly), expected, JSON.stringify([range, readOnly]));
  assert.deepEqual(words(plain.table, GATE), [0, 0, 0, 0]);
  assert.deepEqual(
    [DEVICE_WRITES, DEVICE_READS].map((word) => plain.table.load(0, word)),
    [0, 0],
    "nothing is left to look at on the hot path",
  );
});

test("device writes that PROTECTION_VMA held go ahead if their chunk isn't all read-only, and else fail", () => {
  for (const [range, errno] of [
    [pages(0, 15), 0],
    [pages(0, 16), -EFAULT],
  ] as const) {
    const plain = new Plain();
    const protection = plain.start("PROTECTION_VMA", 0);
    const held = plain.deviceWrite(0);
    assert.equal(plain.where(held), "out");
    plain.notifier.invalidateRangeEnd(protection, [{ range, readOnly: true }]);
    plain.complete();
    assert.equal(held.errno, errno);
  }
});

test("a PROTECTION_VMA without changed protections changes nothing; other events keep read-only pages", () => {
  const plain = new Plain();
  plain.notifier.invalidateRangeEnd(plain.start("PROTECTION_VMA", 0), []);
  assert.deepEqual(words(plain.table, GATE), [0, 0, 0, 0]);
  protect(plain, pages(0, 17), true);
  const before = words(plain.table, GATE);
  for (const event of ["CLEAR", "MIGRATE", "PROTECTION_PAGE", "SOFT_DIRTY", "EXCLUSIVE"] as const) {
    plain.end(plain.start(event, 0, 2));
    assert.deepEqual(words(plain.table, GATE), before, event);
  }
});

test("no lifetime registration is used for read-only memory, because a device would write through it", () => {
  const plain = new Plain({ registered: 0 });
  plain.kernel.take(0, START, 4 * CHUNK);
  const went = (...requests: (Submitted | null)[]): string[] => {
    const locations = requests.map((request) => plain.where(request!));
    plain.complete();
    return locations;
  };
  const span = (): Submitted | null => plain.submit(READ, 0, { chunks: 2 });
  assert.deepEqual(went(plain.deviceWrite(0), plain.deviceRead(1), span()), ["leased", "leased", "leased"]);
  protect(plain, pages(0, 1), true);
  assert.deepEqual(went(plain.deviceWrite(0), plain.deviceRead(0), span()), ["per-io", "per-io", "per-io"]);
  assert.deepEqual(went(plain.deviceWrite(1)), ["leased"], "beside it");
  protect(plain, pages(0, 1), false);
  assert.deepEqual(went(plain.deviceWrite(0), span()), ["leased", "leased"]);
});

test("Gate forgets read-only pages with their arena, and ignores the protection of other memory", () => {
  const plain = new Plain();
  const { gate } = plain;
  const first = second(plain);
  const { range } = first.table;
  const beyond = { start: range.start, end: range.end + 4 * CHUNK };
  plain.end(plain.notifier.invalidateRangeStart(beyond, "PROTECTION_VMA"));
  assert.deepEqual(gate.readOnly.ranges, [range]);
  gate.removeTable(first.index);
  assert.deepEqual(gate.readOnly.ranges, []);
  plain.end(plain.notifier.invalidateRangeStart(beyond, "PROTECTION_VMA"));
  assert.deepEqual(gate.readOnly.ranges, [], "the memory has another owner");
  assert.deepEqual(words(second(plain).table, GATE), [0, 0]);
});

test("Gate.notePages counts huge pages in the segments of their chunks", () => {
  const plain = new Plain();
  const { range } = plain.table;
  plain.gate.notePages({ start: START, end: START + 3 * CHUNK }, ({ start }) => start !== START + CHUNK);
  assert.deepEqual(words(plain.table, SEGMENTS), [1, 16, 1, 16]);
  plain.gate.notePages(range, () => false);
  assert.deepEqual(words(plain.table, SEGMENTS), [16, 16, 16, 16]);
});

test("Gate.complete refuses a request that isn't in flight (EXACTLY_ONCE)", () => {
  const plain = new Plain();
  const clear = plain.start("CLEAR", 0);
  const held = plain.deviceWrite(0);
  assert.throws(() => plain.dispatcher.completed(0, 1), { invariant: "EXACTLY_ONCE" });
  plain.end(clear);
  plain.complete();
  assert.equal(held.calls, 1);
});

test("Gate notices a count that goes below 0 (EXACTLY_ONCE)", () => {
  const plain = new Plain();
  plain.deviceWrite(0);
  plain.loop.runMicrotasks();
  plain.table.words[0 * CHUNK_WORDS + DEVICE_WRITES] = 0;
  assert.throws(() => plain.dispatcher.completed(0, 1), { invariant: "EXACTLY_ONCE" });
});
