/**
 * Whether memory is short, as the kernel tells it: PSI of the host and of this process's cgroup, limits that its memory cgroup met, and
 * failures to move pages.
 *
 * Read when the engine asks, not signalled by triggers: an ordinary user's trigger looks once in 2 s and root's every 500 ms at best, while
 * PSI's total is exact at any moment; a trigger costs the kernel a thread that looks ten times a window, also while no lease is live.
 */

import { readFileSync } from "../linux/originals.js";
import { readText } from "../linux/probe.js";
import { whyHidden } from "../linux/runtime.js";
import type { PressureReading, PressureSource } from "../protocol/pressure.js";
import { type Cgroups, cgroupsOf } from "./cgroups.js";

const HOST_STALLS = "/proc/pressure/memory";
const VMSTAT = "/proc/vmstat";
/** What pins stand in the way of. */
const FAILURES = /^(?:compact_fail|pgmigrate_fail|thp_fault_fallback) (\d+)$/gm;

const COMPACTED = /^compact_migrate_scanned (\d+)$/m;

export interface OpenedPressure {
  readonly source: PressureSource | null;
  /** What this kernel doesn't tell, a sentence each. */
  readonly missing: readonly string[];
}

/** The cgroup is looked up once: whoever starts a process puts it into one first. */
export function openPressure(): OpenedPressure {
  try {
    return lookedUp();
  } catch (error) {
    return { source: null, missing: [`whether memory is short isn't followed: ${(error as Error).message}`] };
  }
}

function lookedUp(): OpenedPressure {
  const text = (file: string): string => readText(file) ?? "";
  const cgroups = cgroupsOf(text("/proc/self/cgroup"), text("/proc/self/mountinfo"), readText);
  const stalls = [HOST_STALLS, ...cgroups.stalls].filter((file) => !Number.isNaN(stalledUs(readText(file))));
  const missing: string[] = [];
  if (!stalls.includes(HOST_STALLS))
    missing.push(
      whyHidden(HOST_STALLS) ??
        `the kernel says nothing of memory pressure: ${HOST_STALLS} needs CONFIG_PSI, and psi=1 where it's off by default`,
    );
  if (cgroups.limits.length === 0) missing.push("this process is in no memory cgroup whose limits it can see");
  const files = [...stalls, ...cgroups.limits.map(({ directory }) => directory)];
  // The host's failures alone aren't pressure: compaction fails on a host with lots of memory too.
  return { source: files.length === 0 ? null : new KernelPressure(stalls, cgroups.limits), missing };
}

class KernelPressure implements PressureSource {
  readonly name: string;
  readonly #stalls: readonly string[];
  readonly #limits: Cgroups["limits"];
  readonly #hits: number[];
  /** Which limit was met last. */
  #met = 0;

  constructor(stalls: readonly string[], limits: Cgroups["limits"]) {
    this.name = [...stalls, ...limits.map(({ directory }) => directory)].join(", ");
    this.#stalls = stalls;
    this.#limits = limits;
    this.#hits = limits.map(() => 0);
  }

  read(): PressureReading {
    let limitHits = 0;
    let oomKills = 0;
    for (const [i, limit] of this.#limits.entries()) {
      const hits = sumOf(limit.hits.pattern, readAgain(limit.hits.file));
      if (hits > this.#hits[i]!) this.#met = i;
      this.#hits[i] = hits;
      limitHits += hits;
      oomKills += sumOf(OOM_KILLS, readAgain(limit.ooms));
    }
    const failures = sumOf(FAILURES, readAgain(VMSTAT));
    return { stallsUs: this.#stalls.map((file) => stalledUs(readAgain(file))), limitHits, oomKills, failures };
  }

  scannedPages(): number {
    const text = readAgain(VMSTAT);
    return text === null ? Number.NaN : Number(COMPACTED.exec(text)?.[1] ?? 0);
  }

  cacheShare(): number {
    const limit = this.#limits[this.#met];
    if (limit === undefined) return 1;
    const used = Number(readAgain(limit.usage));
    const cache = sumOf(limit.cache, readAgain(`${limit.directory}/memory.stat`));
    return used > 0 ? cache / used : 1;
  }
}

const OOM_KILLS = /^oom_kill (\d+)$/gm;

/** The total of PSI's line "some"; NaN where there's none. */
function stalledUs(text: string | null): number {
  return Number(/^some .*\btotal=(\d+)$/m.exec(text ?? "")?.[1] ?? Number.NaN);
}

/** NaN where the file can't be read: nothing has grown then. */
function sumOf(pattern: RegExp, text: string | null): number {
  if (text === null) return Number.NaN;
  let sum = 0;
  for (const match of text.matchAll(pattern)) sum += Number(match[1]);
  return sum;
}

/** Later it may be unreadable for a moment, or gone. */
function readAgain(file: string): string | null {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return null;
  }
}
