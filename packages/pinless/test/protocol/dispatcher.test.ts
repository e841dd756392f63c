import assert from "node:assert/strict";
import { test } from "node:test";
import { COUNTED, QUEUED } from "../../dist/protocol/acceptance.js";
import { READ, WRITE } from "../../dist/protocol/direction.js";
import { EFAULT } from "../../dist/protocol/errno.js";
import { claim, returned } from "../../dist/protocol/lease-table.js";
import { CHUNK } from "./world/kernel.js";
import { Plain, START, type Submitted } from "./world/plain.js";

const TURN = 256;

function inFlight(plain: Plain): number {
  return plain.kernel.inFlight.length;
}

/** Lets everything that is in flight end, without giving the engine a turn. */
function end(plain: Plain): void {
  while (inFlight(plain) > 0) plain.kernel.complete(0, (bytes) => bytes);
}

test("Dispatcher.accept answers busy when all slots are taken, and nothing else happens", () => {
  const plain = new Plain({ depth: 2 });
  const first = plain.deviceWrite(0);
  plain.deviceWrite(1);
  assert.equal(plain.submit(READ, 2), null);
  assert.deepEqual([plain.owner.active, plain.dispatcher.submitted], [2, 2]);
  plain.complete(first);
  assert.notEqual(plain.submit(READ, 2), null);
});

test("Dispatcher never calls done inside accept, even for a request that fails at once", () => {
  const plain = new Plain();
  plain.end(plain.start("RELEASE", 0));
  let inside = true;
  const answers: number[] = [];
  const done = (errno: number): void => {
    assert.equal(inside, false);
    answers.push(errno);
  };
  assert.equal(plain.dispatcher.accept(READ, 0, plain.owner, COUNTED, plain.location(0), 0, done), QUEUED);
  assert.equal(plain.dispatcher.requests.active, 1);
  inside = false;
  plain.loop.runAll();
  assert.deepEqual(answers, [-EFAULT]);
  assert.equal(plain.kernel.issues.length, 0);
});

test("Dispatcher.done gets 0 and the bytes, or the errno and no bytes, and the buffer", () => {
  const plain = new Plain();
  const seen: unknown[] = [];
  const location = plain.location(0);
  for (const result of [CHUNK, 100, 0, -5]) {
    const done = (...args: unknown[]): void => void seen.push(args);
    plain.dispatcher.accept(READ, 0, plain.owner, COUNTED, location, 0, done);
    plain.loop.runAll();
    plain.kernel.complete(0, () => result);
    plain.loop.runAll();
  }
  assert.deepEqual(
    seen,
    [
      [0, CHUNK],
      [0, 100],
      [0, 0],
      [-5, 0],
    ].map((row) => [...row, location.buffer]),
  );
  assert.deepEqual([plain.dispatcher.completedOk, plain.dispatcher.failed], [3, 1]);
});

test("Dispatcher hands what was submitted in one tick to the kernel in one call", () => {
  const plain = new Plain();
  for (let i = 0; i < 5; i++) plain.deviceWrite(i % 4);
  assert.equal(plain.kernel.enters, 0);
  plain.loop.runMicrotasks();
  assert.equal(inFlight(plain), 5);
  assert.ok(plain.kernel.enters <= 2, `${plain.kernel.enters} calls`);
});

test("after an error in done the other completions are delivered, and the error goes to loop.uncaught", () => {
  const plain = new Plain();
  const error = new Error("thrown by done");
  const requests: Submitted[] = [];
  for (let i = 0; i < 5; i++) {
    const after = (): void => {
      if (i % 2 === 1) throw error;
    };
    requests.push(plain.deviceWrite(0, { after }));
  }
  plain.complete();
  assert.deepEqual(
    requests.map(({ calls }) => calls),
    [1, 1, 1, 1, 1],
  );
  assert.deepEqual(plain.loop.errors, [error, error]);
  assert.deepEqual([plain.dispatcher.requests.active, plain.owner.active], [0, 0]);
  const next = plain.deviceWrite(0);
  plain.complete();
  assert.equal(next.errno, 0);
});

test(`a turn delivers at most ${TURN} completions, then timers and sockets have their turn`, () => {
  const plain = new Plain({ depth: 600 });
  let delivered = 0;
  for (let i = 0; i < 600; i++) plain.deviceWrite(0, { after: () => delivered++ });
  plain.loop.runMicrotasks();
  end(plain);
  const counts: number[] = [];
  for (let i = 0; i < 4; i++) {
    plain.loop.runSoon();
    counts.push(delivered);
  }
  assert.deepEqual(counts, [TURN, 2 * TURN, 600, 600]);
  assert.ok(plain.kernel.reaps.every((n) => n <= TURN));
});

