/** Use of the disks that the jobs' files are on, from /sys/dev/block. */

import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import { deviceDirectory } from "./lay-files.js";

/** Counters of a disk during the run; pairs are of reads and writes. */
export interface DiskUse {
  readonly name: string;
  readonly ios: readonly [number, number];
  readonly sectors: readonly [number, number];
  readonly merges: readonly [number, number];
  readonly ticks: readonly [number, number];
  readonly inQueueMs: number;
  /** Share of the time with I/O in flight, in percent. */
  readonly util: number;
  /** Disks that it's made of (device mapper, RAID). */
  readonly slaves: readonly DiskUse[];
}

/** Counters of disks at a moment. */
export class DiskWatch {
  readonly #began = performance.now();
  readonly #disks = new Map<string, readonly number[]>();

  constructor(files: Iterable<string>) {
    for (const file of files) {
      const disk = diskOf(file);
      if (disk !== null) this.#watch(disk);
    }
  }

  #watch(disk: string): void {
    const counters = countersOf(disk);
    if (counters === null) return;
    this.#disks.set(disk, counters);
    for (const slave of slavesOf(disk)) this.#watch(slave);
  }

  /** Use since the beginning. */
  use(): DiskUse[] {
    const elapsedMs = performance.now() - this.#began;
    const useOf = (disk: string): DiskUse => {
      const before = this.#disks.get(disk)!;
      const now = countersOf(disk) ?? before;
      const went = (field: number): number => now[field]! - before[field]!;
      return {
        name: path.basename(disk),
        ios: [went(0), went(4)],
        merges: [went(1), went(5)],
        sectors: [went(2), went(6)],
        ticks: [went(3), went(7)],
        inQueueMs: went(10),
        util: Math.min(100, (100 * went(9)) / elapsedMs),
        slaves: slavesOf(disk).map(useOf),
      };
    };
    return [...this.#disks.keys()].map(useOf);
  }
}

/** Directory of /sys of the disk that a file is on, or of the device that it is; null if it's on none. */
function diskOf(file: string): string | null {
  const stat = statSync(existsSync(file) ? file : path.dirname(file));
  const directory = deviceDirectory(stat.isBlockDevice() ? stat.rdev : stat.dev);
  if (!existsSync(directory)) return null;
  const real = realpathSync(directory);
  return existsSync(path.join(real, "partition")) ? path.dirname(real) : real;
}

function slavesOf(disk: string): string[] {
  const directory = path.join(disk, "slaves");
  return existsSync(directory) ? readdirSync(directory).map((name) => realpathSync(path.join(directory, name))) : [];
}

function countersOf(disk: string): readonly number[] | null {
  const stat = path.join(disk, "stat");
  return existsSync(stat) ? readFileSync(stat, "latin1").trim().split(/\s+/).map(Number) : null;
}
