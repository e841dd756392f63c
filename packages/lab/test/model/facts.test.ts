// Facts that were measured on real kernels hold on the model: each harm, with a control that doesn't have it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Kernel } from "../../dist/model/model-kernel.js";
import { WAIT } from "../../dist/model/page-tables.js";
import {
  BLOCK_CONTENT,
  FOLIO_DIRTY,
  type KernelDesign,
  PTE_SOFT_DIRTY,
  SLOT_EMPTY,
  SLOT_STATE,
} from "../../dist/model/tables.js";
import { finish } from "./requests.js";

const EAGAIN = -11;
const EFAULT = -14;
const OLD = 7;
const NEW = 100;
const PAGES = 4;

function machine(design: KernelDesign): Kernel {
  const size = { frames: 16, pages: 8, swapSlots: 8, blocks: 8, bufferSlots: 2, bufferPages: 4 };
  const made = new Kernel({ ...size, requests: 4, requestPages: 4 }, design);
  for (let page = 0; page < size.pages; page++) made.memory.mmap(page);
  for (let block = 0; block < size.blocks; block++) made.cache.setBlock(block, BLOCK_CONTENT, NEW + block);
  return made;
}

function readFile(on: Kernel, bufferSlot: number): void {
  finish(on, on.disk.submit({ write: false, firstPage: 0, pages: PAGES, block: 0, bufferSlot }));
}

function each(operate: (page: number) => number): number[] {
  return Array.from({ length: PAGES }, (_, page) => operate(page));
}

/** Pages that don't show what the device wrote. */
function lost(on: Kernel): number {
  return each((page) => on.memory.load(page)).filter((content, page) => content !== NEW + page).length;
}

const WAYS = ["registered", "registered, then populated", "not registered"] as const;

/** Reads all pages from the disk, and lets go of them. */
function read(on: Kernel, way: (typeof WAYS)[number]): void {
  if (way === "not registered") {
    readFile(on, -1);
    return;
  }
  assert.equal(on.disk.register(0, 0, PAGES), 0);
  if (way !== "registered") each((page) => on.memory.populateWrite(page));
  readFile(on, 0);
  assert.equal(on.disk.unregister(0), true);
}

for (const way of WAYS) {
  const harmed = way === "registered";
  for (const clean of ["after MADV_FREE", "swapped in by a load"] as const) {
    test(`DEVICE_WRITES_DIRTY: ${clean}, ${way}: ${harmed ? "lost to reclaim (control)" : "survives reclaim"}`, () => {
      const on = machine("gup");
      each((page) => on.memory.store(page, OLD));
      if (clean === "after MADV_FREE") each((page) => on.memory.freeLazily(page));
      else {
        assert.deepEqual(
          each((page) => on.memory.reclaim(page)),
          [0, 0, 0, 0],
        );
        each((page) => on.memory.load(page));
      }
      read(on, way);
      assert.equal(lost(on), 0, "it wasn't even there before the reclaim");
      // The first pass may only find out that the pages aren't free any more.
      for (let pass = 0; pass < 2; pass++) each((page) => on.memory.reclaim(page));
      assert.equal(lost(on), harmed ? PAGES : 0);
    });
  }
}

test("DEVICE_WRITES_DIRTY: Linux marks unregistered pages at submission, the proposal marks all at completion", () => {
  for (const design of ["gup", "notifier"] as const) {
    for (const bufferSlot of design === "gup" ? [-1] : [-1, 0]) {
      const on = machine(design);
      each((page) => on.memory.store(page, OLD));
      each((page) => on.memory.reclaim(page));
      each((page) => on.memory.load(page));
      if (bufferSlot === 0) on.disk.register(0, 0, PAGES);
      const dirty = (): number[] => each((page) => Number(on.frames.frameIs(on.tables.frameOf(page), FOLIO_DIRTY)));
      const request = on.disk.submit({ write: false, firstPage: 0, pages: PAGES, block: 0, bufferSlot });
      assert.deepEqual(dirty(), design === "gup" ? [1, 1, 1, 1] : [0, 0, 0, 0]);
      while (!on.disk.serve(request));
      on.disk.complete(request);
      assert.deepEqual(dirty(), [1, 1, 1, 1]);
      on.disk.release(request);
      each((page) => on.memory.reclaim(page));
      assert.equal(lost(on), 0);
    }
  }
});

