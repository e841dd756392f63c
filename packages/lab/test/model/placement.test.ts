// NUMA nodes, compaction and khugepaged on the model: what was measured of them with pinned and with unpinned memory.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../pinless/dist-test/support/random.js";
import { fork } from "../../dist/model/fork.js";
import { Kernel } from "../../dist/model/model-kernel.js";
import { compact, hint, hugePagesObtainable, khugepaged, unmovable } from "../../dist/model/page-placement.js";
import { WAIT } from "../../dist/model/page-tables.js";
import { HUGE, IN_USE, type KernelDesign, type MachineSize, PTE_PROTNONE } from "../../dist/model/tables.js";

const EAGAIN = -11;
const ENOMEM = -12;
const PAGES = 16;
const AREA = 8;

function machine(design: KernelDesign, changes: Partial<MachineSize> = {}): Kernel {
  const size = { frames: 64, nodes: 2, pages: PAGES, processes: 2, swapSlots: PAGES, blocks: PAGES, bufferSlots: 20 };
  const made = new Kernel({ ...size, bufferPages: PAGES, requests: 4, requestPages: PAGES, ...changes }, design);
  for (let page = 0; page < made.size.pages; page++) made.memory.mmap(page);
  return made;
}

/** All pages, each with its number + 1. */
function fill(on: Kernel): void {
  for (let page = 0; page < on.size.pages; page++) assert.equal(on.memory.store(page, page + 1), 0);
}

function assertFilled(on: Kernel): void {
  for (let page = 0; page < on.size.pages; page++) assert.equal(on.memory.load(page), page + 1);
}

function pagesOn(on: Kernel, node: number): number {
  return Array.from({ length: on.size.pages }, (_, page) => on.frames.nodeOf(on.tables.frameOf(page))).filter(
    (of) => of === node,
  ).length;
}

function count(operate: (page: number) => number, wanted: number): number {
  return Array.from({ length: PAGES }, (_, page) => operate(page)).filter((answer) => answer === wanted).length;
}

function readInto(on: Kernel): number {
  return on.disk.submit({ write: false, firstPage: 0, pages: PAGES, block: 0, bufferSlot: -1 });
}

test("memory comes from the node that its process runs on, and from the other one when that is full", () => {
  const on = machine("gup", { frames: 20, nodes: 2 });
  on.tables.runOn(0, 1);
  fill(on);
  assert.deepEqual([pagesOn(on, 0), pagesOn(on, 1)], [6, 10]);
  assert.equal(on.memory.migrate(15, 1), ENOMEM, "to be moved there is to be moved there");
  on.memory.discard(0);
  assert.equal(on.memory.migrate(15, 1), 0);
  assert.equal(on.memory.migrate(15, 1), 0, "it's there");
});

test("move_pages moves every page to the other node, and none that is pinned", () => {
  const on = machine("gup");
  fill(on);
  on.disk.register(0, 0, PAGES);
  assert.equal(
    count((page) => on.memory.migrate(page, 1), EAGAIN),
    PAGES,
  );
  assert.equal(pagesOn(on, 1), 0);
  on.disk.unregister(0);
  assert.equal(
    count((page) => on.memory.migrate(page, 1), 0),
    PAGES,
  );
  assert.equal(pagesOn(on, 1), PAGES);
  assertFilled(on);
});

test("NUMA balancing moves pages to the node of their process at its next access; pinned ones stay", () => {
  const on = machine("gup");
  fill(on);
  on.tables.runOn(0, 1);
  on.disk.register(0, 0, AREA);
  assert.equal(
    count((page) => hint(on, page), 0),
    PAGES - AREA,
  );
  assert.equal(pagesOn(on, 1), 0, "nothing moves before the access");
  assertFilled(on);
  assert.deepEqual([pagesOn(on, 0), pagesOn(on, 1)], [AREA, PAGES - AREA]);
  assert.equal(
    count((page) => hint(on, page), EAGAIN),
    PAGES,
  );
  on.disk.unregister(0);
  assert.equal(
    count((page) => hint(on, page), 0),
    AREA,
  );
  // Pinned between the hint and the access: the page is found as it is, and the access finds it pinned.
  on.disk.register(0, 0, 1);
  assert.ok(on.tables.is(0, PTE_PROTNONE));
  assertFilled(on);
  assert.deepEqual([pagesOn(on, 0), pagesOn(on, 1)], [1, PAGES - 1]);
});

test("the proposal: a registration doesn't keep pages from being balanced; I/O in flight does, until it ends", () => {
  const on = machine("notifier");
  fill(on);
  on.tables.runOn(0, 1);
  on.disk.register(0, 0, PAGES);
  const request = readInto(on);
  assert.equal(
    count((page) => hint(on, page), WAIT),
    PAGES,
  );
  assert.equal(khugepaged(on, 0, AREA), WAIT);
  assert.deepEqual(compact(on, 0), { moved: 0, held: PAGES });
  while (!on.disk.serve(request));
  on.disk.complete(request);
  on.disk.release(request);
  assert.equal(
    count((page) => hint(on, page), 0),
    PAGES,
  );
  for (let page = 0; page < PAGES; page++) on.memory.store(page, page + 1);
  assert.equal(pagesOn(on, 1), PAGES);
  assertFilled(on);
});