/** A dispatcher on a device that completes requests as soon as they are submitted. */
function onFastDevice(): Plain {
  const plain = new Plain({ depth: 4 });
  const enter = plain.kernel.enter.bind(plain.kernel);
  plain.kernel.enter = () => {
    enter();
    end(plain);
    return 0;
  };
  return plain;
}

test("callbacks that submit again and again leave timers and sockets their turn", () => {
  const plain = onFastDevice();
  let delivered = 0;
  const again = (): void => {
    // Without the limit it would never end.
    if (delivered++ < 10 * TURN) plain.deviceWrite(0, { after: again });
  };
  again();
  plain.loop.runMicrotasks();
  assert.equal(delivered, TURN + 1);
  assert.equal(plain.loop.asleep, false);
  plain.loop.runSoon();
  assert.equal(delivered, 2 * TURN + 1);
});

test("microtask after microtask, one turn of the loop delivers no more than a turn's completions", () => {
  const plain = onFastDevice();
  let delivered = 0;
  for (let i = 0; i < 2 * TURN; i++) {
    plain.deviceWrite(0, { after: () => delivered++ });
    plain.loop.runMicrotasks();
    if (plain.dispatcher.requests.active === 4) break;
  }
  assert.equal(delivered, TURN);
  plain.loop.runAll();
  assert.equal(plain.dispatcher.requests.active, 0);
});

test("Dispatcher runs one turn at a time, whatever done calls", () => {
  const plain = new Plain();
  const requests: Submitted[] = [];
  const after = (): void => {
    const { enters } = plain.kernel;
    plain.dispatcher.turns.turnOfLoop();
    plain.dispatcher.nudge();
    assert.equal(plain.kernel.enters, enters);
    assert.equal(plain.loop.microtasks, 0);
  };
  for (let i = 0; i < 3; i++) requests.push(plain.deviceWrite(0, { after }));
  plain.complete();
  assert.deepEqual(plain.loop.errors, []);
  assert.deepEqual(
    requests.map(({ calls }) => calls),
    [1, 1, 1],
  );
});

test("Dispatcher reaps again instead of going to sleep if a request has ended meanwhile", () => {
  const plain = new Plain();
  const request = plain.deviceWrite(0);
  const reap = plain.kernel.reap.bind(plain.kernel);
  // It ends after the turn has looked for the last time.
  plain.kernel.reap = (sink, limit) => {
    const reaped = reap(sink, limit);
    if (reaped === 0) end(plain);
    return reaped;
  };
  plain.loop.runMicrotasks();
  assert.equal(request.errno, null);
  plain.loop.runAll();
  assert.equal(request.errno, 0);
});

test("a leased request that the kernel refuses with EFAULT is issued again per-io, exactly once", () => {
  for (const direction of [WRITE, READ] as const) {
    const plain = new Plain();
    plain.lease(0);
    const request = plain.submit(direction, 0)!;
    assert.equal(plain.where(request), "leased");
    // What the monitor does between the writing of the entry and its submission.
    plain.kernel.empty(0, "monitor");
    plain.loop.runMicrotasks();
    assert.equal(plain.where(request), "per-io");
    assert.deepEqual([plain.dispatcher.refusedAtImport, request.calls], [1, 0]);
    plain.kernel.complete(0, () => -EFAULT);
    plain.loop.runAll();
    assert.deepEqual([request.errno, request.calls], [-EFAULT, 1]);
    assert.equal(plain.dispatcher.refusedAtImport, 1);
  }
});

test("EFAULT of a request without a lease, or with a lifetime registration, is its result", () => {
  const plain = new Plain();
  const request = plain.deviceWrite(0);
  plain.loop.runMicrotasks();
  plain.kernel.complete(0, () => -EFAULT);
  plain.loop.runAll();
  assert.equal(request.errno, -EFAULT);
  const lifetime = new Plain({ registered: 1 });
  lifetime.kernel.take(1, START, CHUNK);
  const other = lifetime.deviceWrite(0);
  assert.equal(lifetime.where(other), "leased");
  lifetime.loop.runMicrotasks();
  lifetime.kernel.complete(0, () => -EFAULT);
  lifetime.loop.runAll();
  assert.deepEqual([other.errno, lifetime.dispatcher.refusedAtImport], [-EFAULT, 0]);
});

test("Dispatcher keeps its owner's counts, and notifies it when one becomes 0", () => {
  const plain = new Plain();
  const seen: string[] = [];
  const { owner } = plain;
  owner.becameIdle = () => seen.push(`${owner.active} ${owner.directWrites}`);
  const [read, first, second] = [plain.deviceWrite(0), plain.deviceRead(0), plain.deviceRead(0)];
  assert.deepEqual([owner.active, owner.directWrites], [3, 2]);
  plain.complete(first);
  assert.deepEqual(seen, []);
  plain.complete(second);
  assert.deepEqual(seen, ["1 0"]);
  plain.complete(read);
  assert.deepEqual(seen, ["1 0", "0 0"]);
});

