/**
 * Protective steps that no exploration reaches: those of `files`, and of the monitor's program. A few runs of the whole
 * engine show them, each under a load that is about nothing else.
 */

import type { RunReport, simulate } from "../dist/simulate/run-simulation.js";
import { CALM, type Swarm } from "../dist/simulate/swarm.js";
import type { Mutant } from "./mutant.js";
import { mutate } from "./mutate.js";

export interface SimulatedMutant extends Mutant {
  /** One of so many seeds, from the first on, fails. */
  readonly seeds: number;
  readonly requests: number;
  readonly changes: Partial<Swarm>;
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

export const SIMULATED_MUTANTS: readonly SimulatedMutant[] = [
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
    seeds: 40,
    requests: 1500,
    changes: STORM,
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
    seeds: 40,
    requests: 1500,
    changes: STORM,
  },
  {
    name: "loss-concludes-at-once",
    leavesOut: "at the monitor's end, callers that it had let go are given time to leave their system calls",
    file: "pinless/src/engine/monitor-loss.ts",
    within: "AFTER_LOSS_MS",
    to: "0.01",
    seeds: 40,
    requests: 600,
    changes: { ...STORM, monitorDiesMs: 10 },
  },
].map((mutant) => ({ ...mutant, shows: "simulate" }));

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
