/**
 * Rows without times: what happens to registered memory, and what the kernel refuses to do with it. Each happens to all
 * pages or to none.
 */

import { Machine } from "../../model/machine.js";
import { lock, ringPages } from "../../model/memlock-account.js";
import { Kernel } from "../../model/model-kernel.js";
import type { NamedRandom } from "../../model/random.js";
import { BLOCK_CONTENT, HUGE_PAGES, PTE_SOFT_DIRTY } from "../../model/tables.js";
import { Tags, type TagWay } from "../../model/tags.js";
import { BLOCKS, counted, machine, NEW, readAll } from "./bed.js";
import { type CalibrationRow, input, side } from "./row.js";

/**
 * Source for the delayed unpinning of an unregistered request's pages, some milliseconds after its completion: 7 to 38
 * of 300 tries met it.
 */
const HELD_SHARE = 0.075;

export function behaviourRows(random: NamedRandom): readonly CalibrationRow[] {
  return [
    registersReadOnly(),
    writesReadOnly(),
    softDirty(),
    collapseRightAfter(random),
    ...readsInFlight(),
    locked(),
    revoked(),
  ];
}

function percent(pages: number): number {
  return (100 * pages) / BLOCKS;
}

function registersReadOnly(): CalibrationRow {
  const registered = (access: "read" | "readwrite"): number => {
    const on = machine(BLOCKS, 1);
    for (let page = 0; page < BLOCKS; page++) on.memory.protect(page, access);
    return counted(BLOCKS, (page) => {
      if (on.disk.register(0, page, 1) < 0) return false;
      on.disk.unregister(0);
      return true;
    });
  };
  return {
    title: "pages that can be registered",
    unit: "%",
    better: "more",
    sides: [side("read-only", 0, percent(registered("read"))), side("writable", 100, percent(registered("readwrite")))],
    mechanism: "a registration finds its pages for writing, and is refused (EFAULT) where that isn't allowed",
    inputs: [],
  };
}

function writesReadOnly(): CalibrationRow {
  const written = (registered: boolean): number => {
    const on = machine(BLOCKS, 1);
    return counted(BLOCKS, (page) => {
      if (registered) on.disk.register(0, page, 1);
      on.memory.protect(page, "read");
      const request = on.disk.submit({
        write: false,
        firstPage: page,
        pages: 1,
        block: page,
        bufferSlot: registered ? 0 : -1,
      });
      if (request >= 0) {
        on.disk.serve(request);
        on.disk.complete(request);
        on.disk.release(request);
      }
      if (registered) on.disk.unregister(0);
      return on.memory.peek(page) === NEW + page;
    });
  };
  return {
    title: "pages that a device wrote after they had been made read-only",
    unit: "%",
    better: "less",
    sides: [side("registered before", 100, percent(written(true))), side("not", 0, percent(written(false)))],
    mechanism: "who goes by a registration doesn't look at page tables",
    inputs: [],
  };
}

function softDirty(): CalibrationRow {
  const unseen = (registered: boolean): number => {
    const on = machine(BLOCKS, BLOCKS);
    if (registered) on.disk.register(0, 0, BLOCKS);
    for (let page = 0; page < BLOCKS; page++) on.memory.clearSoftDirty(page);
    readAll(on, registered);
    return counted(BLOCKS, (page) => on.memory.peek(page) === NEW + page && !on.tables.is(page, PTE_SOFT_DIRTY));
  };
  return {
    title: "pages that a device wrote without a trace in their soft-dirty bits",
    unit: "%",
    better: "less",
    sides: [side("registered", 100, percent(unseen(true))), side("not", 0, percent(unseen(false)))],
    mechanism: "the bit is set by the fault that finds a page for writing: a registration's was long ago",
    inputs: [],
  };
}

function collapseRightAfter(random: NamedRandom): CalibrationRow {
  const TRIES = 300;
  const held = random.stream("calibrate: pages are held on");
  const refused = (registered: boolean): number =>
    counted(TRIES, () => {
      const on = machine(1, 1);
      if (registered) on.disk.register(0, 0, 1);
      const request = on.disk.submit({
        write: false,
        firstPage: 0,
        pages: 1,
        block: 0,
        bufferSlot: registered ? 0 : -1,
      });
      on.disk.serve(request);
      on.disk.complete(request);
      // A tag means that the pages are unpinned; a completion doesn't.
      if (registered || !held.chance(HELD_SHARE)) on.disk.release(request);
      if (registered) on.disk.unregister(0);
      return on.memory.collapse(0, 1) < 0;
    });
  return {
    title: "MADV_COLLAPSE refused, of 300 tries right after the last I/O",
    unit: "tries",
    better: "less",
    sides: [
      input("completed, not registered", [7, 38], refused(false)),
      side("a lease's tag was seen", 0, refused(true)),
    ],
    mechanism: "a page with a reference beside its mapping isn't collapsed",
    inputs: [{ measured: "the share itself (7 to 38 of 300): why the kernel lets go late isn't modelled" }],
  };
}

