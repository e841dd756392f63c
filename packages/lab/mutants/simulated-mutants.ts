/**
 * Protective steps that no exploration reaches: those of `files`, and of the monitor's program. A few runs of the whole
 * engine show them, each under a load that is about nothing else.
 */

import type { Invariant } from "pinless/portable";
import type { RunReport } from "../dist/simulate/run-report.js";
import type { simulate } from "../dist/simulate/run-simulation.js";
import { CALM, type Swarm } from "../dist/simulate/swarm.js";
import { LEASES, type Mutant } from "./mutant.js";
import { mutate } from "./mutate.js";

export interface SimulatedMutant extends Mutant {
  /** One of so many seeds, from the first on, fails. */
  readonly seeds: number;
  readonly requests: number;
  readonly changes: Partial<Swarm>;
  /** The invariant that says so, if not the one of the bytes. */
  readonly breaks?: Invariant;
}

const MACHINE = "pinless/src/protocol/monitor/state-machine.ts";
const PENDING = "pinless/src/protocol/monitor/pending-discards.ts";

/** A file that is mapped, and read into, and written back. */
const MAPPED_FILE: Partial<Swarm> = {
  ...CALM,
  timing: { deviceMs: [0.01, 0.2], releaseMs: 1, tagMs: 0, tags: "own", wakeMs: 0.005 },
  inFlight: 1,
  mappedFile: "btrfs",
  mappedMs: 0.3,
  operationsPerRequest: 2,
  stormTimes: 1000,
};

/** Discards by other threads, a fast device, a slow monitor, and pages that go late. */
const STORM: Partial<Swarm> = {
  ...CALM,
  engine: {
    scheme: "io_uring",
    pin: "lease",
    depth: 8,
    lease: { chunk: 65536, idle: 5, max: 20, budget: 4 << 20 },
    events: { userfaultfd: true },
  },
  timing: { deviceMs: [0.001, 0.002], releaseMs: 1, tagMs: 0, tags: "own", wakeMs: 0.005 },
  inFlight: 4,
  requestPages: 1,
  writeShare: 0,
  operationsPerRequest: 2,
  stormTimes: 1000,
  foreignDiscardMs: 0.1,
  monitorTiming: { stepMs: 1, keptMs: 20 },
  callTiming: { unseenMs: 4, zapMs: 5 },
};

/** Such discards with a quick monitor, so that few of their events are read together. */
const SPARSE_STORM: Partial<Swarm> = {
  ...STORM,
  foreignDiscardMs: 1,
  monitorTiming: { stepMs: 0.05, keptMs: 20 },
};

/** Reads without a pause for several times `lease.max`, in 256 chunks of a huge page each; `leases` of them fit. */
const busy = (leases: number): Partial<Swarm> => ({
  ...CALM,
  engine: {
    scheme: "io_uring",
    pin: "lease",
    depth: 32,
    lease: { chunk: 65536, idle: 50, max: 100, budget: leases * (2 << 20) },
    events: { userfaultfd: false },
  },
  timing: { deviceMs: [0.5, 1], releaseMs: 0.01, tagMs: 0, tags: "own", wakeMs: 0.005 },
  arenaMiB: 16,
  inFlight: 32,
  requestPages: 1,
  writeShare: 0,
});

const STEPS: readonly Omit<SimulatedMutant, "shows">[] = [
  {
    name: "bounce-for-files",
    leavesOut: "a device never writes into a mapped file: what is read there is copied",
    file: "pinless/src/files/transfers.ts",
    within: "Transfers.#pieces",
    node: "direction === WRITE || segment.copier === null",
    to: "true",
    seeds: 130,
    requests: 600,
    changes: MAPPED_FILE,
  },
  {
    name: "program-concludes-at-once",
    leavesOut: "a range is unconcluded until its callers have left their system calls",
    file: PENDING,
    within: "stillPending",
    node: "left.length > 0",
    to: "false",
    seeds: 60,
    requests: 1500,
    changes: SPARSE_STORM,
  },
  {
    name: "unseen-concludes-at-once",
    leavesOut: "a caller that can't be looked at is given time to leave its system call",
    file: "pinless/src/protocol/monitor/caller-tracking.ts",
    within: "UNSEEN_MS",
    to: "-1",
    seeds: 40,
    requests: 1500,
    changes: { ...STORM, blindMs: 2 },
  },
  {
    name: "program-gives-up-in-silence",
    leavesOut: "a change that can't be drained is announced",
    file: MACHINE,
    within: "MonitorMachine.#announceCalls",
    node: "start > 0",
    to: "true",
    seeds: 200,
    requests: 1500,
    changes: SPARSE_STORM,
  },
  {
    name: "loss-concludes-at-once",
    leavesOut: "at the monitor's end, callers that it had let go are given time to leave their system calls",
    file: "pinless/src/engine/monitor-loss.ts",
    within: "AFTER_LOSS_MS",
    to: "0.01",
    seeds: 40,
    requests: 600,
    // The next monitor is there before pages go.
    changes: { ...STORM, monitorDiesMs: 10, monitorTiming: { stepMs: 0.002, keptMs: 0 } },
  },
  {
    name: "no-rest-after-max",
    leavesOut: "a chunk whose lease was held for max rests before it is leased again",
    file: LEASES,
    within: "Leases.#free",
    node: "if (this.table.free(slot, nowMs)) this.#rest(this.#tables[table]!, chunk, nowMs);",
    to: "this.table.free(slot, nowMs);",
    breaks: "BOUNDED_RESIDENCY",
    seeds: 20,
    requests: 10_000,
    changes: busy(8),
  },
  {
    name: "lease-before-it-pays",
    leavesOut: "past the budget, and of many chunks, a lease is taken once what went per-io has paid for it",
    file: LEASES,
    within: "Leases.#isWorthIt",
    node: "missed >= cost",
    to: "true",
    breaks: "BUDGET",
    seeds: 3,
    requests: 1000,
    changes: { ...busy(2), leaseCostPages: 20 },
  },
];

export const SIMULATED_MUTANTS: readonly SimulatedMutant[] = STEPS.map((step) => ({ ...step, shows: "simulate" }));

/** The first of its seeds that fails with the step left out; null: none does. */
export async function firstFailure(mutant: SimulatedMutant): Promise<RunReport | null> {
  const modules = mutate(mutant, "simulate");
  try {
    const broken = (await import(new URL("simulate/run-simulation.js", modules.url).href)) as {
      simulate: typeof simulate;
    };
    for (let seed = 1; seed <= mutant.seeds; seed++) {
      const report = await broken.simulate({ seed, requests: mutant.requests, changes: mutant.changes });
      if (report.failure !== null) return report;
    }
    return null;
  } finally {
    modules.remove();
  }
}
