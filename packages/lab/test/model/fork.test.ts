// Fork with copy-on-write on the model: what was measured of it on real kernels, and the way before Linux 5.12 as the
// control.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../pinless/dist-test/support/random.js";
import { exit, fork } from "../../dist/model/fork.js";
import { Kernel } from "../../dist/model/model-kernel.js";
import { WAIT } from "../../dist/model/page-tables.js";
import {
  BLOCK_CONTENT,
  type KernelDesign,
  MAPS,
  type MachineSize,
  PTE_WRITE,
  SLOT_EMPTY,
  SLOT_STATE,
  VM_DONTCOPY,
} from "../../dist/model/tables.js";
import { finish } from "./requests.js";

const OLD = 7;
const NEW = 100;
const PAGES = 4;
const ALL = 8;

function machine(design: KernelDesign, changes: Partial<MachineSize> = {}): Kernel {
  const size = { frames: 32, pages: ALL, processes: 3, swapSlots: 16, blocks: ALL, bufferSlots: 2, bufferPages: 8 };
  const made = new Kernel({ ...size, requests: 4, requestPages: 4, ...changes }, design);
  for (let page = 0; page < made.size.pages; page++) made.memory.mmap(page);
  for (let block = 0; block < made.size.blocks; block++) made.cache.setBlock(block, BLOCK_CONTENT, NEW + block);
  return made;
}

/** Contents of the first pages as a process sees them. */
function seen(on: Kernel, process: number): number[] {
  return Array.from({ length: PAGES }, (_, page) => on.memory.load(process * on.size.pages + page));
}

function store(on: Kernel, process: number, content: number): void {
  for (let page = 0; page < PAGES; page++) assert.equal(on.memory.store(process * on.size.pages + page, content), 0);
}

function readFile(on: Kernel, bufferSlot: number): void {
  finish(on, on.disk.submit({ write: false, firstPage: 0, pages: PAGES, block: 0, bufferSlot }));
}

function freeFrames(on: Kernel): number {
  let free = 0;
  while (on.frames.allocate(0) >= 0) free++;
  return free;
}

const all = (content: number): number[] => new Array(PAGES).fill(content);
const FROM_DISK = Array.from({ length: PAGES }, (_, page) => NEW + page);

for (const design of ["gup", "notifier"] as const)
  test(`${design}: a child sees its parent's memory as of the fork, whichever stores first; no page leaks`, () => {
    const on = machine(design);
    store(on, 0, OLD);
    assert.equal(fork(on, 0, 1), 0);
    assert.equal(fork(on, 1, 2), 0, "a child forks too");
    store(on, 0, 1);
    assert.deepEqual([seen(on, 0), seen(on, 1), seen(on, 2)], [all(1), all(OLD), all(OLD)]);
    store(on, 2, 3);
    assert.deepEqual([seen(on, 0), seen(on, 1), seen(on, 2)], [all(1), all(OLD), all(3)]);
    // The last one that has a frame stores to it without another copy.
    const frame = on.tables.frameOf(on.size.pages);
    assert.equal(on.frames.frame(frame, MAPS), 1);
    store(on, 1, 2);
    assert.equal(on.tables.frameOf(on.size.pages), frame);
    for (const process of [0, 1, 2]) assert.equal(exit(on, process), 0);
    assert.equal(freeFrames(on), on.size.frames);
  });

test("fork copies pinned pages without MADV_DONTFORK and no others, which is slow (1 GiB: 473 ms, not 26)", () => {
  const PINNED = 6;
  const forked = (prepare: (on: Kernel) => void): number => {
    const on = machine("gup");
    for (let page = 0; page < ALL; page++) on.memory.store(page, OLD);
    prepare(on);
    return fork(on, 0, 1);
  };
  const pin = (on: Kernel): void => void assert.equal(on.disk.register(0, 0, PINNED), 0);
  assert.equal(forked(pin), PINNED);
  assert.equal(
    forked((on) => {
      pin(on);
      on.disk.unregister(0);
    }),
    0,
  );
  assert.equal(
    forked((on) => {
      pin(on);
      for (let page = 0; page < ALL; page++) on.tables.setFlags(page, VM_DONTCOPY);
    }),
    0,
  );
});

