/**
 * Tests the kernel's path of direct writes: copies of the data, which follow from filesystem and kernel, and io_uring's
 * worker threads, by a write.
 */

import { closeSync, fstatSync, fsyncSync, readdirSync } from "node:fs";
import { release } from "node:os";
import { setTimeout } from "node:timers/promises";
import { Engine } from "pinless";
import { PAGE_BYTES, readText } from "pinless/internal";
import { type DirectIoFacts, scratchFile } from "./direct-io.js";
import { degraded, type Found, ok } from "./finding.js";
import { look, readNumber } from "./kernel-files.js";

const ARENA_BYTES = 2 << 20;
/** Longer than a tick of the clock that files' times are taken from. */
const TICK_MS = 12;

/** Copy that the kernel makes of the data of a direct write. */
export type WriteCopy = "none" | "page cache" | "stable pages";

export interface DirectWriteFacts {
  readonly copied: WriteCopy | null;
  /** True if io_uring hands writes to a worker thread of the kernel (iou-wrk). */
  readonly inWorker: boolean | null;
}

export const NO_DIRECT_WRITE_FACTS: DirectWriteFacts = { copied: null, inWorker: null };

export interface Filesystem {
  readonly type: string;
  readonly options: readonly string[];
  /** True if its device needs pages that don't change during a write (queue/stable_writes). */
  readonly stableWrites: boolean;
}

/** True from this release of Linux on, e.g. `isFrom(7, 0, "6.18.4-generic")`. */
function isFrom(major: number, minor: number, kernel: string): boolean {
  const [first = 0, second = 0] = kernel.split(/[.-]/).map(Number);
  return first > major || (first === major && second >= minor);
}

/** The copy that a kernel makes there. Linux 6.18 was measured; 7.0 is by its sources. */
export function writeCopyOf({ type, options, stableWrites }: Filesystem, kernel = release()): WriteCopy {
  const bounces = isFrom(7, 0, kernel);
  if (type === "btrfs") {
    if (options.includes("nodatasum") || options.includes("nodatacow") || !isFrom(6, 15, kernel)) return "none";
    return bounces ? "stable pages" : "page cache";
  }
  return type === "xfs" && stableWrites && bounces ? "stable pages" : "none";
}

export async function examineDirectWrites(path: string, directIo: DirectIoFacts): Promise<Found<DirectWriteFacts>> {
  if (directIo.opens !== true) return { ...degraded("not tried: there is no direct I/O"), ...NO_DIRECT_WRITE_FACTS };
  const { mount } = look(path);
  const { type = "", options = [], device = "" } = mount ?? {};
  const copied = writeCopyOf({ type, options, stableWrites: needsStablePages(device) });
  const inWorker = directIo.kind === "directory" ? await tryWorker(path) : null;
  const facts = { copied, inWorker };
  const where =
    inWorker === null ? "" : `; io_uring ${inWorker ? "hands each to a worker thread" : "issues them at once"}`;
  switch (copied) {
    case "page cache":
      return {
        ...degraded(
          `copied to the page cache, because ${type} keeps checksums of the data${where}`,
          "Mount with nodatasum, or chattr +C the directory before files are made, if you can do without checksums.",
        ),
        ...facts,
      };
    case "stable pages":
      return {
        ...degraded(`copied to pages of the kernel, because checksums need data that don't change${where}`),
        ...facts,
      };
    case "none":
      break;
  }
  const found = `not copied${where}`;
  if (inWorker === true && type === "xfs" && isFrom(7, 0, release()) && !options.includes("lazytime"))
    return { ...degraded(found, "Mount with lazytime: then the time of a write needs no worker thread."), ...facts };
  return { ...ok(found), ...facts };
}

/** True if a block device, or the disk that it's a partition of, needs stable pages. */
function needsStablePages(device: string): boolean {
  const at = `/sys/dev/block/${device}`;
  // The path with ".." is resolved by the kernel, because the first part is a symbolic link.
  return (readNumber(`${at}/queue/stable_writes`) ?? readNumber(`${at}/../queue/stable_writes`)) === 1;
}

/** Overwrites a page of a scratch file by io_uring. True if a worker thread did it; null if it can't be tried. */
async function tryWorker(directory: string): Promise<boolean | null> {
  const fd = scratchFile(directory);
  try {
    // Its blocks are there then, so that only the file's time is left to change.
    fsyncSync(fd);
    const engine = await Engine.open({ scheme: "io_uring", pin: "per-io" }).catch(() => null);
    if (engine === null) return null;
    try {
      const file = await engine.openFile(`/proc/self/fd/${fd}`, "r+");
      const memory = (await engine.arena({ bytes: ARENA_BYTES })).alloc(PAGE_BYTES);
      const before = workerSwitches();
      // A time that was looked at is changed by the next write.
      fstatSync(fd);
      await setTimeout(TICK_MS);
      await file.write(memory, { position: 0 });
      return workerSwitches() > before;
    } finally {
      await engine.close();
    }
  } finally {
    closeSync(fd);
  }
}

/** Number of times that worker threads of io_uring have begun or gone back to sleep. */
function workerSwitches(): number {
  let switches = 0;
  for (const thread of readdirSync("/proc/self/task")) {
    const status = readText(`/proc/self/task/${thread}/status`) ?? "";
    if (!status.startsWith("Name:\tiou-wrk")) continue;
    switches += 1 + Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)?.[1] ?? 0);
  }
  return switches;
}
