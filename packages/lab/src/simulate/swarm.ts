/**
 * Settings of one simulated run, drawn from its seed, so that runs differ in their features and not only in the order
 * of events (swarm testing).
 */

import type { EngineOptions } from "pinless/portable";
import { type ModelFaults, NO_FAULTS } from "../model/faults.js";
import type { CallTiming } from "../model/memory-calls.js";
import type { ModelTiming } from "../model/model-scheme.js";
import { NamedRandom } from "../model/random.js";
import type { KernelDesign } from "../model/tables.js";
import type { MonitorTiming } from "./simulated-monitor.js";

export interface Swarm {
  readonly engine: EngineOptions & Required<Pick<EngineOptions, "scheme" | "pin" | "depth">>;
  readonly timing: ModelTiming;
  readonly faults: ModelFaults;
  readonly arenaMiB: number;
  /** Number of pages that pay for a lease, where it has to pay: in tables of many chunks, and beyond the budget. */
  readonly leaseCostPages: number;
  /** Number of requests that are kept in flight; and of pages of each. */
  readonly inFlight: number;
  readonly requestPages: number;
  readonly writeShare: number;
  /** Mean milliseconds between two events of a kind; 0 for none. */
  readonly operationMs: number;
  readonly reclaimMs: number;
  readonly compactionMs: number;
  readonly nodes: number;
  readonly balancingMs: number;
  readonly khugepagedMs: number;
  /** Mean milliseconds between two forks; and true if children inherit the arena. */
  readonly forkMs: number;
  readonly inherit: boolean;
  /** Design of the kernel: a seed always gives Linux as it is. */
  readonly design: KernelDesign;
  /** True for fork as it was before Linux 5.12, which loses reads. A seed never sets it. */
  readonly sharesPinned: boolean;
  /** RLIMIT_MEMLOCK in pages, or 0 for root; and the mean milliseconds until another process locks another amount. */
  readonly memlockPages: number;
  readonly neighbourMs: number;
  /** Filesystem of a file that is mapped by an arena; and the mean milliseconds between two events on it. */
  readonly mappedFile: (typeof MAPPED_FILES)[number];
  readonly mappedMs: number;
  readonly busyMs: number;
  /** Maximum number of operations per request, in storms (pace.ts): one costs as much as ten requests. */
  readonly operationsPerRequest: number;
  /** Number of times that each event occurs in a storm. */
  readonly stormTimes: number;
  /**
   * Mean milliseconds between memory calls of other threads, and of the engine's own thread as other code. There are
   * none if no monitor follows the memory.
   */
  readonly foreignDiscardMs: number;
  readonly foreignUnmapMs: number;
  readonly ownDiscardMs: number;
  /** Time at which the monitor's thread dies; 0 for never. */
  readonly monitorDiesMs: number;
  /** False if the kernel refuses a userfaultfd to the next thread. */
  readonly monitorFollowsAgain: boolean;
  /** Mean milliseconds until the monitor can't read /proc, and until it can again; 0 if it always can. */
  readonly blindMs: number;
  readonly monitorTiming: MonitorTiming;
  readonly callTiming: CallTiming;
}

export const MAPPED_FILES = ["none", "ext4", "xfs", "btrfs"] as const;
/** Settings of a program without memory calls of other code. */
const NONE = {
  foreignDiscardMs: 0,
  foreignUnmapMs: 0,
  ownDiscardMs: 0,
  monitorDiesMs: 0,
  monitorFollowsAgain: true,
  blindMs: 0,
};
/** Overrides for a run with requests only, to which a test adds its subject. */
export const CALM: Partial<Swarm> = {
  ...NONE,
  ...{ operationMs: 0, neighbourMs: 0, busyMs: 0, forkMs: 0, memlockPages: 0 },
  ...{ khugepagedMs: 0, balancingMs: 0, compactionMs: 0, reclaimMs: 0 },
  mappedFile: "none",
  faults: NO_FAULTS,
  leaseCostPages: 0,
};
const SOME = [0, 0.02, 0.1] as const;
/**
 * Mean numbers of events per request, since times are matched to the device's speed: on average one memory operation
 * and one event of the kernel for each request. More events while all requests wait for the device would find nothing
 * new.
 */
const PER_REQUEST = { operations: 1, kernel: 1, foreign: 4, rare: 1 / 50 } as const;

/**
 * Picks a value for a named setting. Each name has its own random stream, so a new setting doesn't change the others.
 */
type Choose = <T>(name: string, of: readonly T[]) => T;

