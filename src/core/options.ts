/** What `Engine.open` takes, checked and with its defaults. */

import { badOption as bad, checkOptions } from "./known-options.js";
import { MAX_SLOTS } from "./lease-table.js";
import type { PinMode, SchemeName } from "./ports.js";
import { isPowerOfTwo } from "./ranges.js";

export const SCHEMES = ["io_uring", "aio", "direct"] as const satisfies readonly SchemeName[];
const PIN_MODES = ["lease", "lifetime", "per-io"] as const satisfies readonly PinMode[];

export interface LeaseOptions {
  /** Bytes that one lease covers: a power of two, 64 KiB to 2 MiB. Default 2 MiB, a huge page. */
  chunk?: number;
  /** Milliseconds without I/O after which a lease is given back. Default 50. */
  idle?: number;
  /** Milliseconds after which a lease is given back even under load. Default 1,000. */
  max?: number;
  /** Bytes that leases may pin at a time. Default: what RLIMIT_MEMLOCK leaves, at most 512 MiB. */
  budget?: number;
}

export interface EventOptions {
  /**
   * Whether I/O follows what other code of this process does to an arena's memory (madvise, munmap, mremap, mmap over it): by a
   * userfaultfd, and a thread that reads it. Default true; where the kernel refuses, `stats().degraded` says so. With `pin: "lifetime"`
   * it's off: that is the baseline.
   */
  userfaultfd?: boolean;
  /** Give leases up while memory is short, on the host or in the process's cgroup. Default true. */
  pressure?: boolean;
}

export interface EngineOptions {
  /** `"auto"` takes the first of io_uring, aio, direct that the kernel gives. Default `"auto"`. */
  scheme?: "auto" | SchemeName;
  /** `"lifetime"` and `"per-io"` are the baselines to compare with. Default `"lease"`. */
  pin?: PinMode;
  /** Requests in flight, 1 to 4,096. Default 128. */
  depth?: number;
  lease?: LeaseOptions;
  events?: EventOptions;
}

export interface EngineSettings {
  readonly scheme: "auto" | SchemeName;
  readonly pin: PinMode;
  readonly depth: number;
  readonly chunkBytes: number;
  readonly idleMs: number;
  readonly maxMs: number;
  readonly budgetBytes: number;
  readonly slots: number;
  readonly userfaultfd: boolean;
  /** `"asked"`: explicitly, so what is missing for it is said. */
  readonly pressure: "off" | "default" | "asked";
}

const KIB = 1024;
const MIB = 1024 * KIB;
const MAX_DEPTH = 4096;
const MAX_BUDGET_BYTES = MAX_SLOTS * 2 * MIB;

/** Throws `ERR_PINLESS_OPTION` for what can't be meant. `memlockBytes`: what this process may pin at most. */
export function settingsOf(options: EngineOptions, memlockBytes: number): EngineSettings {
  checkOptions("Engine.open", options, ["scheme", "pin", "depth", "lease", "events"]);
  const { scheme = "auto", pin = "lease", depth = 128, lease = {}, events = {} } = options;
  checkOptions("Engine.open's lease", lease, ["chunk", "idle", "max", "budget"]);
  checkOptions("Engine.open's events", events, ["userfaultfd", "pressure"]);
  if (scheme !== "auto" && !SCHEMES.includes(scheme)) throw bad("scheme", scheme, `"auto", ${quoted(SCHEMES)}`);
  if (!PIN_MODES.includes(pin)) throw bad("pin", pin, quoted(PIN_MODES));
  if (!Number.isInteger(depth) || depth < 1 || depth > MAX_DEPTH)
    throw bad("depth", depth, `a whole number from 1 to ${MAX_DEPTH}`);
  const { userfaultfd = true, pressure = null } = events;
  if (typeof userfaultfd !== "boolean") throw bad("events.userfaultfd", userfaultfd, "true or false");
  if (typeof pressure !== "boolean" && events.pressure !== undefined)
    throw bad("events.pressure", pressure, "true or false");
  const { chunk = 2 * MIB, idle = 50, max = 1000 } = lease;
  if (!isPowerOfTwo(chunk) || chunk < 64 * KIB || chunk > 2 * MIB)
    throw bad("lease.chunk", chunk, "a power of two from 65536 to 2097152");
  if (!isClock(idle)) throw bad("lease.idle", idle, "milliseconds from 1 to 3600000");
  if (!isClock(max)) throw bad("lease.max", max, "milliseconds from 1 to 3600000");
  // Half of the limit: it's the user's, not the process's, and an update pins the new registration before it lets go of the old one.
  const { budget = Math.max(chunk, Math.min(memlockBytes / 2, MAX_BUDGET_BYTES)) } = lease;
  if (typeof budget !== "number" || !(budget >= chunk))
    throw bad("lease.budget", budget, `bytes, at least one chunk (${chunk})`);
  const slots = Math.max(1, Math.min(MAX_SLOTS, Math.floor(budget / (64 * KIB))));
  return {
    scheme,
    pin,
    depth,
    chunkBytes: chunk,
    idleMs: idle,
    maxMs: max,
    budgetBytes: budget,
    slots,
    pressure: pressure === null ? "default" : pressure ? "asked" : "off",
    // What people have today knows nothing of such calls: a baseline that did wouldn't be one.
    userfaultfd: userfaultfd && pin !== "lifetime",
  };
}

function isClock(ms: number): boolean {
  return typeof ms === "number" && ms >= 1 && ms <= 3_600_000;
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `"${word}"`).join(", ");
}
