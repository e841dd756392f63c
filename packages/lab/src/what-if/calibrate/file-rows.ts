/**
 * Rows about device writes into a mapping of a file, with msync and a flusher beside them. Each round is about one
 * page; the steps of the program, the flusher and the kernel's release of the page come in a random order.
 */

import { Kernel } from "../../model/model-kernel.js";
import { msyncSteps } from "../../model/msync-steps.js";
import type { NamedRandom, Stream } from "../../model/random.js";
import { BLOCK_CHECKSUM, BLOCK_CONTENT, FILESYSTEMS, inFile } from "../../model/tables.js";
import { type CalibrationRow, input, type Measured, side } from "./row.js";

/**
 * The mapped page of a file, a page of another file that is read from, a snapshot of the first, and pages of memory.
 */
const MAPPED = 0;
const SOURCE = 1;
const SNAPSHOT = 2;
const MAPPING = 0;
const ANONYMOUS = 1;
const OLD = 7;
const NEW = 100;

type Filesystem = keyof typeof FILESYSTEMS;
/**
 * A step, taken after at most a number of microseconds. It returns false if it has to wait, and is then tried again.
 */
interface Step {
  readonly mostUs: number;
  readonly run: () => boolean;
}

const DEVICE_US = 200;
const AT_ONCE_US = 2;
/** Longest times until the kernel's workers have marked and released the page, and until the flusher comes. */
const WORKER_US = 100;
const FLUSHER_US = 300;
const ASSUMED = {
  assumed:
    `the device takes up to ${DEVICE_US} µs, the kernel's workers ${WORKER_US}, and the flusher comes within ` +
    `${FLUSHER_US}: chosen so that the share on ext4 is right`,
};

export function fileRows(random: NamedRandom): readonly CalibrationRow[] {
  const order = random.stream("calibrate: the order of steps");
  return [registers(), ...unwritten(order), checksums(order), snapshots(order)];
}

function machine(filesystem: Filesystem): Kernel {
  const size = { frames: 8, pages: 2, swapSlots: 1, blocks: 6, bufferSlots: 1, bufferPages: 1 };
  const on = new Kernel({ ...size, requests: 1, requestPages: 1, inodePages: 3 }, "gup");
  for (const inodePage of [MAPPED, SOURCE, SNAPSHOT]) on.cache.extendFile(inodePage, FILESYSTEMS[filesystem]);
  on.cache.preallocate(SOURCE);
  on.cache.setBlock(on.cache.blockOf(SOURCE), BLOCK_CONTENT, NEW);
  on.cache.setBlock(on.cache.blockOf(SOURCE), BLOCK_CHECKSUM, NEW);
  on.memory.mmap(ANONYMOUS);
  on.memory.mapFile(MAPPING, MAPPED);
  on.memory.store(MAPPING, OLD);
  return on;
}

/** Steps of a read into the mapping, direct or through other memory, and of the later release of the page. */
function reading(on: Kernel, straight: boolean): { program: Step[]; kernel: Step } {
  let request = -1;
  let ended = false;
  const submit = (): boolean => {
    const firstPage = straight ? MAPPING : ANONYMOUS;
    request = on.disk.submit({ write: false, firstPage, pages: 1, block: inFile(SOURCE), bufferSlot: -1 });
    return request >= 0;
  };
  const complete = (): boolean => {
    on.disk.complete(request);
    ended = true;
    return true;
  };
  const copy = (): boolean => straight || on.memory.store(MAPPING, on.memory.load(ANONYMOUS)) === 0;
  const release = (): boolean => {
    if (ended) on.disk.release(request);
    return ended;
  };
  const program = [soon(submit), later(DEVICE_US, () => on.disk.serve(request)), soon(complete), soon(copy)];
  return { program, kernel: later(WORKER_US, release) };
}

function writingBack(on: Kernel): Step[] {
  const [begin, serve, end] = msyncSteps(on, MAPPED);
  return [soon(begin!), later(DEVICE_US, serve!), soon(end!)];
}

function flusher(on: Kernel): Step[] {
  return [later(FLUSHER_US, () => true), ...writingBack(on)];
}

function later(mostUs: number, run: () => boolean): Step {
  return { mostUs, run };
}

function soon(run: () => boolean): Step {
  return later(AT_ONCE_US, run);
}

/** Interleaves the steps of all actors; each actor's stay in order. */
function go(actors: readonly Step[][], order: Stream): void {
  const left = actors.map((steps) => ({ steps, next: 0, atUs: order.upTo(steps[0]!.mostUs) }));
  while (left.length > 0) {
    const first = left.reduce((a, b) => (b.atUs < a.atUs ? b : a));
    if (first.steps[first.next]!.run()) first.next++;
    const step = first.steps[first.next];
    if (step === undefined) left.splice(left.indexOf(first), 1);
    else first.atUs += AT_ONCE_US + order.upTo(step.mostUs);
  }
}

