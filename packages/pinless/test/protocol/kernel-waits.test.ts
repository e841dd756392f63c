import assert from "node:assert/strict";
import { test } from "node:test";
import { Plain } from "./world/plain.js";

/** An engine's core whose scheme can wait: each wait takes `tookMs` and ends `completions` requests. */
class Waiting extends Plain {
  /** Milliseconds of the loop's clock at which a wait began. */
  readonly kernelWaits: number[] = [];
  tookMs = 0.05;
  completions = 1;
  /** Requests in the kernel that never end. */
  endless = 0;
  isLoopReady = false;
  armed = 0;

  constructor() {
    super({ slots: 0 });
    const { kernel, loop } = this;
    const arm = kernel.arm.bind(kernel);
    Object.defineProperties(kernel, { isLoopReady: { get: () => this.isLoopReady } });
    Object.assign(kernel, {
      awaitable: (requests: number) => requests - this.endless,
      enterAndWait: () => {
        if (this.kernelWaits.push(loop.now) > 1000) throw new Error("waits without end");
        const errno = kernel.enter();
        loop.now += this.tookMs;
        for (let i = 0; i < this.completions; i++) kernel.complete(0, (bytes) => bytes);
        return errno;
      },
      arm: () => {
        this.armed++;
        return arm();
      },
    });
  }

  /** Keeps `requests` in flight, submitted again by their callbacks `times` times in all. */
  keep(requests: number, times: number): void {
    let left = times;
    const again = (): void => {
      if (left-- > 0) this.deviceRead(0, { after: again });
    };
    for (let i = 0; i < requests; i++) again();
  }
}

test("A turn that leaves a request in the kernel is followed by one that waits for it, and arms no wakeup", () => {
  const engine = new Waiting();
  const request = engine.deviceRead(0);
  engine.loop.runMicrotasks();
  assert.deepEqual([engine.kernelWaits.length, request.errno], [0, null]);
  engine.loop.runAll();
  assert.deepEqual([engine.kernelWaits.length, request.errno, engine.armed], [1, 0, 0]);
});

test("A turn waits for what its callbacks submit, and lets the loop go on after 0.25 ms", () => {
  const engine = new Waiting();
  engine.keep(1, 100);
  engine.loop.runMicrotasks();
  assert.equal(engine.loop.runSoon(), true);
  assert.deepEqual([engine.kernelWaits.length, engine.dispatcher.completedOk], [5, 5]);
  engine.loop.runAll();
  assert.equal(engine.dispatcher.completedOk, 100);
  assert.equal(engine.armed, 0);
});

test("A turn waits once where the loop has something to serve, and the next does after 100 ms", () => {
  const engine = new Waiting();
  engine.isLoopReady = true;
  engine.keep(1, 100);
  engine.loop.runAll();
  assert.deepEqual([engine.kernelWaits.length, engine.armed], [1, 1]);
  for (const [ms, waits] of [
    [99, 1],
    [1, 2],
  ] as const) {
    engine.loop.now += ms;
    engine.complete();
    assert.equal(engine.kernelWaits.length, waits);
  }
});

test("A turn doesn't wait where the loop came round late, since it has other work", () => {
  const engine = new Waiting();
  engine.deviceRead(0);
  engine.loop.runMicrotasks();
  engine.loop.now += 0.1;
  engine.loop.runAll();
  assert.deepEqual([engine.kernelWaits.length, engine.armed], [0, 1]);
});

test("Requests that complete as they are handed over aren't waited for one by one", () => {
  const engine = new Waiting();
  engine.tookMs = 0.001;
  engine.keep(1, 100);
  engine.loop.runMicrotasks();
  engine.loop.runSoon();
  assert.equal(engine.kernelWaits.length, 1);
});

for (const [why, change] of [
  ["took long", { tookMs: 0.3, completions: 1 }],
  ["ended without a completion", { tookMs: 0.05, completions: 0 }],
] as const)
  test(`After a wait that ${why} the next is tried ever more rarely, and a wakeup is armed instead`, () => {
    const engine = Object.assign(new Waiting(), change);
    const passedOver: number[] = [];
    for (let turn = 0, before = 0; passedOver.length < 12; turn++) {
      engine.deviceRead(0);
      engine.loop.runAll();
      if (engine.kernelWaits.length > passedOver.length) {
        passedOver.push(turn - before);
        before = turn + 1;
      } else assert.ok(engine.armed > 0);
      engine.complete();
    }
    assert.deepEqual(passedOver, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023]);
  });

test("One wait that is worth it brings the others back", () => {
  const engine = Object.assign(new Waiting(), { completions: 0 });
  for (let i = 0; i < 3; i++) {
    engine.deviceRead(0);
    engine.loop.runAll();
    engine.complete();
  }
  assert.equal(engine.kernelWaits.length, 2);
  engine.completions = 1;
  for (let i = 0; i < 10; i++) {
    engine.deviceRead(0);
    engine.loop.runAll();
    engine.complete();
  }
  assert.equal(engine.kernelWaits.length, 2 + 7, "three occasions are passed over first");
});

test("Requests that may never end aren't waited for", () => {
  const engine = new Waiting();
  engine.endless = 1;
  engine.deviceRead(0);
  engine.loop.runMicrotasks();
  assert.equal(engine.loop.asleep, true);
  engine.loop.runAll();
  assert.deepEqual([engine.kernelWaits.length, engine.armed], [0, 1]);
});

test("A request that is submitted while a waiting turn is scheduled goes to the kernel at once", () => {
  const engine = new Waiting();
  engine.deviceRead(0);
  engine.loop.runMicrotasks();
  engine.deviceRead(1);
  engine.loop.runMicrotasks();
  assert.equal(engine.kernel.inFlight.length, 2);
  Object.assign(engine, { completions: 2, tookMs: 0.01 });
  engine.loop.runAll();
  assert.equal(engine.kernelWaits.length, 1);
});

test("A turn doesn't wait for a request that another turn has reaped meanwhile", () => {
  const engine = new Waiting();
  const request = engine.deviceRead(0);
  engine.loop.runMicrotasks();
  engine.kernel.complete(0, (bytes) => bytes);
  engine.dispatcher.turns.turnOfLoop();
  assert.equal(request.errno, 0);
  engine.loop.runAll();
  assert.equal(engine.kernelWaits.length, 0);
});

test("A turn that has waited doesn't go on waiting where only requests that may never end are left", () => {
  const engine = new Waiting();
  const submitEndless = (): void => {
    engine.endless = 1;
    engine.deviceRead(1);
  };
  engine.deviceRead(0, { after: submitEndless });
  engine.loop.runMicrotasks();
  engine.loop.runSoon();
  assert.equal(engine.kernelWaits.length, 1);
});
