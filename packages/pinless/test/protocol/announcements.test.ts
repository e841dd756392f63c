// Effect of the monitor's announcements on the engine's own thread: requests that wait, that are issued again, and that
// never are.

import assert from "node:assert/strict";
import { test } from "node:test";
import { COUNTED } from "../../dist/protocol/acceptance.js";
import { READ, WRITE } from "../../dist/protocol/direction.js";
import { ECANCELED, EFAULT } from "../../dist/protocol/errno.js";
import {
  announce,
  announceUnmap,
  beginReading,
  conclude,
  endReading,
  takeOver,
  unmapHeard,
} from "../../dist/protocol/monitor/deferred-changes.js";
import { CHUNK } from "./world/kernel.js";
import { Plain, START } from "./world/plain.js";

const PAGE = 4096;

function chunksOf(plain: Plain, first: number, last = first): { words: Int32Array; first: number; last: number } {
  return { words: plain.table.words, first, last };
}

function over(plain: Plain, first: number, last = first): void {
  conclude(chunksOf(plain, first, last));
  plain.dispatcher.concluded();
  plain.loop.runAll();
}

test("A request on an announced chunk waits until the change is over; requests on other chunks don't", () => {
  const plain = new Plain();
  announce(chunksOf(plain, 0));
  const waiting = [plain.deviceWrite(0), plain.deviceRead(0), plain.deviceWrite(0, { chunks: 2 })];
  const beside = plain.deviceWrite(1);
  plain.loop.runAll();
  assert.deepEqual(
    waiting.map((r) => plain.where(r)),
    ["out", "out", "out"],
  );
  assert.equal(plain.where(beside), "per-io");
  over(plain, 0);
  plain.complete();
  assert.deepEqual(
    [...waiting, beside].map(({ errno, calls }) => [errno, calls]),
    new Array(4).fill([0, 1]),
  );
  assert.equal(plain.dispatcher.reissued, 0);
});

test("A request waits for the last of two announcements", () => {
  const plain = new Plain();
  for (let i = 0; i < 2; i++) announce(chunksOf(plain, 0));
  const request = plain.deviceWrite(0);
  over(plain, 0);
  assert.equal(plain.where(request), "out");
  over(plain, 0);
  assert.equal(plain.where(request), "per-io");
});

test("While the monitor reads events no request begins anywhere; its announcements are seen before any begins", () => {
  const plain = new Plain();
  const before = plain.deviceWrite(3);
  plain.loop.runAll();
  beginReading(plain.reading);
  const requests = [plain.deviceWrite(0), plain.deviceRead(1), plain.deviceWrite(2, { chunks: 2 })];
  plain.loop.runAll();
  const where = (): string[] => requests.map((request) => plain.where(request));
  assert.deepEqual(where(), ["out", "out", "out"]);
  // The call discarded the first chunk.
  announce(chunksOf(plain, 0));
  assert.equal(endReading(plain.reading), true, "the monitor has to say that it's over");
  plain.dispatcher.concluded();
  plain.loop.runAll();
  assert.deepEqual(where(), ["out", "per-io", "per-io"]);
  over(plain, 0);
  plain.complete();
  for (const { errno, calls } of [before, ...requests]) assert.deepEqual([errno, calls], [0, 1]);
  assert.equal(plain.dispatcher.reissued, 0);
});

