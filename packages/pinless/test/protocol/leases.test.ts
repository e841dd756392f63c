import assert from "node:assert/strict";
import { test } from "node:test";
import { LEASE, REVALIDATE } from "../../dist/protocol/chunk-table.js";
import { WRITE } from "../../dist/protocol/direction.js";
import { claim, HEARTBEAT_MS, LIVE, LIVE_CLEAN, returned } from "../../dist/protocol/lease-table.js";
import { setUp, setUpWith } from "./lease-bed.js";

test("Leases.acquire takes a lease on the second use within idle, not on the first", () => {
  const { use, said, table } = setUp({ idleMs: 10 });
  assert.equal(use(2, 100), -1);
  assert.equal(use(2, 110), -1, "idle has passed");
  assert.deepEqual(said(), []);
  assert.equal(use(2, 119), 0);
  assert.deepEqual(said(), ["take 0: chunk 2, 16 pages"]);
  assert.equal(table.load(2, LEASE), 1);
});

test("Leases.acquire counts idle across the clock's wrap", () => {
  const { use } = setUp({ idleMs: 10 });
  assert.equal(use(0, 0x7fffffff - 3), -1);
  assert.equal(use(0, -0x80000000 + 3), 0);
});

test("Leases.acquire pins first, then populates, and only for device writes (DEVICE_WRITES_DIRTY)", () => {
  const { use, said, leases } = setUp();
  use(1, 1);
  assert.equal(use(1, 2, true), 0);
  assert.deepEqual(said(), ["take 0: chunk 1, 16 pages", "populate chunk 1, 16 pages"]);
  assert.equal(leases.table.state(0), LIVE);
  use(3, 1);
  assert.equal(use(3, 2), 1);
  assert.deepEqual(said(), ["take 1: chunk 3, 16 pages"]);
  assert.equal(leases.table.state(1), LIVE_CLEAN);
  assert.equal(use(3, 3, true), 1, "populated later");
  assert.deepEqual(said(), ["populate chunk 3, 16 pages"]);
});

test("Leases.acquire notes the use that populates a lease", () => {
  const { use, leases } = setUp({ idleMs: 10 });
  use(1, 1);
  use(1, 2);
  use(1, 11, true);
  assert.equal(leases.table.lastUseMs(0), 11);
});

test("Leases.acquire lets a device write go per-io while its pages can't be populated", () => {
  const { use, leases, answers } = setUp();
  answers.populate = -12;
  use(1, 1);
  assert.equal(use(1, 2, true), -1);
  assert.equal(leases.table.state(0), LIVE_CLEAN, "device reads may use it");
  answers.populate = 0;
  assert.equal(use(1, 3, true), 0);
});

test("Leases.acquire doesn't give out a lease that the monitor claimed while it was populated", () => {
  const { use, leases, answers } = setUp();
  use(1, 1);
  use(1, 2);
  // The monitor's turn, in the middle of the call.
  Object.defineProperty(answers, "populate", { get: () => (claim(leases.table.words, 0) ? 0 : -1) });
  assert.equal(use(1, 3, true), -1);
});

test("Leases.acquire pauses 10 ms after a refusal by the kernel, then tries again, and keeps the errno", () => {
  const { use, said, answers, leases } = setUp({ idleMs: 50 });
  answers.take = -12;
  use(0, 1);
  assert.equal(use(0, 2), -1);
  assert.equal(leases.lastRefusal, -12);
  assert.equal(said().length, 1);
  answers.take = 0;
  assert.equal(use(0, 11), -1);
  assert.deepEqual(said(), []);
  assert.equal(use(0, 12), 0);
  assert.equal(use(1, 13), -1);
  assert.equal(use(1, 14), 1, "no pause after a success");
});

test("Leases.acquire counts a lease as taken again only after an invalidation", () => {
  const { use, table, leases } = setUp();
  use(0, 1);
  use(0, 2);
  assert.equal(leases.revalidated, 0);
  leases.drop(0);
  leases.released(0, 3);
  table.store(0, LEASE, REVALIDATE);
  use(0, 4);
  assert.equal(leases.revalidated, 1);
});