interface Rounds {
  /** Rounds after whose msync the data that was read wasn't on the disk. */
  unwritten: number;
  /** Rounds after whose msync the checksum was of other data. */
  corrupt: number;
}

interface RoundsOf {
  readonly count: number;
  readonly filesystem: Filesystem;
  /** True if the file is read straight into the mapping. */
  readonly straight: boolean;
  /** True if a flusher runs beside. */
  readonly flushed: boolean;
}

function rounds({ count, filesystem, straight, flushed }: RoundsOf, order: Stream): Rounds {
  const found = { unwritten: 0, corrupt: 0 };
  for (let round = 0; round < count; round++) {
    const on = machine(filesystem);
    const { program, kernel } = reading(on, straight);
    const look = (): boolean => {
      if (on.cache.isCorrupt(MAPPED)) found.corrupt++;
      if (on.cache.block(on.cache.blockOf(MAPPED), BLOCK_CONTENT) !== NEW) found.unwritten++;
      return true;
    };
    go([[...program, ...writingBack(on), soon(look)], [kernel], ...(flushed ? [flusher(on)] : [])], order);
  }
  return found;
}

function unwritten(order: Stream): readonly CalibrationRow[] {
  const row = (filesystem: "ext4" | "xfs", count: number, measured: number): CalibrationRow => ({
    title:
      "msync returned, but data read into the mapping wasn't on the disk: " +
      `of ${count.toLocaleString("en")} rounds on ${filesystem}`,
    unit: "rounds",
    better: "less",
    sides: [
      // The flusher's time was chosen so that this row agrees.
      (filesystem === "ext4" ? input : side)(
        "a flusher beside it",
        measured,
        rounds({ count, filesystem, straight: true, flushed: true }, order).unwritten,
      ),
      side("none", 0, rounds({ count, filesystem, straight: true, flushed: false }, order).unwritten),
    ],
    mechanism:
      "a page that the flusher has cleaned is marked dirty after the device wrote to it, too late for msync to see",
    inputs: [ASSUMED],
  });
  return [row("ext4", 1140, 114), row("xfs", 2453, 337)];
}

function checksums(order: Stream): CalibrationRow {
  const ROUNDS = 5000;
  const measured: Measured = [918, 918];
  const corrupt = (straight: boolean): number =>
    rounds({ count: ROUNDS, filesystem: "btrfs", straight, flushed: true }, order).corrupt;
  return {
    title: "wrong checksums on a btrfs, device writes into a mapping beside msync for 8 s",
    unit: "errors",
    better: "less",
    sides: [input("straight", measured, corrupt(true)), side("by way of other memory", 0, corrupt(false))],
    mechanism: "the checksum is taken when writeback begins; a device that writes then changes what it's of",
    inputs: [ASSUMED, { assumed: `8 s are ${ROUNDS.toLocaleString("en")} rounds` }],
  };
}

/**
 * Row about snapshots: they share blocks with their file until the filesystem sees a store, and a device's it doesn't.
 */
function snapshots(order: Stream): CalibrationRow {
  const ROUNDS = 1000;
  const overwritten = (straight: boolean): number => {
    let count = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const on = machine("xfs");
      const { program, kernel } = reading(on, straight);
      let made = 0;
      const clone = (): boolean => {
        if (on.cache.isDirty(MAPPED)) go([writingBack(on)], order);
        if (on.cache.clone(MAPPED, SNAPSHOT) !== 0) return false;
        made = on.cache.contentOfInode(SNAPSHOT);
        return true;
      };
      go([program, [kernel], [...writingBack(on), soon(clone)]], order);
      go([writingBack(on)], order);
      if (on.cache.contentOfInode(SNAPSHOT) !== made) count++;
    }
    return count;
  };
  const happens = (straight: boolean): number => (overwritten(straight) > 0 ? 1 : 0);
  return {
    title: "a snapshot (FICLONE on xfs) is overwritten by a device that writes into a mapping of the file",
    unit: "1: it happens",
    better: "less",
    sides: [side("straight", 1, happens(true)), side("by way of other memory", 0, happens(false))],
    mechanism: "a page is given a block of its own by the fault that makes it writable, and a device makes none",
    inputs: [],
  };
}

function registers(): CalibrationRow {
  const registered = (page: number): number => (machine("ext4").disk.register(0, page, 1) === 0 ? 100 : 0);
  return {
    title: "memory that can be registered",
    unit: "%",
    better: "more",
    sides: [side("a mapping of a regular file", 0, registered(MAPPING)), side("anonymous", 100, registered(ANONYMOUS))],
    mechanism: "long-term pins of pages that are written back are refused (EFAULT)",
    inputs: [],
  };
}
