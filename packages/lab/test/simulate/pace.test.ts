// Storms: what costs much happens a few times close together, then not for a while, and costs nothing meanwhile.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../dist/model/machine.js";
import { Pace } from "../../dist/simulate/pace.js";

const SIZE = {
  frames: 1,
  pages: 1,
  swapSlots: 0,
  blocks: 1,
  bufferSlots: 0,
  bufferPages: 0,
  requests: 1,
  requestPages: 1,
};

function setUp(stormTimes: number) {
  const machine = new Machine(SIZE, "gup", 1, false);
  const state = { submitted: 0, inCall: false };
  const pace = new Pace({
    machine,
    stormTimes,
    submitted: () => state.submitted,
    isOver: () => state.submitted >= 3000,
    inCall: () => state.inCall,
  });
  /** Runs until no event is left, or for this number of steps. */
  const go = (most = 1000): void => {
    for (let i = 0; i < most && machine.clock.step(); i++);
  };
  return { machine, state, pace, go };
}

test("Pace.storms: a number of events, then none before the next storm, and no scheduled event meanwhile", () => {
  const { machine, state, pace, go } = setUp(4);
  const at: number[] = [];
  pace.storms("it", 0.1, () => at.push(state.submitted), 2);
  for (; state.submitted < 2000; state.submitted++) {
    pace.rouse();
    go();
    assert.equal(machine.clock.busy, false);
  }
  const storms = [0, 700, 1400].map(
    (first) => at.filter((requests) => requests >= first && requests < first + 100).length,
  );
  assert.deepEqual([storms, at.length], [[4, 4, 4], 12]);
});

test("Pace.storms: a maximum number of events per request", () => {
  const { state, pace, go } = setUp(1000);
  let times = 0;
  pace.storms("it", 0.1, () => times++, 1 / 10);
  for (; state.submitted < 500; state.submitted++) {
    pace.rouse();
    go();
    assert.ok(times <= 1 + state.submitted / 10, `${times} after ${state.submitted} requests`);
  }
  assert.ok(times >= 49);
});

test("Pace.often goes on with few requests too, but not while the program is in a call", () => {
  const { state, pace, go } = setUp(4);
  let times = 0;
  pace.often("it", 0.1, () => times++);
  go(100);
  assert.equal(times, 101);
  state.inCall = true;
  go(100);
  assert.equal(times, 101);
  state.inCall = false;
  go(100);
  assert.equal(times, 201);
});