export function swarmOf(seed: number): Swarm {
  const random = new NamedRandom(seed);
  const pick: Choose = (name, of) => random.pick(`swarm ${name}`, of);
  const depth = pick("depth", [1, 2, 8, 32, 128]);
  const deviceMs = pick("device", [
    [0.001, 0.002],
    [0.01, 0.2],
    [0.05, 5],
    [0.01, 50],
  ] as const);
  const nodes = pick("nodes", [1, 1, 2]);
  const inFlight = Math.max(1, Math.min(pick("in flight", [1, 4, 16, 64]), depth));
  const requestMs = (deviceMs[0] + deviceMs[1]) / 2 / inFlight;
  const atMost = (meanMs: number, perRequest: number): number =>
    meanMs === 0 ? 0 : Math.max(meanMs, requestMs / perRequest);
  const followed = pick("followed", [true, true, true, false]);
  return {
    engine: engineOf(pick, depth, followed),
    timing: {
      deviceMs,
      releaseMs: pick("release", [0.01, 1, 9.4]),
      tagMs: pick("tag", [0, 0, 0.05, 3]),
      tags: pick("tags", ["own", "own", "in order"] as const),
      wakeMs: pick("wake", [0.005, 0.05]),
    },
    faults: faultsOf(pick),
    arenaMiB: pick("arena", [2, 4, 8]),
    leaseCostPages: pick("lease cost", [0, 0, 0, 8]),
    inFlight,
    requestPages: pick("request pages", [1, 1, 2, 8]),
    writeShare: pick("writes", [0, 0.1, 0.5]),
    operationMs: atMost(pick("operations", [0, 0.3, 2, 10]), PER_REQUEST.operations),
    reclaimMs: atMost(pick("reclaim", [0, 0.5, 5]), PER_REQUEST.kernel),
    compactionMs: atMost(pick("compaction", [0, 0.5, 5]), PER_REQUEST.kernel),
    nodes,
    balancingMs: nodes === 1 ? 0 : atMost(pick("balancing", [0, 0.2, 2]), PER_REQUEST.kernel),
    khugepagedMs: atMost(pick("khugepaged", [0, 0, 2, 10]), PER_REQUEST.rare),
    forkMs: atMost(pick("fork", [0, 0, 1, 10]), PER_REQUEST.rare),
    inherit: pick("inherit", [false, true, true]),
    design: "gup",
    sharesPinned: false,
    // The default of 8 MiB suffices for three leases of 2 MiB, 1 MiB for none.
    memlockPages: pick("memlock", [0, 0, 256, 2048]),
    neighbourMs: atMost(pick("neighbour", [0, 0.5, 5]), PER_REQUEST.operations),
    mappedFile: pick("mapped file", ["none", ...MAPPED_FILES] as const),
    mappedMs: atMost(pick("mapped", [0.3, 2]), PER_REQUEST.operations),
    busyMs: pick("busy", [0, 0, 20, 300]),
    operationsPerRequest: pick("operations per request", [0.02, 0.02, 0.02, 0.05, 0.05, 0.2, 0.2, 2]),
    stormTimes: pick("storm", [4, 8, 8, 16]),
    ...(followed && pick("others act", [true, false]) ? foreignOf(pick, atMost) : NONE),
    monitorTiming: { stepMs: pick("monitor's step", [0.002, 0.05, 1]), keptMs: pick("monitor is kept", [0, 2, 20]) },
    callTiming: { unseenMs: pick("callers unseen", [0.02, 1, 4]), zapMs: pick("pages go", [0.1, 1, 5]) },
  };
}

function engineOf(pick: Choose, depth: number, userfaultfd: boolean): Swarm["engine"] {
  return {
    scheme: pick("scheme", ["io_uring", "io_uring", "io_uring", "aio", "direct"] as const),
    pin: pick("pin", ["lease", "lease", "lease", "per-io"] as const),
    depth,
    lease: {
      chunk: pick("chunk", [65536, 262144, 2 << 20]),
      idle: pick("idle", [1, 5, 50]),
      max: pick("max", [2, 20, 1000]),
      budget: pick("budget", [2 << 20, 4 << 20, 64 << 20]),
    },
    events: { userfaultfd },
  };
}

function faultsOf(pick: Choose): Swarm["faults"] {
  return {
    fails: pick("failures", SOME),
    short: pick("short", SOME),
    refuses: pick("refused", SOME),
    noLease: pick("no lease", SOME),
    stalls: pick("stalls", [0, 0, 0, 0.001]),
    late: pick("late", [0, 0, 0.1]),
  };
}

function foreignOf(pick: Choose, atMost: (meanMs: number, perRequest: number) => number): typeof NONE {
  return {
    foreignDiscardMs: atMost(pick("foreign discards", [0, 0.1, 0.3, 2, 10]), PER_REQUEST.foreign),
    foreignUnmapMs: atMost(pick("foreign unmaps", [0, 0, 0.5, 5, 50]), PER_REQUEST.foreign),
    ownDiscardMs: atMost(pick("own discards", [0, 0, 2, 20]), PER_REQUEST.foreign),
    monitorDiesMs: pick("monitor dies", [0, 0, 0, 0, 0, 5, 50]),
    monitorFollowsAgain: pick("monitor follows again", [true, true, false]),
    blindMs: pick("monitor is blind", [0, 0, 0, 2, 20]),
  };
}