/** Discards memory after a write of it to the disk has begun. */
function readsInFlight(): readonly CalibrationRow[] {
  const arrived = (again: boolean): number => {
    const on = machine(BLOCKS, BLOCKS);
    on.disk.register(0, 0, BLOCKS);
    for (let page = 0; page < BLOCKS; page++) on.memory.store(page, NEW + page);
    const transfer = { write: true, firstPage: 0, pages: BLOCKS, block: 0 };
    const request = on.disk.submit({ ...transfer, bufferSlot: 0 });
    for (let page = 0; page < BLOCKS; page++) on.memory.discard(page);
    while (!on.disk.serve(request));
    on.disk.complete(request);
    on.disk.release(request);
    if (again) {
      const second = on.disk.submit({ ...transfer, bufferSlot: -1 });
      while (!on.disk.serve(second));
    }
    return counted(BLOCKS, (page) => on.cache.block(page, BLOCK_CONTENT) === NEW + page);
  };
  return [
    {
      title: "blocks as asked for, where memory was discarded while it was being written to the disk",
      unit: "%",
      better: "more",
      sides: [side("issued once", 100, percent(arrived(false))), side("issued again", 0, percent(arrived(true)))],
      mechanism: "the request has the old frames; a second one finds zeros",
      inputs: [],
    },
  ];
}

/** Locks a ring of 64 entries and buffers of 2 MiB, for a user who isn't root. */
function locked(): CalibrationRow {
  const BUFFERS = 4;
  const USER = 0;
  const registered = (limitMiB: number): number => {
    const size = { frames: BUFFERS * HUGE_PAGES, pages: BUFFERS * HUGE_PAGES, swapSlots: 0, blocks: 1, requests: 1 };
    const memlock = { users: 1, pages: limitMiB * 256 };
    const on = new Kernel({ ...size, bufferSlots: BUFFERS, bufferPages: HUGE_PAGES, requestPages: 1, memlock }, "gup");
    for (let page = 0; page < size.pages; page++) on.memory.mmap(page);
    lock(on.frames, USER, ringPages(64, 128));
    return counted(BUFFERS, (i) => on.disk.register(i, i * HUGE_PAGES, HUGE_PAGES, USER) === 0);
  };
  return {
    title: "buffers of 2 MiB that an ordinary user can register, of 4",
    unit: "buffers",
    better: "more",
    sides: [side("RLIMIT_MEMLOCK 8 MiB", 3, registered(8)), side("a limit that isn't met", 4, registered(1024))],
    mechanism: "rings and registrations are charged to their user, all pages of them",
    inputs: [],
  };
}

/** Time for which the pages of an idle registration stay pinned after it was dropped. */
function revoked(): CalibrationRow {
  const ms = (way: TagWay, delayMs: number): number => {
    const size = { frames: 1, pages: 1, swapSlots: 0, blocks: 1, bufferSlots: 1, bufferPages: 1, requests: 1 };
    const on = new Machine({ ...size, requestPages: 1 }, "gup", 1, false);
    let postedMs = Number.NaN;
    const tags = new Tags(on, way, delayMs, () => {
      postedMs = on.clock.nowMs;
    });
    on.memory.mmap(0);
    on.disk.register(0, 0, 1);
    tags.drop(0);
    while (on.clock.step());
    return postedMs;
  };
  return {
    title: "from giving an idle registration back to its tag",
    unit: "ms",
    better: "less",
    sides: [side("Linux 6.1", [1020, 1055], ms("in order", 1000)), side("Linux 6.18", 0, ms("own", 0))],
    mechanism: "drops were collected, and released in their order by work that was put off; now each goes by itself",
    inputs: [{ assumed: "the work is put off by a second (HZ, in io_rsrc_node_ref_zero)" }],
  };
}