test("Dispatcher keeps the process alive while a request is in flight or held, and no longer", () => {
  const plain = new Plain();
  const clear = plain.start("CLEAR", 0);
  plain.loop.runAll();
  assert.equal(plain.kernel.alive, false);
  plain.deviceWrite(0);
  plain.loop.runAll();
  assert.equal(plain.kernel.alive, true, "held");
  plain.end(clear);
  plain.loop.runAll();
  assert.equal(plain.kernel.alive, true, "in flight");
  plain.complete();
  assert.equal(plain.kernel.alive, false);
  plain.end(plain.start("RELEASE", 0));
  const refused = plain.deviceWrite(0);
  plain.loop.runAll();
  assert.deepEqual([refused.errno, plain.kernel.alive], [-EFAULT, false], "answered without I/O");
});

test("An invalidation that waits for its turn keeps the process alive", () => {
  const plain = new Plain();
  const first = plain.start("CLEAR", 0);
  plain.loop.runAll();
  assert.equal(plain.kernel.alive, false, "begun");
  const [second, third] = [plain.start("CLEAR", 0), plain.start("CLEAR", 0)];
  plain.loop.runAll();
  assert.equal(plain.kernel.alive, true, "two wait");
  plain.end(first);
  plain.loop.runAll();
  assert.equal(plain.kernel.alive, true, "one waits");
  plain.end(second);
  plain.loop.runAll();
  assert.equal(plain.kernel.alive, false, "none waits");
  plain.end(third);
});

test("Dispatcher.room is called after each completion, when its slot is free", () => {
  const plain = new Plain({ depth: 2 });
  const backlog = [2, 3, 1, 0];
  const got: number[] = [];
  plain.deviceWrite(0);
  plain.deviceWrite(0);
  plain.dispatcher.room = () => {
    while (backlog.length > 0 && plain.submit(READ, backlog[0]!) !== null) got.push(backlog.shift()!);
  };
  for (let i = 0; i < 4; i++) {
    plain.loop.runMicrotasks();
    plain.kernel.complete(0, (bytes) => bytes);
    plain.loop.runAll();
  }
  assert.deepEqual(got, [2, 3, 1, 0]);
});

test("held requests are submitted in the order of their acceptance", () => {
  const plain = new Plain();
  const [clear, migrate] = [plain.start("CLEAR", 0), plain.start("MIGRATE", 1)];
  const requests = [
    plain.deviceWrite(1),
    plain.deviceWrite(0),
    plain.deviceRead(0, { chunks: 2 }),
    plain.deviceWrite(0),
    plain.deviceWrite(1),
  ];
  plain.end(clear);
  const went = (): number[] => plain.kernel.issues.map(({ request }) => request);
  assert.deepEqual(went(), [requests[1]!.id, requests[3]!.id]);
  plain.end(migrate);
  assert.deepEqual(went().slice(2), [requests[0]!.id, requests[2]!.id, requests[4]!.id]);
  assert.equal(plain.gate.heldTotal, 5);
  plain.complete();
});

test("a held request notes the use of its lease when it's submitted", () => {
  const plain = new Plain();
  plain.lease(0);
  const exclusive = plain.start("EXCLUSIVE", 0);
  const held = plain.deviceWrite(0);
  plain.loop.runAll();
  plain.loop.now += 40;
  plain.end(exclusive);
  assert.equal(plain.where(held), "leased");
  assert.equal(plain.leases!.table.lastUseMs(0), plain.loop.now);
});

test("a request that an invalidation's ready submits in a turn's last step still reaches the kernel", () => {
  const plain = new Plain();
  plain.lease(0);
  const { words } = plain.leases!.table;
  // The monitor's tag is seen before its update has returned, so the end of a turn has to free the slot.
  claim(words, 0);
  plain.kernel.empty(0, "monitor");
  const requests: Submitted[] = [];
  const clear = plain.start("CLEAR", 0, 1, () => requests.push(plain.deviceWrite(1), plain.deviceWrite(2)));
  plain.tags();
  assert.equal(clear.state, "draining");
  returned(words, 0);
  plain.dispatcher.nudge();
  plain.loop.runAll();
  assert.equal(clear.state, "begun");
  assert.equal(inFlight(plain), 2);
  plain.complete();
  assert.deepEqual(
    requests.map(({ errno }) => errno),
    [0, 0],
  );
});

test("a submission that the kernel refuses as a whole is reported as a bug", () => {
  const plain = new Plain();
  plain.kernel.enter = () => -22;
  plain.deviceWrite(0);
  assert.throws(() => plain.loop.runMicrotasks(), { invariant: "STATE", message: /22/ });
});