test("Leases reports the first lease, and again the first after all were dropped", () => {
  const { use, leases, first } = setUp();
  use(0, 1);
  use(0, 2);
  use(1, 2);
  use(1, 3);
  assert.deepEqual(first, [2]);
  leases.dropAll();
  for (const slot of [0, 1]) leases.released(slot, 4);
  use(1, 5);
  assert.deepEqual(first, [2, 5]);
});

test("Leases.tick drops leases that are idle or held too long, and updates the heartbeat (NO_IDLE_PIN)", () => {
  const { leases, said, use } = setUpWith([0, 1], { idleMs: 10, maxMs: 30 });
  leases.table.use(1, WRITE, 9);
  leases.tick(12);
  assert.deepEqual(said(), ["drop 0"]);
  assert.equal(leases.table.header(HEARTBEAT_MS), 12);
  for (let nowMs = 13; nowMs < 33; nowMs += 5) {
    leases.table.use(1, WRITE, nowMs);
    leases.tick(nowMs);
    assert.deepEqual(said(), []);
  }
  leases.table.use(1, WRITE, 33);
  leases.tick(33);
  assert.deepEqual(said(), ["drop 1"]);
  assert.equal(use(1, 34), -1, "on its way");
});

test("Leases.drop of a lease that is being dropped does nothing", () => {
  const { leases, said } = setUpWith([0]);
  leases.drop(0);
  leases.drop(0);
  leases.dropAll();
  assert.deepEqual(said(), ["drop 0"]);
  assert.deepEqual(leases.beingDropped(), [0]);
});

test("Leases.collect frees the slots of leases that the monitor dropped, once its update has returned", () => {
  const { leases, gone } = setUpWith([0]);
  claim(leases.table.words, 0);
  assert.equal(leases.uncollected, true);
  leases.released(0, 5);
  leases.collect(5);
  assert.deepEqual(gone, [], "tag seen, update not returned");
  returned(leases.table.words, 0);
  assert.deepEqual(gone, []);
  leases.collect(6);
  assert.deepEqual(gone, [0]);
  assert.equal(leases.held, 0);
  assert.equal(leases.uncollected, false);
});

test("Leases.released frees the slot at once if the update has returned", () => {
  const { leases, gone } = setUpWith([0]);
  claim(leases.table.words, 0);
  returned(leases.table.words, 0);
  leases.released(0, 5);
  assert.deepEqual(gone, [0]);
  assert.equal(leases.uncollected, false);
});

test("Leases.completeAbandonedDrops: each lease that an ended monitor was dropping ends once", () => {
  const { leases, said, gone } = setUpWith([0, 1, 2, 3]);
  const { words } = leases.table;
  // Slot 0: claimed. Slot 1: its tag was seen as well. Slot 2: all of it was done.
  for (const slot of [0, 1, 2]) claim(words, slot);
  leases.released(1, 20);
  returned(words, 2);
  leases.completeAbandonedDrops(30);
  assert.deepEqual(said(), ["drop 0"]);
  assert.deepEqual(gone, [1]);
  for (const slot of [0, 2]) leases.released(slot, 40);
  assert.deepEqual([gone, leases.held], [[1, 0, 2], 1]);
  leases.completeAbandonedDrops(50);
  assert.deepEqual([said(), leases.uncollected], [[], false]);
});

test("Leases are dropped after the process changes its user, at the latest by the clock", () => {
  for (const by of ["use", "clock"] as const) {
    const { leases, said, user, use } = setUpWith([0, 1]);
    user.another = true;
    if (by === "clock") leases.tick(10);
    else {
      use(2, 9);
      assert.equal(use(2, 10), -1);
    }
    assert.deepEqual(said(), ["drop 0", "drop 1"]);
    assert.equal(leases.lastRefusal, -1);
    user.another = false;
    for (const slot of [0, 1]) leases.released(slot, 20);
    use(2, 30);
    assert.ok(use(2, 31) >= 0);
  }
});

test("Leases check the user once a millisecond, however many are taken", () => {
  const { user, use } = setUpWith([]);
  for (const chunk of [0, 1, 2, 3]) use(chunk, 5);
  for (const chunk of [0, 1, 2, 3]) assert.ok(use(chunk, 6) >= 0);
  assert.equal(user.asked, 1);
});
