import assert from "node:assert/strict";
import { test } from "node:test";
import { COUNTED } from "../../dist/protocol/acceptance.js";
import { READ } from "../../dist/protocol/direction.js";
import { ECANCELED } from "../../dist/protocol/errno.js";
import { CHUNK } from "./world/kernel.js";
import { Plain, START } from "./world/plain.js";

/** Lets everything that is in flight end, without giving the engine a turn. */
function end(plain: Plain): void {
  while (plain.kernel.inFlight.length > 0) plain.kernel.complete(0, (bytes) => bytes);
}

test("a request refused at its import, then cancelled, isn't issued again", () => {
  const plain = new Plain();
  plain.lease(0);
  const request = plain.deviceWrite(0);
  plain.kernel.endless.add(request.id);
  plain.kernel.empty(0, "monitor");
  plain.dispatcher.cancel(request.location.buffer);
  plain.loop.runAll();
  assert.equal(request.errno, -ECANCELED);
  assert.equal(plain.table.inFlight(0, 1), 0);
});

test("Dispatcher.cancel ends held requests without issuing them, and has the kernel cancel others", () => {
  const plain = new Plain();
  const started = plain.deviceWrite(0);
  plain.loop.runMicrotasks();
  plain.kernel.endless.add(started.id);
  const clear = plain.start("CLEAR", 1);
  const held = plain.deviceWrite(1);
  const written = plain.deviceWrite(0);
  plain.kernel.endless.add(written.id);
  for (const { location } of [started, held, written]) plain.dispatcher.cancel(location.buffer);
  plain.loop.runAll();
  assert.deepEqual([started.errno, written.errno, held.errno], [-ECANCELED, -ECANCELED, null]);
  plain.end(clear);
  plain.loop.runAll();
  assert.deepEqual([held.errno, held.calls], [-ECANCELED, 1]);
  assert.equal(plain.kernel.issues.length, 0);
});

test("Dispatcher.cancel doesn't affect the next request in the same slot", () => {
  const plain = new Plain({ depth: 1 });
  const clear = plain.start("CLEAR", 0);
  const held = plain.deviceWrite(0);
  plain.dispatcher.cancel(held.location.buffer);
  plain.end(clear);
  plain.loop.runAll();
  const next = plain.deviceWrite(0);
  plain.complete();
  assert.deepEqual([held.errno, next.errno], [-ECANCELED, 0]);
  plain.dispatcher.cancel(held.location.buffer);
});

test("Dispatcher.cancel ends one request and no other", () => {
  const plain = new Plain();
  const mine = plain.deviceWrite(0);
  const other = { active: 0, directWrites: 0, becameIdle: null };
  const answers: number[] = [];
  plain.dispatcher.accept(READ, 0, other, COUNTED, plain.location(1), 99, (errno) => answers.push(errno));
  for (const id of [mine.id, 99]) plain.kernel.endless.add(id);
  plain.dispatcher.cancel(mine.location.buffer);
  plain.loop.runAll();
  assert.deepEqual([mine.errno, answers.length, other.active], [-ECANCELED, 0, 1]);
});

test("Dispatcher.whenQuiet runs at once on a range without requests", () => {
  const plain = new Plain();
  plain.deviceWrite(1);
  let ran = 0;
  plain.dispatcher.whenQuiet({ start: START, end: START + CHUNK }, () => ran++);
  plain.dispatcher.whenQuiet({ start: START + 2 * CHUNK, end: START + 3 * CHUNK }, () => ran++);
  assert.equal(ran, 2);
});

test("Dispatcher.whenQuiet waits for accepted requests, held ones too, and not for later ones", () => {
  const plain = new Plain();
  const clear = plain.start("CLEAR", 1);
  const [first, held] = [plain.deviceWrite(0), plain.deviceWrite(0, { chunks: 2 })];
  let ran = 0;
  plain.dispatcher.whenQuiet({ start: START, end: START + 1 }, () => ran++);
  plain.deviceWrite(0);
  plain.complete(first);
  assert.equal(ran, 0);
  plain.end(clear);
  plain.complete(held);
  assert.equal(ran, 1);
  plain.complete();
  assert.equal(ran, 1);
});

test("Dispatcher.whenQuiet, called inside done, waits for a request that done submitted in the same slot", () => {
  const plain = new Plain({ depth: 1 });
  let ran = 0;
  const after = (): void => {
    plain.deviceWrite(0);
    plain.dispatcher.whenQuiet({ start: START, end: START + CHUNK }, () => ran++);
  };
  plain.deviceWrite(0, { after });
  plain.loop.runMicrotasks();
  end(plain);
  plain.loop.runAll();
  assert.equal(ran, 0);
  plain.complete();
  assert.equal(ran, 1);
});

test("Dispatcher.whenQuiet runs callbacks in the order of the calls", () => {
  const plain = new Plain();
  const order: number[] = [];
  plain.deviceWrite(0);
  for (let i = 0; i < 4; i++) plain.dispatcher.whenQuiet({ start: START, end: START + CHUNK }, () => order.push(i));
  plain.complete();
  assert.deepEqual(order, [0, 1, 2, 3]);
});
