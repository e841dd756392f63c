// RLIMIT_MEMLOCK on the model: one limit for all that a user has, as measured; and what engines of one user make of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { lock, ROOT, ringPages, unlock } from "../../dist/model/memlock-account.js";
import { Kernel } from "../../dist/model/model-kernel.js";
import type { KernelDesign } from "../../dist/model/tables.js";

const ENOMEM = -12;
const HUGE = 512;
const MIB_PAGES = 256;

function machine(limitPages: number, design: KernelDesign = "gup"): Kernel {
  const size = { frames: 8 * HUGE, pages: 6 * HUGE, swapSlots: 0, blocks: 1, bufferSlots: 6, bufferPages: HUGE };
  const memlock = { users: 2, pages: limitPages };
  const on = new Kernel({ ...size, requests: 1, requestPages: 1, memlock }, design);
  for (let page = 0; page < on.size.pages; page++) {
    on.memory.mmap(page);
    on.memory.store(page, 1);
  }
  return on;
}

function locked(on: Kernel, user: number): number {
  return on.words[on.frames.layout.locked + user]!;
}

test("a ring takes the pages that were measured", () => {
  // Rings of 16, 64, 128, 256 and 1,024 entries on Linux 6.18: the least RLIMIT_MEMLOCK, in KiB, that they can be made
  // with.
  const measured = [
    [16, 16, 8],
    [64, 64, 8],
    [128, 128, 12],
    [256, 256, 24],
    [256, 320, 28],
    [1024, 1024, 88],
  ] as const;
  for (const [submissions, completions, kib] of measured) assert.equal(4 * ringPages(submissions, completions), kib);
});

test("8 MiB allow three registrations of 2 MiB and the ring; the fourth fails with ENOMEM and charges nothing", () => {
  for (const huge of [false, true]) {
    const on = machine(8 * MIB_PAGES);
    for (let area = 0; huge && area < 6; area++) assert.equal(on.memory.collapse(area * HUGE, HUGE), 0);
    assert.equal(lock(on.frames, 0, ringPages(256, 320)), 0);
    const register = (slot: number, user?: number): number => on.disk.register(slot, slot * HUGE, HUGE, user);
    assert.deepEqual([register(0, 0), register(1, 0), register(2, 0), register(3, 0)], [0, 0, 0, ENOMEM]);
    assert.equal(on.disk.pins, 3 * HUGE);
    assert.equal(register(3, 1), 0, "another user has a limit of their own");
    assert.deepEqual([register(4, ROOT), register(5)], [0, 0], "root has none");
    on.disk.unregister(1);
    assert.equal(register(1, 0), 0);
    for (let slot = 0; slot < 6; slot++) on.disk.unregister(slot);
    unlock(on.frames, 0, ringPages(256, 320));
    assert.deepEqual([on.disk.pins, locked(on, 0), locked(on, 1)], [0, 0, 0]);
  }
});

test("a huge page is charged as a whole for any part of it, once", () => {
  const on = machine(8 * MIB_PAGES);
  on.memory.collapse(0, HUGE);
  assert.equal(on.disk.register(0, 7, 1, 0), 0);
  assert.equal(locked(on, 0), HUGE);
  assert.equal(on.disk.register(1, 9, 16, 0), 0);
  assert.equal(locked(on, 0), HUGE);
  assert.equal(on.disk.register(2, HUGE, 16, 0), 0, "small pages are charged one by one");
  assert.equal(locked(on, 0), HUGE + 16);
  assert.equal(on.disk.register(3, 16, 16, 1), 0);
  assert.equal(locked(on, 1), HUGE, "each user pays for it");
  for (let slot = 0; slot < 4; slot++) on.disk.unregister(slot);
  assert.deepEqual([locked(on, 0), locked(on, 1)], [0, 0]);
});

test("memory that a request still uses stays charged until the request has ended", () => {
  const on = machine(HUGE);
  on.disk.register(0, 0, HUGE, 0);
  const request = on.disk.submit({ write: true, firstPage: 0, pages: 1, block: 0, bufferSlot: 0 });
  on.disk.unregister(0);
  assert.equal(on.disk.register(1, HUGE, 1, 0), ENOMEM);
  on.disk.serve(request);
  on.disk.complete(request);
  on.disk.release(request);
  assert.equal(on.disk.register(1, HUGE, 1, 0), 0);
});

test("the proposal: registered memory isn't locked, so it isn't charged", () => {
  const on = machine(1, "notifier");
  for (let slot = 0; slot < 6; slot++) assert.equal(on.disk.register(slot, slot * HUGE, HUGE, 0), 0);
  assert.equal(locked(on, 0), 0);
});
