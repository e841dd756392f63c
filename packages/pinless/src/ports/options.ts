/** Options of engines and arenas; checks and defaults of an engine's. */

import { MAX_SLOTS } from "../protocol/lease-table.js";
import { isPowerOfTwo } from "../protocol/ranges/ranges.js";
import type { SchemeName } from "../protocol/scheme.js";
import { badOption as bad, checkOptions } from "./option-checks.js";

/**
 * Time that pages stay pinned: while they are used for I/O (`"lease"`), from the arena's creation to its close
 * (`"lifetime"`), or during each request (`"per-io"`).
 */
export type PinMode = "lease" | "lifetime" | "per-io";

export const SCHEMES = ["io_uring", "aio", "direct"] as const satisfies readonly SchemeName[];
const PIN_MODES = ["lease", "lifetime", "per-io"] as const satisfies readonly PinMode[];

/** Limits of leases, for {@link EngineOptions.lease}. */
export interface LeaseOptions {
  /**
   * Bytes that one lease covers: a power of two, 64 KiB to 2 MiB. I/O on any part of a chunk waits while a memory
   * operation changes another part.
   *
   * @defaultValue 2 MiB, and up to 16 MiB in arenas of over 256 MiB in huge pages, so that there are few leases
   */
  chunk?: number;
  /**
   * Milliseconds without I/O after which a lease is dropped: 1 to 3,600,000.
   *
   * @defaultValue 50
   */
  idle?: number;
  /**
   * Milliseconds after which a lease is dropped even under load: 1 to 3,600,000. Its chunk then goes per-io for a
   * sixteenth of that time.
   *
   * @defaultValue 1,000; while more than 1 GiB is leased, 1,000 for each GiB
   */
  max?: number;
  /**
   * Maximum number of bytes that leases pin at a time: up to 8 GiB, in up to 1,024 leases. A part of a huge page counts
   * as the whole page.
   *
   * @defaultValue the least of 8 GiB, half of the memory (the machine's, or its cgroup's limit) and half of
   *   RLIMIT_MEMLOCK
   */
  budget?: number;
}

/** Events outside the engine to which it reacts, for {@link EngineOptions.events}. */
export interface EventOptions {
  /**
   * True to follow memory calls of other code of this process on arenas (madvise, munmap, mremap, mmap over them), by a
   * userfaultfd and a thread that reads it. If the kernel refuses that, `stats().degraded` says so.
   *
   * @defaultValue true; false with `pin: "lifetime"`, the baseline
   */
  userfaultfd?: boolean;
  /**
   * True to give up leases while memory is short, on the host or in the process's cgroup, while the kernel compacts
   * memory, and until its NUMA balancing has moved leased memory to the node of the engine's thread.
   *
   * @defaultValue true
   */
  pressure?: boolean;
}

/** Options of {@link Engine.open}. All of them are optional. */
export interface EngineOptions {
  /**
   * Way to submit requests to the kernel. `"auto"` takes the first of io_uring, aio and direct that works here.
   *
   * @defaultValue "auto"
   */
  scheme?: "auto" | SchemeName;
  /**
   * Time that pages stay pinned. `"lifetime"` and `"per-io"` are baselines to compare with.
   *
   * @defaultValue "lease"
   */
  pin?: PinMode;
  /**
   * Maximum number of requests in flight: 1 to 4,096.
   *
   * @defaultValue 128
   */
  depth?: number;
  /** Limits of leases. */
  lease?: LeaseOptions;
  /** Events to which the engine reacts. */
  events?: EventOptions;
  /**
   * Name of a file to which the engine writes what it does, as Chrome trace events, which Perfetto and chrome://tracing
   * show: requests, invalidations, leases and calls of other code, with flows from cause to effect. It takes some
   * microseconds for each request, and up to 256 MiB.
   *
   * @defaultValue the environment variable PINLESS_TRACE; if that isn't set either, nothing is written
   */
  trace?: string;
}

/** Options of {@link Engine.arena} for anonymous memory. */
export interface ArenaOptions {
  /** Size in bytes, rounded up to whole huge pages (2 MiB). */
  bytes: number;
  /**
   * Asks for huge pages.
   *
   * @defaultValue true
   */
  hugePages?: boolean;
  /**
   * Lets child processes inherit the memory, as they do other memory. Fork then takes longer.
   *
   * @defaultValue false
   */
  inherit?: boolean;
  /**
   * Makes the memory a SharedArrayBuffer, which engines of other threads can attach (`arena.share()`).
   *
   * @defaultValue false
   */
  shared?: boolean;
}

/** Options of {@link Engine.arena} for a mapping of a file. */
export interface FileArenaOptions {
  /**
   * Path of a regular file, or an open file (of an engine or of node:fs) that can be read and written and that the
   * caller closes. If nothing exists at the path and `bytes` is given, the file is created.
   */
  file: string | Uint8Array | URL | { readonly fd: number; stat(): Promise<unknown> };
  /**
   * Bytes of the file to map, from its start on, rounded up to pages (4 KiB). A shorter file is extended to that
   * length, with space allocated on the device if the filesystem can do that.
   *
   * @defaultValue all of the file. Its last page may reach beyond the end of the file: bytes stored there are lost
   */
  bytes?: number;
  /**
   * Lets child processes inherit the mapping.
   *
   * @defaultValue false
   */
  inherit?: boolean;
}

