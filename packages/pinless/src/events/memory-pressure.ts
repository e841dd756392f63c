/**
 * Signs of memory pressure: PSI of the host and of this process's cgroup, limits that its memory cgroup met, failures
 * to move pages, and pages on another NUMA node.
 *
 * It's polled when the engine asks, not signalled by PSI triggers. An ordinary user's trigger fires at most every 2 s
 * and root's every 500 ms, while PSI's total is exact at any moment; and a trigger costs a kernel thread that wakes ten
 * times a window, even if no lease is live.
 */

import { type Cgroups, cgroupsOf } from "../linux/cgroups.js";
import { readFileSync } from "../linux/originals.js";
import { readText } from "../linux/probe.js";
import { whyHidden } from "../linux/runtime.js";
import type { PressureReading, PressureSource } from "../protocol/pressure.js";
import { openPlacement } from "./memory-placement.js";

const HOST_STALLS = "/proc/pressure/memory";
const VMSTAT = "/proc/vmstat";
/** Counters of /proc/vmstat that pinned pages may raise. */
const FAILURES = /^(?:compact_fail|pgmigrate_fail|thp_fault_fallback) (\d+)$/gm;

const COMPACTED = /^compact_migrate_scanned (\d+)$/m;

export interface OpenedPressure {
  readonly source: PressureSource | null;
  /** Sentences about signs that this kernel doesn't provide. */
  readonly missing: readonly string[];
}

/**
 * Opens the source. The cgroup is looked up once, because processes are normally placed in their cgroup before they
 * start.
 */
export function openPressure(): OpenedPressure {
  try {
    return lookedUp();
  } catch (error) {
    return { source: null, missing: [`memory pressure isn't followed: ${(error as Error).message}`] };
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
        `the kernel doesn't report memory pressure: ${HOST_STALLS} needs CONFIG_PSI, and psi=1 where it's ` +
          "off by default",
    );
  if (cgroups.limits.length === 0) missing.push("this process is in no memory cgroup whose limits it can see");
  const files = [...stalls, ...cgroups.limits.map(({ directory }) => directory)];
  // Failures of the host alone don't count: compaction also fails on a host with plenty of free memory.
  const placement = openPlacement();
  if (typeof placement === "string") missing.push(placement);
  const elsewhere = typeof placement === "string" ? null : placement;
  return { source: files.length === 0 ? null : new KernelPressure(stalls, cgroups.limits, elsewhere), missing };
}

class KernelPressure implements PressureSource {
  readonly name: string;
  readonly elsewhere?: (pages: readonly number[]) => number;
  readonly #stalls: readonly string[];
  readonly #limits: Cgroups["limits"];
  readonly #hits: number[];
  /** Index of the limit that was met last. */
  #met = 0;

  constructor(
    stalls: readonly string[],
    limits: Cgroups["limits"],
    elsewhere: ((pages: readonly number[]) => number) | null,
  ) {
    this.name = [...stalls, ...limits.map(({ directory }) => directory)].join(", ");
    this.#stalls = stalls;
    this.#limits = limits;
    this.#hits = limits.map(() => 0);
    if (elsewhere !== null) this.elsewhere = elsewhere;
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

/** Total of PSI's "some" line in microseconds; NaN without one. */
function stalledUs(text: string | null): number {
  return Number(/^some .*\btotal=(\d+)$/m.exec(text ?? "")?.[1] ?? Number.NaN);
}

/** Sum of the counters that match; NaN if the file can't be read, so that no growth is seen. */
function sumOf(pattern: RegExp, text: string | null): number {
  if (text === null) return Number.NaN;
  let sum = 0;
  for (const match of text.matchAll(pattern)) sum += Number(match[1]);
  return sum;
}

/** Reads a file that may be unreadable for the moment, or gone. */
function readAgain(file: string): string | null {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return null;
  }
}