test("Our own operations wait until all unmaps are known, and not for discards", () => {
  const plain = new Plain();
  const range = { start: START, end: START + CHUNK };
  let known = 0;
  const ask = (): number => {
    plain.dispatcher.whenKnown(range, () => known++);
    return known;
  };
  announce(chunksOf(plain, 0));
  assert.equal(ask(), 1, "a discard");
  announceUnmap(chunksOf(plain, 1));
  assert.equal(ask(), 2, "an unmapping beside it");
  announceUnmap(chunksOf(plain, 0));
  assert.equal(ask(), 2, "an unmapping");
  plain.loop.runAll();
  assert.equal(plain.kernel.alive, true, "the announcement keeps the process alive");
  plain.dispatcher.concluded();
  assert.equal(known, 2, "it isn't heard of yet");
  unmapHeard(chunksOf(plain, 0));
  plain.dispatcher.concluded();
  assert.equal(known, 3);
  beginReading(plain.reading);
  assert.equal(ask(), 3, "events are being read, of whatever");
  assert.equal(endReading(plain.reading), true, "the monitor has to say that it's over");
  plain.dispatcher.concluded();
  assert.equal(known, 4);
  announceUnmap(chunksOf(plain, 0));
  assert.equal(ask(), 4);
  takeOver(plain.table.words);
  plain.dispatcher.concluded();
  assert.equal(known, 5, "the monitor is gone");
  plain.loop.runAll();
  assert.equal(plain.kernel.alive, false);
});

test("The end of a reading that held no request needn't be reported", () => {
  const plain = new Plain();
  beginReading(plain.reading);
  assert.equal(endReading(plain.reading), false);
  assert.equal(plain.where(plain.deviceWrite(0)), "per-io");
});

test("A request that waits for an announcement delays no invalidation, and is held by one", () => {
  const plain = new Plain();
  announce(chunksOf(plain, 0));
  const request = plain.deviceWrite(0);
  const clear = plain.start("CLEAR", 0);
  assert.equal(clear.state, "begun");
  over(plain, 0);
  assert.equal(plain.where(request), "out");
  plain.end(clear);
  plain.complete(request);
  assert.equal(request.errno, 0);
});

for (const [name, chunks, announced] of [
  ["in one chunk", 1, 0],
  ["across chunks, in the last of them", 3, 2],
] as const) {
  test(`A device write in flight ${name} is issued again once it's over, and answered once (EXACTLY_ONCE)`, () => {
    const plain = new Plain();
    const request = plain.deviceWrite(0, { chunks });
    plain.loop.runAll();
    announce(chunksOf(plain, announced));
    plain.complete(request);
    assert.deepEqual([plain.where(request), plain.dispatcher.reissued], ["out", 1]);
    over(plain, announced);
    assert.notEqual(plain.where(request), "out");
    plain.complete(request);
    assert.deepEqual([request.errno, request.bytes, request.calls], [0, chunks * CHUNK, 1]);
    assert.equal(plain.dispatcher.reissued, 1);
  });
}

test("A device write during which an announcement began and ended is issued again at once", () => {
  const plain = new Plain();
  const request = plain.deviceWrite(0);
  plain.loop.runAll();
  announce(chunksOf(plain, 0));
  conclude(chunksOf(plain, 0));
  plain.complete(request);
  assert.notEqual(plain.where(request), "out");
  plain.complete(request);
  assert.deepEqual([request.errno, request.calls, plain.dispatcher.reissued], [0, 1, 1]);
});

test("A device read is never issued again", () => {
  const plain = new Plain();
  const request = plain.deviceRead(0);
  plain.loop.runAll();
  announce(chunksOf(plain, 0));
  plain.complete(request);
  assert.deepEqual([request.errno, request.calls, plain.dispatcher.reissued], [0, 1, 0]);
});

test("A device write without a position (of a pipe, a socket) is never issued again", () => {
  const plain = new Plain();
  const answers: number[] = [];
  const done = (errno: number): void => void answers.push(errno);
  plain.dispatcher.accept(READ, 0, plain.owner, COUNTED, plain.location(0), -1, done);
  plain.loop.runAll();
  announce(chunksOf(plain, 0));
  plain.complete();
  assert.deepEqual([answers, plain.dispatcher.reissued], [[0], 0]);
});

test("A device write that failed isn't issued again", () => {
  const plain = new Plain();
  const request = plain.deviceWrite(0);
  plain.loop.runAll();
  announce(chunksOf(plain, 0));
  plain.kernel.complete(0, () => -5);
  plain.loop.runAll();
  assert.deepEqual([request.errno, plain.dispatcher.reissued], [-5, 0]);
});

