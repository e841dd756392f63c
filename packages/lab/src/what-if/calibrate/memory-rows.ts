/**
 * Rows about the effect of pins on memory management, by frames and page tables (`model/`), by areas of 2 MiB, and at
 * fork.
 */

import type { NamedRandom } from "../../model/random.js";
import { HUGE_PAGES } from "../../model/tables.js";
import { Blocks } from "../blocks.js";
import { BUSY_SHARE, COSTS, forkUs } from "../costs.js";
import { planWith } from "../plan.js";
import { BLOCKS, counted, lost, machine, readAll } from "./bed.js";
import { type CalibrationRow, side } from "./row.js";

const GIB = 2 ** 30;
const BUSY = { measured: BUSY_SHARE.source.replace(/^measured: /, "") } as const;

export function memoryRows(random: NamedRandom): readonly CalibrationRow[] {
  return [hugePages(random), ...children(), moves(random), ...collapses(), discards(), ...reclaims()];
}

/** 8 GiB of scattered buffers in a machine of 24 GiB. */
function hugePages(random: NamedRandom): CalibrationRow {
  const plan = planWith({
    machine: { bytes: 24 * GIB, kernelShare: 0.02, strayShare: 0, otherShare: 0.04 },
    buffers: { bytes: 8 * GIB, spreadBytes: 16 * GIB },
  });
  const blocks = new Blocks(plan, random.stream("calibrate: layout"));
  const share = (pinned: number): number => {
    const { got, asked } = blocks.obtainable(pinned, 1, random.stream("calibrate: huge pages"));
    return (100 * got) / asked;
  };
  return {
    title: "huge pages the host can still get, 8 GiB of scattered 4 KiB buffers",
    unit: "% of those asked for",
    better: "more",
    sides: [side("registered", [48, 52], share(1)), side("not", [70, 79], share(0))],
    mechanism:
      "an area of 2 MiB with a page that can't be moved is never free; compaction's two scanners pass the rest once",
    inputs: [
      BUSY,
      {
        assumed:
          "every second page of 16 GiB is a buffer's; 2 % of 24 GiB are the kernel's, 4 % others'; 95 % of the rest is wanted",
      },
    ],
  };
}

function children(): readonly CalibrationRow[] {
  const chunks = GIB / 2 ** 21;
  const ms = (pinned: boolean): number => forkUs(chunks, 0, pinned) / 1000;
  const inputs = ["fork", "forkPage", "freshPage", "copyPage"] as const;
  return [
    {
      title: "starting a child process with 1 GiB of buffers",
      unit: "ms",
      better: "less",
      sides: [side("registered", [473, 537], ms(true)), side("not", [20, 49], ms(false))],
      mechanism: "fork copies a page table entry for each page, and the page as well where it's pinned",
      inputs,
    },
    {
      title: "the same, where the buffers are MADV_DONTFORK",
      unit: "ms",
      better: "less",
      sides: [
        side("not DONTFORK", [473, 537], ms(true)),
        { ...side("DONTFORK", 0.3, COSTS.fork.us / 1000), isInput: true },
      ],
      mechanism: "what isn't inherited isn't copied",
      inputs,
    },
  ];
}

function moves(random: NamedRandom): CalibrationRow {
  const PAGES = 4096;
  const on = machine(PAGES, 1);
  const busy = random.stream("calibrate: a page is busy");
  const moved = (): number => counted(PAGES, (page) => !busy.chance(BUSY_SHARE.share) && on.memory.migrate(page) === 0);
  on.disk.register(0, 0, PAGES);
  const registered = moved();
  on.disk.unregister(0);
  return {
    title: "move_pages of 4,096 pages to another NUMA node, right after unregistering",
    unit: "pages",
    better: "more",
    sides: [side("registered", 0, registered), side("not", 4089, moved())],
    mechanism: "a page with a reference beside its mappings isn't moved",
    inputs: [BUSY],
  };
}

function collapses(): readonly CalibrationRow[] {
  const PAGES = 64 * 256;
  const on = machine(PAGES, 1);
  const collapsed = (): number => {
    let pages = 0;
    for (let first = 0; first < PAGES; first += HUGE_PAGES)
      if (on.memory.collapse(first, HUGE_PAGES) === 0) pages += HUGE_PAGES;
    return pages;
  };
  on.disk.register(0, 0, PAGES);
  const registered = collapsed();
  on.disk.unregister(0);
  const done = collapsed();
  return [
    {
      title: "madvise(MADV_COLLAPSE) of 64 MiB",
      unit: "pages",
      better: "more",
      sides: [side("registered", 0, registered), side("not", PAGES, done)],
      mechanism: "EAGAIN where one page of 512 has a reference beside its mapping",
      inputs: [],
    },
    {
      title: "how long it takes",
      unit: "ms",
      better: "less",
      sides: [side("not registered", 42, (done * COSTS.collapsePage.us) / 1000), null],
      mechanism: "32 huge pages, one after the other",
      inputs: ["collapsePage"],
    },
  ];
}

function discards(): CalibrationRow {
  const after = (registered: boolean): number => {
    const on = machine(BLOCKS, BLOCKS);
    if (registered) on.disk.register(0, 0, BLOCKS);
    for (let page = 0; page < BLOCKS; page++) on.memory.discard(page);
    readAll(on, registered);
    return lost(on);
  };
  return {
    title: "pages lost of 1,024 that were read after a discard of their memory",
    unit: "pages",
    better: "less",
    sides: [side("registered", BLOCKS, after(true)), side("not", 0, after(false))],
    mechanism: "the registration's frames aren't the ones that the addresses show any more",
    inputs: [],
  };
}

type Way = "registered" | "populated" | "not";

function reclaims(): readonly CalibrationRow[] {
  const after = (way: Way, swapped: boolean): number => {
    const on = machine(BLOCKS, BLOCKS);
    for (let page = 0; page < BLOCKS; page++) {
      if (!swapped) on.memory.freeLazily(page);
      else if (on.memory.reclaim(page) === 0) on.memory.load(page);
    }
    if (way !== "not") on.disk.register(0, 0, BLOCKS);
    if (way === "populated") for (let page = 0; page < BLOCKS; page++) on.memory.populateWrite(page);
    readAll(on, way !== "not");
    if (way !== "not") on.disk.unregister(0);
    // The first pass may only discover that a page isn't free any more.
    for (let pass = 0; pass < 2; pass++) for (let page = 0; page < BLOCKS; page++) on.memory.reclaim(page);
    return lost(on);
  };
  const row = (
    title: string,
    measured: readonly [number, number],
    swapped: boolean,
    other: Way,
    name: string,
  ): CalibrationRow => ({
    title,
    unit: "pages",
    better: "less",
    sides: [side("registered", measured, after("registered", swapped)), side(name, 0, after(other, swapped))],
    mechanism: "dropping a registration marks no page dirty, and a clean page is thrown away",
    inputs: [],
  });
  return [
    row("pages lost of 1,024: MADV_FREE, read, given back, reclaimed", [1010, 1024], false, "not", "not"),
    row("the same, swapped out and in before", [1001, 1024], true, "not", "not"),
    row("the same, MADV_FREE, populated while registered", [1010, 1024], false, "populated", "populated"),
    row("the same, swapped, populated while registered", [1001, 1024], true, "populated", "populated"),
  ];
}