export interface EngineSettings {
  readonly scheme: "auto" | SchemeName;
  readonly pin: PinMode;
  readonly depth: number;
  /** Bytes of a chunk. Large arenas have larger chunks, up to `largestChunkBytes`. */
  readonly chunkBytes: number;
  readonly largestChunkBytes: number;
  readonly idleMs: number;
  readonly maxMs: number;
  readonly maxGrows: boolean;
  readonly budgetBytes: number;
  readonly slots: number;
  /** Sentences about options that can't have the effect asked for. */
  readonly remarks: readonly string[];
  readonly userfaultfd: boolean;
  /** `"asked"` if the option was set explicitly: then `degraded` also says which signs of pressure are missing. */
  readonly pressure: "off" | "default" | "asked";
  /** Name of the file for a trace; null if the option isn't set. */
  readonly trace: string | null;
}

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const MAX_DEPTH = 4096;
/**
 * Budget beyond which taking leases costs more than they save, because the cost grows by the square (lease-table.ts).
 */
const MAX_BUDGET_BYTES = 8 * GIB;
const LARGEST_CHUNK_BYTES = 16 * MIB;
/** Minimum number of leases of the largest chunk that a budget holds. */
const FEWEST_LEASES = 8;

/**
 * Checks options and fills in their defaults.
 *
 * @param memlockBytes - Maximum number of bytes that this process may pin
 * @param memoryBytes - Bytes of memory of the machine, or of the memory cgroup's limit
 * @throws `ERR_PINLESS_OPTION` for a value that isn't allowed
 */
export function settingsOf(
  options: EngineOptions,
  memlockBytes: number,
  memoryBytes: number = Number.POSITIVE_INFINITY,
): EngineSettings {
  checkOptions("Engine.open", options, ["scheme", "pin", "depth", "lease", "events", "trace"]);
  const { scheme = "auto", pin = "lease", depth = 128, lease = {}, events = {}, trace = null } = options;
  checkOptions("Engine.open's lease", lease, ["chunk", "idle", "max", "budget"]);
  checkOptions("Engine.open's events", events, ["userfaultfd", "pressure"]);
  if (scheme !== "auto" && !SCHEMES.includes(scheme)) throw bad("scheme", scheme, `"auto", ${quoted(SCHEMES)}`);
  if (!PIN_MODES.includes(pin)) throw bad("pin", pin, quoted(PIN_MODES));
  if (!Number.isInteger(depth) || depth < 1 || depth > MAX_DEPTH)
    throw bad("depth", depth, `a whole number from 1 to ${MAX_DEPTH}`);
  if (options.trace !== undefined && (typeof trace !== "string" || trace === ""))
    throw bad("trace", trace, "the name of a file");
  const { userfaultfd = true, pressure = null } = events;
  if (typeof userfaultfd !== "boolean") throw bad("events.userfaultfd", userfaultfd, "true or false");
  if (typeof pressure !== "boolean" && events.pressure !== undefined)
    throw bad("events.pressure", pressure, "true or false");
  const { chunk = 2 * MIB, idle = 50, max = 1000 } = lease;
  if (!isPowerOfTwo(chunk) || chunk < 64 * KIB || chunk > 2 * MIB)
    throw bad("lease.chunk", chunk, "a power of two from 65536 to 2097152");
  if (!isClock(idle)) throw bad("lease.idle", idle, "milliseconds from 1 to 3600000");
  if (!isClock(max)) throw bad("lease.max", max, "milliseconds from 1 to 3600000");
  const mostBytes = Math.max(chunk, Math.min(MAX_BUDGET_BYTES, memoryBytes));
  // Half of the limit, since all processes of the user share it, and since a lease is taken before the one that it
  // replaces is given back.
  const byDefault = Math.max(chunk, Math.min(memlockBytes / 2, memoryBytes / 2, MAX_BUDGET_BYTES));
  const { budget = byDefault } = lease;
  if (typeof budget !== "number" || !(budget >= chunk && budget <= mostBytes)) {
    const why =
      mostBytes < MAX_BUDGET_BYTES
        ? "all memory of this machine or its cgroup"
        : "8 GiB, beyond which leases cost more than they save";
    throw bad("lease.budget", budget, `bytes, at least one chunk (${chunk}), at most ${mostBytes} (${why})`);
  }
  const remarks: string[] = [];
  if (lease.budget !== undefined && budget > memlockBytes)
    remarks.push(
      `lease.budget is ${budget} bytes, and RLIMIT_MEMLOCK allows ${memlockBytes} for all of a user's processes: ` +
        "raise it (ulimit -l). What doesn't fit goes per-io",
    );
  if (lease.budget !== undefined && lease.chunk !== undefined && budget > MAX_SLOTS * chunk)
    remarks.push(
      `lease.budget is ${budget} bytes, and ${MAX_SLOTS} leases of lease.chunk (${chunk}) are ${MAX_SLOTS * chunk}: ` +
        "what doesn't fit goes per-io",
    );
  const slots = Math.max(1, Math.min(MAX_SLOTS, Math.floor(budget / chunk)));
  return {
    scheme,
    pin,
    depth,
    chunkBytes: chunk,
    largestChunkBytes: lease.chunk === undefined ? largestChunkIn(budget) : chunk,
    idleMs: idle,
    maxMs: max,
    maxGrows: lease.max === undefined,
    budgetBytes: budget,
    slots,
    remarks,
    pressure: pressure === null ? "default" : pressure ? "asked" : "off",
    // Programs that register buffers for life today don't follow such calls, so neither does this baseline.
    userfaultfd: userfaultfd && pin !== "lifetime",
    trace,
  };
}

function largestChunkIn(budgetBytes: number): number {
  let bytes = 2 * MIB;
  while (bytes < LARGEST_CHUNK_BYTES && 2 * bytes * FEWEST_LEASES <= budgetBytes) bytes *= 2;
  return bytes;
}

function isClock(ms: number): boolean {
  return typeof ms === "number" && ms >= 1 && ms <= 3_600_000;
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `"${word}"`).join(", ");
}