test("A request that waits for an announcement can be cancelled", () => {
  const plain = new Plain();
  announce(chunksOf(plain, 0));
  const request = plain.deviceWrite(0);
  plain.dispatcher.cancel(request.location.buffer);
  over(plain, 0);
  assert.deepEqual([request.errno, request.calls], [-ECANCELED, 1]);
  assert.equal(plain.kernel.issues.length, 0);
});

test("A lease that is taken while its chunk is announced goes at once, and the request per-io (NO_STALE_IO)", () => {
  const plain = new Plain();
  plain.complete(plain.deviceWrite(0));
  plain.kernel.meanwhile = { call: "take", run: () => announce(chunksOf(plain, 0)) };
  const request = plain.deviceWrite(0);
  assert.equal(plain.kernel.meanwhile, null, "no lease was taken: this would show nothing");
  assert.equal(plain.where(request), "per-io");
  plain.loop.runAll();
  plain.tags();
  assert.equal(plain.leases!.held, 0);
  plain.complete(request);
  over(plain, 0);
  plain.complete(request);
  assert.deepEqual([request.errno, request.calls, plain.dispatcher.reissued], [0, 1, 1]);
});

test("A request whose lease the monitor drops before its submission waits until the announcement is over", () => {
  for (const direction of [READ, WRITE] as const) {
    const plain = new Plain();
    plain.lease(0);
    const request = plain.submit(direction, 0)!;
    assert.equal(plain.where(request), "leased");
    announce(chunksOf(plain, 0));
    plain.kernel.empty(0, "monitor");
    plain.loop.runAll();
    assert.deepEqual([plain.where(request), plain.dispatcher.refusedAtImport], ["out", 1]);
    over(plain, 0);
    plain.kernel.complete(0, (bytes) => bytes);
    plain.loop.runAll();
    assert.deepEqual([request.errno, request.calls, plain.dispatcher.reissued], [0, 1, 0]);
  }
});

test("Gate.markUnmapped: I/O on unmapped memory fails with EFAULT, beside it in the chunk it goes per-io", () => {
  const plain = new Plain();
  plain.lease(0);
  plain.gate.markUnmapped({ start: START + PAGE, end: START + CHUNK + PAGE });
  const [part, inside] = [plain.location(0), plain.location(0)];
  const errnos: number[] = [];
  const done = (errno: number): void => void errnos.push(errno);
  const accept = (location: typeof part, address: number, bytes: number): void =>
    void plain.dispatcher.accept(READ, 0, plain.owner, COUNTED, { ...location, address, bytes }, errnos.length, done);
  accept(inside, START + PAGE, PAGE);
  accept(inside, START, 2 * PAGE);
  accept(plain.location(0, 2), START + CHUNK - PAGE, 3 * PAGE);
  plain.loop.runAll();
  assert.deepEqual(errnos, [-EFAULT, -EFAULT, -EFAULT]);
  for (let i = 0; i < 3; i++) {
    accept(part, START, PAGE);
    assert.equal(plain.kernel.issues[0]?.intended, null);
    plain.complete();
  }
  accept(plain.location(1), START + CHUNK + PAGE, PAGE);
  plain.complete();
  assert.deepEqual(errnos.slice(3), [0, 0, 0, 0]);
});

test("Gate.markUnmapped of whole chunks fails held requests when their invalidation ends, and those in flight", () => {
  const plain = new Plain();
  const flying = plain.deviceWrite(1);
  plain.loop.runAll();
  announce(chunksOf(plain, 0, 1));
  const migrate = plain.start("MIGRATE", 0);
  const held = plain.deviceWrite(0);
  plain.gate.markUnmapped({ start: START, end: START + 2 * CHUNK });
  plain.complete(flying);
  over(plain, 0, 1);
  plain.end(migrate);
  plain.loop.runAll();
  assert.deepEqual([held.errno, flying.errno], [-EFAULT, -EFAULT]);
  assert.equal(plain.where(plain.deviceWrite(2)), "per-io");
});