test("registered pages can't be moved, collapsed or reclaimed; others can", () => {
  const on = machine("gup");
  each((page) => on.memory.store(page, OLD));
  on.disk.register(0, 0, PAGES);
  for (const operate of [
    (p: number) => on.memory.migrate(p),
    (p: number) => on.memory.reclaim(p),
    () => on.memory.collapse(0, PAGES),
  ])
    assert.deepEqual(each(operate), [EAGAIN, EAGAIN, EAGAIN, EAGAIN]);
  assert.equal(on.disk.pins, PAGES);
  on.disk.unregister(0);
  assert.equal(on.disk.pins, 0);
  for (const operate of [
    (p: number) => on.memory.migrate(p),
    () => on.memory.collapse(0, PAGES),
    (p: number) => on.memory.reclaim(p),
  ])
    assert.deepEqual(each(operate), [0, 0, 0, 0]);
  assert.deepEqual(
    each((page) => on.memory.load(page)),
    [OLD, OLD, OLD, OLD],
  );
});

test("a read by a registration older than a discard is lost without an error; by a new one it arrives", () => {
  const on = machine("gup");
  on.disk.register(0, 0, PAGES);
  each((page) => on.memory.discard(page));
  readFile(on, 0);
  assert.equal(lost(on), PAGES);
  on.disk.unregister(0);
  on.disk.register(0, 0, PAGES);
  readFile(on, 0);
  assert.equal(lost(on), 0);
});

test("a dropped registration lives until its last request: only then are its pages released", () => {
  const on = machine("gup");
  on.disk.register(0, 0, PAGES);
  const request = on.disk.submit({ write: false, firstPage: 1, pages: 2, block: 0, bufferSlot: 0 });
  assert.equal(on.disk.unregister(0), false);
  assert.equal(on.disk.pins, PAGES);
  assert.equal(on.disk.submit({ write: false, firstPage: 1, pages: 1, block: 0, bufferSlot: 0 }), EFAULT);
  while (!on.disk.serve(request));
  on.disk.complete(request);
  assert.equal(on.disk.release(request), 0);
  assert.equal(on.disk.pins, 0);
  assert.equal(on.disk.slot(0, SLOT_STATE), SLOT_EMPTY);
});

test("an old registration writes read-only memory without soft-dirty bits; a new one fails with EFAULT", () => {
  const on = machine("gup");
  each((page) => on.memory.store(page, OLD));
  on.disk.register(0, 0, PAGES);
  each((page) => on.memory.clearSoftDirty(page));
  each((page) => on.memory.protect(page, "read"));
  readFile(on, 0);
  assert.equal(lost(on), 0);
  assert.ok(each((page) => Number(on.tables.is(page, PTE_SOFT_DIRTY))).every((bit) => bit === 0));
  assert.equal(on.disk.register(1, 0, PAGES), EFAULT);
  assert.equal(on.disk.submit({ write: false, firstPage: 0, pages: 1, block: 0, bufferSlot: -1 }), EFAULT);
  assert.equal(on.disk.pins, PAGES, "a refused registration left pins behind");
});

test("the proposal: invalidations wait for I/O in flight only, and registrations find the new pages", () => {
  const on = machine("notifier");
  each((page) => on.memory.store(page, OLD));
  on.disk.register(0, 0, PAGES);
  assert.equal(on.disk.pins, 0);
  const request = on.disk.submit({ write: false, firstPage: 0, pages: PAGES, block: 0, bufferSlot: 0 });
  for (const operate of [
    (p: number) => on.memory.discard(p),
    (p: number) => on.memory.migrate(p),
    (p: number) => on.memory.reclaim(p),
    (p: number) => on.memory.protect(p, "read"),
    (p: number) => on.memory.munmap(p),
  ])
    assert.deepEqual(each(operate), [WAIT, WAIT, WAIT, WAIT]);
  while (!on.disk.serve(request));
  on.disk.complete(request);
  on.disk.release(request);
  assert.equal(lost(on), 0);
  assert.deepEqual(
    each((page) => on.memory.reclaim(page)),
    [0, 0, 0, 0],
  );
  assert.equal(lost(on), 0);
  each((page) => on.memory.discard(page));
  readFile(on, 0);
  assert.equal(lost(on), 0);
});

test("every frame is free again once nothing refers to it", () => {
  for (const design of ["gup", "notifier"] as const) {
    const on = machine(design);
    for (let round = 0; round < 50; round++) {
      each((page) => on.memory.store(page, round));
      assert.equal(on.disk.register(0, 0, PAGES), 0);
      const bufferSlot = round % 3 === 0 ? 0 : -1;
      finish(on, on.disk.submit({ write: round % 2 === 0, firstPage: 0, pages: PAGES, block: 0, bufferSlot }));
      if (round % 5 === 0) each((page) => on.memory.discard(page));
      on.disk.unregister(0);
      each((page) => on.memory.reclaim(page));
      if (round % 7 === 0) each((page) => on.memory.load(page));
      each((page) => on.memory.discard(page));
    }
    const frames: number[] = [];
    for (let frame = on.frames.allocate(0); frame >= 0; frame = on.frames.allocate(0)) frames.push(frame);
    assert.equal(new Set(frames).size, on.size.frames);
  }
});