test("MADV_DONTFORK: the child doesn't have the memory, and the parent's isn't shared", () => {
  const on = machine("gup");
  store(on, 0, OLD);
  on.tables.setFlags(0, VM_DONTCOPY);
  fork(on, 0, 1);
  assert.deepEqual(seen(on, 1), [-14, OLD, OLD, OLD]);
  assert.deepEqual([on.tables.is(0, PTE_WRITE), on.tables.is(1, PTE_WRITE)], [true, false]);
});

for (const sharesPinned of [false, true])
  test(`registered, fork, a store, a device write: ${sharesPinned ? "lost (before 5.12, control)" : "arrives"}`, () => {
    const on = machine("gup", { sharesPinned });
    store(on, 0, OLD);
    on.disk.register(0, 0, PAGES);
    assert.equal(fork(on, 0, 1), sharesPinned ? 0 : PAGES);
    store(on, 0, 1);
    readFile(on, 0);
    assert.deepEqual(seen(on, 0), sharesPinned ? all(1) : FROM_DISK);
    // What the parent lost its child has: it's in a frame of the parent's from before.
    assert.deepEqual(seen(on, 1), sharesPinned ? FROM_DISK : all(OLD));
  });

for (const sharesPinned of [false, true])
  test(`a read in flight at fork, parent stores: ${sharesPinned ? "lost (before 5.12, control)" : "arrives"}`, () => {
    const on = machine("gup", { sharesPinned });
    store(on, 0, OLD);
    const request = on.disk.submit({ write: false, firstPage: 0, pages: PAGES, block: 0, bufferSlot: -1 });
    fork(on, 0, 1);
    store(on, 0, 1);
    finish(on, request);
    assert.deepEqual(seen(on, 0), sharesPinned ? all(1) : FROM_DISK);
  });

for (const [design, way] of [
  ["gup", "registered"],
  ["gup", "not registered"],
  ["notifier", "registered"],
  ["notifier", "not registered"],
] as const)
  test(`${design}, ${way}: after fork a device writes to the parent only, and reads the parent's later stores`, () => {
    const on = machine(design);
    store(on, 0, OLD);
    assert.equal(fork(on, 0, 1), 0);
    const slot = way === "registered" ? 0 : -1;
    if (slot === 0) on.disk.register(0, 0, PAGES);
    readFile(on, slot);
    assert.deepEqual([seen(on, 0), seen(on, 1)], [FROM_DISK, all(OLD)]);
    if (slot === 0) on.disk.unregister(0);
    assert.equal(fork(on, 0, 2), 0);
    const request = on.disk.submit({ write: true, firstPage: 0, pages: PAGES, block: PAGES, bufferSlot: -1 });
    store(on, 0, 1);
    store(on, 2, 2);
    finish(on, request);
    assert.equal(on.cache.block(PAGES, BLOCK_CONTENT), 1);
    assert.deepEqual([seen(on, 0), seen(on, 1), seen(on, 2)], [all(1), all(OLD), all(2)]);
  });

test("the proposal: fork waits for I/O in flight and copies nothing; registrations find the parent's pages", () => {
  const on = machine("notifier");
  store(on, 0, OLD);
  on.disk.register(0, 0, PAGES);
  const request = on.disk.submit({ write: false, firstPage: 0, pages: PAGES, block: 0, bufferSlot: 0 });
  assert.equal(fork(on, 0, 1), WAIT);
  finish(on, request);
  assert.equal(fork(on, 0, 1), 0);
  store(on, 0, 1);
  readFile(on, 0);
  assert.deepEqual([seen(on, 0), seen(on, 1)], [FROM_DISK, FROM_DISK]);
  const childs = on.disk.submit({ write: false, firstPage: on.size.pages, pages: PAGES, block: 0, bufferSlot: -1 });
  assert.equal(exit(on, 1), WAIT);
  finish(on, childs);
  assert.equal(exit(on, 1), 0);
});

test("a page shared by two processes is swapped out for both, and comes back to each", () => {
  const on = machine("gup");
  store(on, 0, OLD);
  fork(on, 0, 1);
  for (let page = 0; page < PAGES; page++) assert.equal(on.memory.reclaim(page), 0);
  assert.deepEqual([on.tables.frameOf(0), on.tables.frameOf(on.size.pages)], [-1, -1]);
  fork(on, 0, 2);
  store(on, 0, 1);
  // One that is clean but for the device's word: what the others have in swap isn't overwritten.
  seen(on, 1);
  const request = on.disk.submit({ write: false, firstPage: on.size.pages, pages: PAGES, block: 0, bufferSlot: -1 });
  finish(on, request);
  for (let page = 0; page < 3 * on.size.pages; page++) assert.equal(on.memory.reclaim(page), 0);
  assert.deepEqual([seen(on, 0), seen(on, 1), seen(on, 2)], [all(1), FROM_DISK, all(OLD)]);
});

