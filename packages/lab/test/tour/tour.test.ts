// Machines to look at: the same seed is the same machine, and each design refuses what it has to.
import assert from "node:assert/strict";
import { test } from "node:test";
import { playScene } from "../../dist/tour/compact-scene.js";
import { countStates, FRAME_STATES, freeAreas } from "../../dist/tour/frame-states.js";
import { act, TOUR_ACTIONS } from "../../dist/tour/tour-actions.js";
import { TOUR_DESIGNS, type TourDesign } from "../../dist/tour/tour-designs.js";
import { TourMachine } from "../../dist/tour/tour-machine.js";

const FRAMES = 16_384;
const BUFFERS = FRAMES / 4;

async function reading(design: TourDesign, seed = 1, ms = 100): Promise<TourMachine> {
  const machine = await TourMachine.open({ design, seed, frames: FRAMES });
  machine.setReading(true);
  await machine.advance(ms);
  return machine;
}

test("compact: pins stay in the way for ever; leases until the engine sees the kernel compact", async () => {
  const open = (design: TourDesign) => TourMachine.open({ design, seed: 7, frames: FRAMES });
  const pins = await playScene(await open("pins"));
  const leases = await playScene(await open("leases"));
  for (const { refused, freeHugePages } of pins.rounds) {
    assert.ok(refused.pinned > 0 && refused.leased === 0);
    assert.equal(freeHugePages, 0);
  }
  const [first, second, third] = leases.rounds;
  assert.ok(first!.refused.leased > 0);
  assert.equal(second!.refused.leased, 0);
  assert.ok(second!.refused.inFlight <= 16 * 16, "at most what the disk writes to");
  assert.ok(third!.freeHugePages > 5, `${third!.freeHugePages} areas`);
});

test("the proposal's kernel moves everything at once, but for what is read into", async () => {
  const machine = await reading("proposal");
  const { refused } = machine.compact();
  assert.deepEqual([refused.pinned, refused.leased], [0, 0]);
  assert.ok(refused.inFlight > 0 && refused.inFlight <= 16 * 16);
  await machine.advance(50);
  assert.ok(machine.compact().freeHugePages > 5);
});

test("leases of a program that rests are dropped: nothing refuses", async () => {
  const machine = await reading("leases");
  assert.ok(machine.figures().frames.leased > 0);
  machine.setReading(false);
  await machine.advance(200);
  assert.equal(machine.figures().frames.leased, 0);
  assert.deepEqual(machine.compact().refused, { pinned: 0, leased: 0, inFlight: 0 });
});

for (const design of TOUR_DESIGNS)
  test(`${design}: the same seed and calls are the same machine, and another seed is another`, async () => {
    const run = async (seed: number): Promise<unknown> => {
      const machine = await reading(design, seed, 20);
      const reports = [];
      for (const action of TOUR_ACTIONS) {
        reports.push(await act(machine, action));
        await machine.advance(30);
      }
      return { reports, figures: machine.figures(), states: [...machine.states()] };
    };
    const once = await run(3);
    assert.deepEqual(await run(3), once);
    assert.notDeepEqual(await run(4), once);
  });

test("a discard by other code: with pins later reads never arrive, in the other designs they do", async () => {
  for (const design of TOUR_DESIGNS) {
    const machine = await reading(design);
    await machine.discardByOthers();
    await machine.advance(100);
    const { lost, done } = machine.figures().reads;
    assert.ok(done > 100);
    assert.equal(lost > 0, design === "pins", `${design}: ${lost} of ${done} lost`);
  }
});

test("fork copies what is pinned, and nothing in the proposal", async () => {
  for (const [design, least, most] of [
    ["pins", BUFFERS, BUFFERS],
    ["leases", 1, BUFFERS],
    ["proposal", 0, 0],
  ] as const) {
    const copied = await (await reading(design)).fork();
    assert.ok(copied >= least && copied <= most, `${design}: ${copied} copied`);
  }
});

test("collapse needs free areas, page out needs pages without pins; the reports count every page", async () => {
  const pins = await reading("pins");
  const refused = await pins.collapse();
  assert.deepEqual([refused.done, refused.busy], [0, BUFFERS]);
  assert.match(refused.reason!, /compact first/);
  const leases = await reading("leases");
  leases.setReading(false);
  await leases.advance(200);
  leases.compact();
  const { done, busy } = await leases.collapse();
  assert.deepEqual([done, busy], [BUFFERS, 0]);
  assert.equal(leases.figures().frames.huge, BUFFERS);
  const out = await leases.pageOut();
  assert.deepEqual([out.done, out.busy], [BUFFERS, 0]);
  assert.equal(leases.figures().frames.free, FRAMES - FRAMES * (5 / 16));
});

test("states: every frame is counted once, and only whole areas of 2 MiB count as free", () => {
  const states = new Uint8Array(3 * 512 + 100);
  states[600] = FRAME_STATES.indexOf("pinned");
  assert.deepEqual(freeAreas(states), [0, 1024]);
  const counts = countStates(states);
  assert.deepEqual([counts.free, counts.pinned], [states.length - 1, 1]);
});