test("khugepaged collapses an area without pinned pages only, and copies pages shared with a child", () => {
  const on = machine("gup");
  fill(on);
  fork(on, 0, 1);
  on.disk.register(0, 3, 1);
  const frame = on.tables.frameOf(3);
  assert.deepEqual([khugepaged(on, 0, AREA), khugepaged(on, AREA, AREA)], [EAGAIN, 0]);
  assert.equal(on.tables.frameOf(3), frame);
  on.disk.unregister(0);
  assert.equal(khugepaged(on, 0, AREA), 0);
  assertFilled(on);
  assert.deepEqual(
    [on.frames.frameIs(on.tables.frameOf(5), HUGE), on.frames.frameIs(on.tables.frameOf(PAGES + 5), HUGE)],
    [true, false],
  );
  on.memory.store(5, 100);
  assert.equal(on.memory.load(PAGES + 5), 6);
  const before = on.tables.frameOf(5);
  assert.deepEqual([khugepaged(on, 0, AREA), on.tables.frameOf(5)], [0, before], "it's huge already");
});

test("a huge page is made on the node that most of it is on", () => {
  const on = machine("gup");
  fill(on);
  for (let page = 2; page < AREA; page++) assert.equal(on.memory.migrate(page, 1), 0);
  assert.equal(on.memory.collapse(0, AREA), 0);
  assert.equal(pagesOn(on, 1), AREA);
  assertFilled(on);
});

test("NUMA balancing skips pages shared with a child; a hint goes with its page, or with the next access", () => {
  const on = machine("gup");
  fill(on);
  on.tables.runOn(0, 1);
  for (const page of [0, 1, 2]) assert.equal(hint(on, page), 0);
  on.memory.load(0);
  on.memory.reclaim(1);
  on.memory.discard(2);
  for (const page of [0, 1, 2]) assert.equal(on.tables.is(page, PTE_PROTNONE), false);
  fork(on, 0, 1);
  assert.equal(hint(on, 3), EAGAIN);
});

/**
 * Buffers of a page, scattered over all of memory: of each three pages that were there one is left, which is what is
 * registered.
 */
function scattered(design: KernelDesign, registered: boolean): Kernel {
  const size = { frames: 256, nodes: 1, pages: 192, bufferSlots: 64, bufferPages: 1 };
  const on = machine(design, size);
  fill(on);
  for (let page = 0; page < on.size.pages; page++) if (page % 3 !== 0) on.memory.discard(page);
  for (let slot = 0; slot < 64 && registered; slot++) assert.equal(on.disk.register(slot, 3 * slot, 1), 0);
  return on;
}

/** Areas that are free as a whole. */
function freeAreas(on: Kernel): number {
  let areas = 0;
  for (let first = 0; first < on.size.frames; first += AREA) {
    const used = Array.from({ length: AREA }, (_, i) => on.frames.frameIs(first + i, IN_USE));
    if (!used.includes(true)) areas++;
  }
  return areas;
}

test("compaction makes room for huge pages between scattered buffers, not between those that are pinned", () => {
  for (const [design, registered, areas, held] of [
    ["gup", false, 24, 0],
    ["gup", true, 8, 64],
    ["notifier", true, 24, 0],
  ] as const) {
    const on = scattered(design, registered);
    assert.deepEqual([freeAreas(on), unmovable(on)], [8, held]);
    assert.equal(hugePagesObtainable(on, 0, AREA), areas);
    const { moved, held: refused } = compact(on);
    assert.deepEqual([refused, moved > 0], [held, held === 0]);
    assert.equal(freeAreas(on), areas, `${design}, registered: ${registered}`);
    for (let page = 0; page < on.size.pages; page++) assert.equal(on.memory.load(page), page % 3 === 0 ? page + 1 : 0);
  }
});

test("compaction ends after a limited number of pages; a partial area gives no huge page", () => {
  const on = scattered("gup", false);
  assert.deepEqual(compact(on, 0, 5), { moved: 5, held: 0 });
  const small = machine("gup", { frames: 12, nodes: 1, pages: 1 });
  fill(small);
  small.disk.register(0, 0, 1);
  assert.equal(hugePagesObtainable(small, 0, AREA), 0);
});

test("compaction in small steps, between all other events, loses nothing", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const on = machine("gup", { frames: 96, pages: 40, bufferSlots: 4 });
    const random = new Random(seed);
    const expected = new Array<number>(on.size.pages).fill(0);
    for (let step = 1; step <= 300; step++) {
      const page = random.below(on.size.pages);
      const slot = random.below(4);
      switch (random.below(8)) {
        case 0:
          compact(on, random.below(2), random.below(8));
          break;
        case 1:
          hint(on, page);
          break;
        case 2:
          on.tables.runOn(0, random.below(2));
          break;
        case 3:
          khugepaged(on, page - (page % AREA), AREA);
          break;
        case 4:
          on.memory.discard(page);
          expected[page] = 0;
          break;
        case 5:
          if (on.disk.slot(slot, 0) === 0) on.disk.register(slot, 0, 1 + random.below(PAGES));
          else on.disk.unregister(slot);
          break;
        default:
          assert.equal(on.memory.store(page, step), 0);
          expected[page] = step;
      }
      for (const [each, content] of expected.entries())
        assert.equal(on.memory.peek(each), content, `seed ${seed}, step ${step}`);
    }
    for (let slot = 0; slot < 4; slot++) if (on.disk.slot(slot, 0) !== 0) on.disk.unregister(slot);
    for (let page = 0; page < on.size.pages; page++) on.memory.discard(page);
    assert.deepEqual([on.frames.freeOf(0).length, on.frames.freeOf(1).length], [48, 48]);
  }
});