test("a page shared with a child isn't discarded lazily: the child keeps it", () => {
  const on = machine("gup");
  store(on, 0, OLD);
  fork(on, 0, 1);
  for (let page = 0; page < PAGES; page++) assert.equal(on.memory.freeLazily(page), 0);
  for (let pass = 0; pass < 2; pass++) for (let page = 0; page < PAGES; page++) on.memory.reclaim(page);
  assert.deepEqual(seen(on, 1), all(OLD));
});

test("without memory for the copies of pinned pages fork fails, and leaves nothing behind", () => {
  const on = machine("gup", { frames: ALL + 2 });
  for (let page = 0; page < ALL; page++) on.memory.store(page, OLD);
  on.disk.register(0, 0, PAGES);
  assert.equal(fork(on, 0, 1), -12);
  assert.deepEqual([seen(on, 0), seen(on, 1)], [all(OLD), all(-14)]);
  assert.equal(freeFrames(on), 2);
});

/** Reference: the contents that each process must see, without frames. */
class ExpectedContents {
  readonly pages = new Map<number, number[]>([[0, new Array(ALL).fill(0)]]);

  fork(parent: number, child: number): void {
    this.pages.set(child, [...this.pages.get(parent)!]);
  }
}

for (const design of ["gup", "notifier"] as const)
  test(`${design}: processes, I/O and reclaim in any order: each process sees its stores, the parent its reads`, () => {
    for (let seed = 1; seed <= 60; seed++) {
      const on = machine(design, { frames: 64, swapSlots: 64 });
      const random = new Random(seed);
      const expected = new ExpectedContents();
      let registered = false;
      let inFlight = -1;
      for (let step = 1; step <= 400; step++) {
        const processes = [...expected.pages.keys()];
        const process = processes[random.below(processes.length)]!;
        const at = random.below(ALL);
        const page = process * ALL + at;
        const absent = [1, 2].find((each) => !expected.pages.has(each));
        switch (random.below(9)) {
          case 0:
            if (absent !== undefined && fork(on, process, absent) >= 0) expected.fork(process, absent);
            break;
          case 1:
            if (process !== 0 && exit(on, process) === 0) expected.pages.delete(process);
            break;
          case 2:
          case 3:
            // What is being read into is the device's.
            if (inFlight >= 0 && process === 0 && at < PAGES) break;
            assert.equal(on.memory.store(page, step), 0);
            expected.pages.get(process)![at] = step;
            break;
          case 4:
            on.memory.reclaim(page);
            break;
          case 5:
            on.memory.migrate(page);
            break;
          case 6:
            on.memory.collapse(process * ALL, ALL);
            break;
          case 7:
            if (registered) on.disk.unregister(0);
            // The last one may still have its request.
            else if (on.disk.slot(0, SLOT_STATE) !== SLOT_EMPTY) break;
            else {
              assert.equal(on.disk.register(0, 0, PAGES), 0);
              for (let each = 0; each < PAGES; each++) on.memory.populateWrite(each);
            }
            registered = !registered;
            break;
          default:
            if (inFlight < 0) {
              const bufferSlot = registered ? 0 : -1;
              inFlight = on.disk.submit({ write: false, firstPage: 0, pages: PAGES, block: 0, bufferSlot });
            } else {
              finish(on, inFlight);
              inFlight = -1;
              expected.pages.get(0)!.splice(0, PAGES, ...FROM_DISK);
            }
        }
        for (const [each, contents] of expected.pages)
          for (const [i, content] of contents.entries())
            if (inFlight < 0 || each !== 0 || i >= PAGES)
              assert.equal(
                on.memory.peek(each * ALL + i),
                content,
                `seed ${seed}, step ${step}: process ${each}, page ${i}`,
              );
      }
      if (inFlight >= 0) finish(on, inFlight);
      if (registered) on.disk.unregister(0);
      for (const process of expected.pages.keys()) assert.equal(exit(on, process), 0);
      assert.equal(on.disk.pins, 0);
      assert.equal(freeFrames(on), on.size.frames, `seed ${seed}`);
    }
  });
