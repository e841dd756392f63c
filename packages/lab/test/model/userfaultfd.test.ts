// Facts about userfaultfd that were measured on real kernels hold on the model: which threads wait, for what, when
// pages are freed, and what /proc shows of it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MMAN } from "pinless/portable";
import { Machine } from "../../dist/model/machine.js";
import { MemoryCalls } from "../../dist/model/memory-calls.js";
import { ModelUserfaultfd } from "../../dist/model/model-userfaultfd.js";
import { VM_MAPPED } from "../../dist/model/tables.js";
import { type ModelThread, ModelThreads } from "../../dist/model/threads.js";

const PAGE = 4096;
const PAGES = 16;
const OLD = 7;
const THEIRS = 8;

class Bed {
  readonly machine: Machine;
  readonly threads: ModelThreads;
  readonly userfaultfd = new ModelUserfaultfd();
  readonly calls: MemoryCalls;
  readonly thread: ModelThread;
  readonly start: number;
  readonly first: number;
  done = false;

  constructor(seed = 1) {
    const size = { frames: 128, pages: 128, swapSlots: 8, blocks: 8, bufferSlots: 2, bufferPages: 4 };
    this.machine = new Machine({ ...size, requests: 4, requestPages: 4 }, "gup", seed, false);
    this.threads = new ModelThreads(this.machine);
    this.calls = new MemoryCalls(this.machine, { unseenMs: 1, zapMs: 5 }, () => this.userfaultfd);
    this.thread = this.threads.start();
    this.start = this.machine.mapMemory(new ArrayBuffer(PAGES * PAGE));
    this.first = this.machine.pageAt(this.start);
    for (let i = 0; i < PAGES; i++) this.machine.memory.store(this.first + i, OLD);
  }

  range(from: number, count: number): { start: number; end: number } {
    return { start: this.start + from * PAGE, end: this.start + (from + count) * PAGE };
  }

  readonly ended = (): void => {
    this.done = true;
  };

  /** Until nothing is to come any more but what waits for a reader. */
  settle(): void {
    while (this.machine.clock.step());
  }

  contents(): number[] {
    return Array.from({ length: PAGES }, (_, i) => this.machine.memory.peek(this.first + i));
  }

  next(): [kind: string, firstPage: number, pages: number] | null {
    const event = this.userfaultfd.next();
    return event === null
      ? null
      : [event.kind, this.machine.pageAt(event.start) - this.first, (event.end - event.start) / PAGE];
  }

  get call(): string {
    return this.threads.callOf(this.thread.tid)!;
  }
}

function old(...gone: number[]): number[] {
  return Array.from({ length: PAGES }, (_, i) => (gone.includes(i) ? 0 : OLD));
}

for (const name of ["MADV_FREE", "MADV_DONTNEED"] as const) {
  test(`madvise(${name}): the caller waits until it's read, then frees`, () => {
    const bed = new Bed();
    bed.userfaultfd.register(bed.range(0, PAGES));
    bed.calls.discard(bed.thread, bed.range(2, 2), MMAN[name], bed.ended);
    bed.settle();
    assert.equal(bed.done, false);
    assert.deepEqual(bed.contents(), old());
    assert.deepEqual(
      bed.threads.callers().map(({ tid, kind, ranges }) => ({ tid, kind, ranges })),
      [{ tid: bed.thread.tid, kind: "remove", ranges: [bed.range(2, 2)] }],
    );
    assert.equal(bed.threads.waitsForReader(bed.thread.tid), true);
    assert.deepEqual(bed.next(), ["remove", 2, 2]);
    // It can't be seen to wait any more, and hasn't done anything yet.
    assert.deepEqual([bed.call, bed.threads.callers()], ["running", []]);
    assert.deepEqual(bed.contents(), old());
    bed.settle();
    assert.equal(bed.done, true);
    // What's free to be taken is there until it's taken.
    if (name === "MADV_FREE") bed.machine.memory.reclaim(bed.first + 2);
    assert.deepEqual(bed.contents(), name === "MADV_FREE" ? old(2) : old(2, 3));
    assert.equal(bed.next(), null);
  });
}

test("a call on memory in several mappings has an event for each, one after the other", () => {
  const bed = new Bed();
  bed.userfaultfd.register(bed.range(0, PAGES), [bed.start + 4 * PAGE, bed.start + 4 * PAGE]);
  bed.calls.discard(bed.thread, bed.range(3, 3), MMAN.MADV_DONTNEED, bed.ended);
  bed.settle();
  const { call } = bed;
  assert.deepEqual(bed.next(), ["remove", 3, 1]);
  assert.equal(bed.next(), null);
  bed.settle();
  assert.deepEqual(bed.contents(), old(3));
  assert.equal(bed.call, call, "it's the same call");
  assert.deepEqual(bed.next(), ["remove", 4, 2]);
  bed.settle();
  assert.deepEqual([bed.contents(), bed.done], [old(3, 4, 5), true]);
});

