/** Campaign of many simulated runs, on one machine or in shards on several; with the shrinking of failures. */

import { NO_FAULTS } from "../model/faults.js";
import {
  type CampaignReport,
  FORMAT,
  type FoundFailure,
  runsOf,
  type Shard,
  type SimulationOutcome,
  seedsOf,
} from "./report.js";
import type { Failure } from "./run-report.js";
import { simulate } from "./run-simulation.js";
import { type Swarm, swarmOf } from "./swarm.js";

export interface CampaignOptions extends SimulationOutcome {
  /** First seed. */
  readonly seed: number;
  readonly runs: number;
  readonly requests: number;
  /** Overrides of what the seeds draw, for all runs. */
  readonly changes?: Partial<Swarm>;
  readonly shard: Shard;
  readonly signal?: AbortSignal;
  progress?(done: number, of: number, failures: number): void;
}

export async function campaign(options: CampaignOptions): Promise<CampaignReport> {
  const { engine, mutant, shard, changes = {} } = options;
  const asked = { seed: options.seed, runs: options.runs, requests: options.requests, changes };
  const all = runsOf(asked.runs, shard);
  const failures: FoundFailure[] = [];
  let [runs, requests, operations, virtualMs] = [0, 0, 0, 0];
  for (const seed of seedsOf(asked.seed, asked.runs, shard)) {
    if (options.signal?.aborted === true) break;
    const report = await simulate({ seed, requests: options.requests, changes });
    runs++;
    requests += report.requests;
    operations += report.operations;
    virtualMs += report.virtualMs;
    if (report.failure !== null) failures.push(await shrink(seed, asked, report.failure));
    options.progress?.(runs, all, failures.length);
  }
  const shards = [{ ...shard, runs }];
  return { format: FORMAT, engine, mutant, asked, shards, runs, requests, operations, virtualMs, failures };
}

/** Overrides that each leave a part out of a run, the largest part first, for shrinking. */
const SIMPLER: readonly Partial<Swarm>[] = [
  { busyMs: 0 },
  { compactionMs: 0 },
  { forkMs: 0 },
  { khugepagedMs: 0 },
  { balancingMs: 0 },
  { nodes: 1, balancingMs: 0 },
  { neighbourMs: 0 },
  { memlockPages: 0 },
  { inherit: false },
  { reclaimMs: 0 },
  { operationMs: 0 },
  { monitorDiesMs: 0 },
  { blindMs: 0 },
  { ownDiscardMs: 0 },
  { foreignUnmapMs: 0 },
  { foreignDiscardMs: 0 },
  { mappedFile: "none" },
  { faults: NO_FAULTS },
  { writeShare: 0 },
  { requestPages: 1 },
  { inFlight: 1 },
  { inFlight: 2 },
  { inFlight: 4 },
  { arenaMiB: 2 },
];

/** Shrinks a failure: leaves out all parts without which it still occurs, and all requests after the last it needs. */
async function shrink(seed: number, asked: CampaignReport["asked"], failure: Failure): Promise<FoundFailure> {
  const full = swarmOf(seed);
  let { changes } = asked;
  let best = { requests: asked.requests, failure };
  const attempt = async (requests: number, tried: Partial<Swarm>): Promise<boolean> => {
    const again = await simulate({ seed, requests, changes: tried });
    if (again.failure?.what !== failure.what) return false;
    best = { requests, failure: again.failure };
    changes = tried;
    return true;
  };
  for (const simpler of SIMPLER) {
    const differs = Object.entries(simpler).some(
      ([key, value]) => JSON.stringify({ ...full, ...changes }[key as keyof Swarm]) !== JSON.stringify(value),
    );
    const smaller = simpler.inFlight === undefined || simpler.inFlight < (changes.inFlight ?? full.inFlight);
    if (differs && smaller) await attempt(best.requests, { ...changes, ...simpler });
  }
  for (let step = best.requests >> 1; step > 0; step >>= 1)
    while (best.requests > step && (await attempt(best.requests - step, changes)));
  return { seed, requests: best.requests, changes, ...best.failure };
}
