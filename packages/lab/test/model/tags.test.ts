// Time at which a dropped registration releases its pages and posts its tag, before and since Linux 6.13.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "../../dist/model/machine.js";
import { Tags, type TagWay } from "../../dist/model/tags.js";

/** Three registrations of a page each; what is posted, and when. */
function bed(way: TagWay, delayMs: number) {
  const size = { frames: 8, pages: 8, swapSlots: 0, blocks: 8, bufferSlots: 3, bufferPages: 1, requests: 4 };
  const machine = new Machine({ ...size, requestPages: 1 }, "gup", 1, false);
  const posted: [slot: number, atMs: number][] = [];
  const tags = new Tags(machine, way, delayMs, (slot) => posted.push([slot, machine.clock.nowMs]));
  for (let slot = 0; slot < 3; slot++) {
    machine.memory.mmap(slot);
    machine.disk.register(slot, slot, 1);
  }
  const begin = (slot: number): (() => void) => {
    const request = machine.disk.submit({ write: false, firstPage: slot, pages: 1, block: slot, bufferSlot: slot });
    tags.begun(request);
    return () => {
      machine.disk.serve(request);
      machine.disk.complete(request);
      tags.ended(request, machine.disk.release(request));
    };
  };
  return { machine, tags, posted, begin, run: () => void (machine.clock.busy && machine.clock.step()) };
}

test("since 6.13: a registration ends with its own last request, even if requests are pending on others", () => {
  const { machine, tags, posted, begin } = bed("own", 0);
  const endPipe = begin(2);
  const end = begin(0);
  tags.drop(0);
  tags.drop(1);
  assert.deepEqual([posted, machine.disk.pins], [[[1, 0]], 2]);
  end();
  assert.deepEqual([posted.length, machine.disk.pins], [2, 1]);
  endPipe();
  assert.equal(machine.disk.pins, 1);
});

test("before 6.13: a second late when idle, in the order of drops, and never beside a pending request", () => {
  const { machine, tags, posted, begin, run } = bed("in order", 1000);
  tags.drop(1);
  assert.deepEqual([posted, machine.disk.pins], [[], 3]);
  run();
  assert.deepEqual([posted, machine.disk.pins], [[[1, 1000]], 2]);
  const endPipe = begin(2);
  tags.drop(0);
  run();
  assert.deepEqual([posted.length, machine.disk.pins], [1, 2], "nothing comes while the pipe's read is pending");
  const endLater = begin(2);
  tags.drop(2);
  endLater();
  run();
  assert.equal(posted.length, 1, "not before an earlier drop's");
  endPipe();
  run();
  run();
  assert.deepEqual(posted.slice(1), [
    [0, 2000],
    [2, 2000],
  ]);
  assert.equal(machine.disk.pins, 0);
});