test("munmap: the pages have gone when its event comes, and other memory may be mapped there before it's read", () => {
  const bed = new Bed();
  bed.userfaultfd.register(bed.range(0, PAGES));
  bed.calls.unmap(bed.thread, bed.range(2, 2), bed.ended);
  bed.settle();
  assert.deepEqual(bed.contents(), old(2, 3));
  assert.equal(bed.machine.tables.is(bed.first + 2, VM_MAPPED), false);
  bed.calls.map(bed.range(2, 2));
  bed.machine.memory.store(bed.first + 2, THEIRS);
  assert.equal(bed.done, false);
  assert.deepEqual(bed.next(), ["unmap", 2, 2]);
  bed.settle();
  assert.deepEqual([bed.done, bed.machine.memory.peek(bed.first + 2)], [true, THEIRS]);
  // The memory that is there now has no userfaultfd: its discard is no event.
  bed.calls.discard(bed.thread, bed.range(2, 2), MMAN.MADV_DONTNEED, bed.ended);
  bed.settle();
  assert.deepEqual([bed.next(), bed.machine.memory.peek(bed.first + 2)], [null, 0]);
});

test("mmap over it: other memory is there at once, and the caller waits nevertheless", () => {
  const bed = new Bed();
  bed.userfaultfd.register(bed.range(0, PAGES));
  bed.calls.mapOver(bed.thread, bed.range(2, 2), bed.ended);
  bed.settle();
  assert.deepEqual([bed.contents(), bed.done], [old(2, 3), false]);
  assert.equal(bed.machine.memory.store(bed.first + 2, THEIRS), 0);
  assert.deepEqual(bed.next(), ["unmap", 2, 2]);
  bed.settle();
  assert.equal(bed.done, true);
});

test("mremap: the memory is elsewhere, and is followed there; one call raises two events", () => {
  const bed = new Bed();
  bed.userfaultfd.register(bed.range(0, PAGES));
  const to = bed.machine.mapMemory(new ArrayBuffer(2 * PAGE));
  bed.calls.moveAway(bed.thread, bed.range(2, 2), to, bed.ended);
  bed.settle();
  assert.deepEqual(bed.contents(), old(2, 3));
  assert.equal(bed.machine.memory.peek(bed.machine.pageAt(to)), OLD);
  for (let i = 0; i < 2; i++) {
    assert.equal(bed.done, false);
    assert.deepEqual(bed.next(), ["unmap", 2, 2]);
    bed.settle();
  }
  assert.equal(bed.done, true);
  bed.calls.discard(bed.thread, { start: to, end: to + PAGE }, MMAN.MADV_DONTNEED, bed.ended);
  bed.settle();
  assert.equal(bed.userfaultfd.next()?.start, to);
});

test("an event can be read before its caller can be seen waiting", () => {
  let unseen = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const bed = new Bed(seed);
    bed.userfaultfd.register(bed.range(0, PAGES));
    let readable = false;
    bed.userfaultfd.arm(() => {
      readable = true;
    });
    bed.calls.discard(bed.thread, bed.range(2, 2), MMAN.MADV_DONTNEED, bed.ended);
    while (!readable) assert.ok(bed.machine.clock.step());
    if (bed.threads.callers().length === 0) unseen++;
    assert.deepEqual(bed.next(), ["remove", 2, 2]);
    bed.settle();
    assert.equal(bed.done, true);
    assert.notEqual(bed.threads.waitsForReader(bed.thread.tid), true);
  }
  assert.equal(unseen, 20);
});

test("closing the userfaultfd lets all callers continue, and no later one waits", () => {
  const bed = new Bed();
  bed.userfaultfd.register(bed.range(0, PAGES));
  const another = bed.threads.start();
  let ended = 0;
  bed.calls.discard(bed.thread, bed.range(2, 2), MMAN.MADV_DONTNEED, () => ended++);
  bed.calls.unmap(another, bed.range(6, 1), () => ended++);
  bed.settle();
  assert.equal(ended, 0);
  bed.userfaultfd.close();
  bed.settle();
  assert.equal(ended, 2);
  bed.calls.discard(bed.thread, bed.range(8, 1), MMAN.MADV_DONTNEED, () => ended++);
  bed.settle();
  assert.deepEqual([ended, bed.contents()], [3, old(2, 3, 6, 8)]);
});

test("a thread uses no CPU time while it's blocked, or not scheduled", () => {
  const bed = new Bed();
  const { clock } = bed.machine;
  const passes = (): void => {
    clock.after(5, () => {});
    bed.settle();
  };
  const { thread } = bed;
  thread.runs();
  passes();
  thread.isKeptFromRunning();
  assert.equal(bed.call, "running");
  passes();
  thread.blocks({ call: "230 0x0", meant: null, reader: false });
  passes();
  assert.deepEqual([bed.threads.cpuMs(thread.tid), bed.call], [5, "230 0x0"]);
  thread.runs();
  passes();
  thread.ends();
  assert.deepEqual([bed.threads.cpuMs(thread.tid), bed.threads.callOf(thread.tid)], [10, null]);
});
