// Calls of other code, as the monitor reports them: each is an invalidation, from before its pages go until it's over.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ForeignCalls } from "../../dist/protocol/foreign-calls.js";
import { announce, conclude } from "../../dist/protocol/monitor/deferred-changes.js";
import type { Range } from "../../dist/protocol/ranges/ranges.js";
import { CHUNK } from "./world/kernel.js";
import { Plain, START } from "./world/plain.js";

function setUp(): { plain: Plain; calls: ForeignCalls; waits: number[]; ready: () => number; begun: () => void } {
  const plain = new Plain();
  const { foreign: calls, waits } = plain;
  let count = 0;
  calls.follow(plain.table);
  return { plain, calls, waits, ready: () => count, begun: () => void count++ };
}

function chunks(first: number, count = 1): Range {
  return { start: START + first * CHUNK, end: START + (first + count) * CHUNK };
}

test("ForeignCalls.start drains the range of requests and leases, and holds I/O there until its end", () => {
  const { plain, calls, waits, ready, begun } = setUp();
  plain.lease(0);
  const flying = plain.deviceWrite(0);
  plain.loop.runAll();
  assert.equal(calls.start(1, [{ start: START + 4096, end: START + 8192 }], begun), "draining");
  const late = plain.deviceWrite(0);
  plain.complete(flying);
  assert.equal(ready(), 0, "its lease is still there");
  plain.tags();
  assert.deepEqual([ready(), waits.length, flying.errno], [1, 1, 0]);
  assert.equal(plain.where(late), "out");
  calls.end(1);
  plain.complete(late);
  assert.equal(late.errno, 0);
});

test("ForeignCalls.start of ranges that share a chunk, or touch, is one invalidation", () => {
  const { plain, calls, ready, begun } = setUp();
  const ranges = [0, 8192, CHUNK, 2 * CHUNK + 4096].map((at) => ({ start: START + at, end: START + at + 4096 }));
  assert.equal(calls.start(1, ranges, begun), "begun");
  assert.deepEqual([ready(), plain.notifier.inProgress], [1, 1]);
  calls.end(1);
  assert.equal(plain.notifier.inProgress, 0);
});

test("ForeignCalls.start on memory outside of any arena begins at once and stops no I/O", () => {
  const { plain, calls, ready, begun } = setUp();
  assert.equal(calls.start(1, [chunks(100)], begun), "begun");
  calls.unfollow(plain.table);
  assert.equal(calls.start(2, [chunks(0)], begun), "begun");
  assert.deepEqual([ready(), plain.notifier.inProgress], [2, 0]);
});

test("ForeignCalls.start waits for its turn after another invalidation, which may be that of another start", () => {
  const { plain, calls, ready, begun } = setUp();
  plain.deviceWrite(0);
  const own = plain.start("CLEAR", 0);
  assert.equal(calls.start(1, [chunks(0, 2)], begun), "turn");
  plain.complete();
  plain.end(own);
  assert.equal(ready(), 1);
  assert.equal(calls.start(2, [chunks(1)], begun), "turn");
  calls.end(1);
  assert.equal(ready(), 2);
  calls.end(2);
});

test("ForeignCalls.start inside an invalidation that has begun is covered, and doesn't wait", () => {
  const { plain, calls, ready, begun } = setUp();
  const own = plain.start("CLEAR", 0, 2);
  assert.equal(calls.start(1, [chunks(1)], begun), "covered");
  assert.equal(calls.start(2, [chunks(1, 2)], begun), "turn", "only a part of it is");
  calls.end(1);
  calls.end(2);
  assert.deepEqual([ready(), plain.notifier.inProgress], [0, 1]);
  plain.end(own);
  plain.loop.runAll();
  assert.equal(plain.notifier.inProgress, 0);
});

test("ForeignCalls.end before the invalidation has begun: it ends as soon as it begins, and ready isn't called", () => {
  const { plain, calls, ready, begun } = setUp();
  const flying = plain.deviceWrite(0);
  plain.loop.runAll();
  assert.equal(calls.start(1, [chunks(0)], begun), "draining");
  calls.end(1);
  calls.end(1);
  const late = plain.deviceWrite(0);
  plain.complete(flying);
  plain.complete(late);
  assert.deepEqual([ready(), flying.errno, late.errno, plain.notifier.inProgress], [0, 0, 0, 0]);
});

test("ForeignCalls.ended: requests in flight are issued again, and none begins until the callers have left", () => {
  const { plain, calls } = setUp();
  const flying = plain.deviceWrite(0);
  plain.loop.runAll();
  calls.monitorEnded();
  plain.complete(flying);
  const later = plain.deviceWrite(1);
  plain.loop.runAll();
  assert.deepEqual(
    [flying, later].map((r) => [plain.where(r), r.errno]),
    [
      ["out", null],
      ["out", null],
    ],
  );
  calls.lossIsOver();
  plain.complete();
  assert.deepEqual([flying.errno, later.errno, plain.dispatcher.reissued], [0, 0, 1]);
});

test("ForeignCalls.ended and lost: starts and announcements of the ended monitor are over", () => {
  const { plain, calls, begun } = setUp();
  calls.start(1, [chunks(0)], begun);
  announce({ words: plain.table.words, first: 1, last: 1 });
  calls.monitorEnded();
  const requests = [plain.deviceWrite(0), plain.deviceWrite(1)];
  plain.loop.runAll();
  assert.deepEqual(
    requests.map((r) => plain.where(r)),
    ["out", "out"],
  );
  calls.lossIsOver();
  plain.complete();
  assert.deepEqual(
    requests.map(({ errno }) => errno),
    [0, 0],
  );
});

test("ForeignCalls.lost: starts and announcements of the next monitor go on", () => {
  const { plain, calls, begun } = setUp();
  const announced = { words: plain.table.words, first: 1, last: 1 };
  calls.start(1, [chunks(0)], begun);
  announce(announced);
  calls.monitorEnded();
  calls.start(2, [chunks(0)], begun);
  announce(announced);
  const requests = [plain.deviceWrite(0), plain.deviceWrite(1)];
  const where = (): string[] => requests.map((r) => plain.where(r));
  calls.lossIsOver();
  plain.loop.runAll();
  assert.deepEqual(where(), ["out", "out"]);
  calls.end(2);
  conclude(announced);
  calls.concluded();
  plain.complete();
  assert.deepEqual(where(), ["answered", "answered"]);
});

test("ForeignCalls.missed: starts and announcements of a monitor that follows again after a gap go on", () => {
  const { plain, calls, begun } = setUp();
  const announced = { words: plain.table.words, first: 1, last: 1 };
  calls.start(1, [chunks(0)], begun);
  announce(announced);
  calls.callsMissed();
  calls.lossIsOver();
  const requests = [plain.deviceWrite(0), plain.deviceWrite(1), plain.deviceWrite(2)];
  const where = (): string[] => requests.map((r) => plain.where(r));
  plain.loop.runAll();
  assert.deepEqual(where(), ["out", "out", "per-io"]);
  calls.end(1);
  conclude(announced);
  calls.concluded();
  plain.loop.runAll();
  assert.deepEqual(where(), ["per-io", "per-io", "per-io"]);
});
