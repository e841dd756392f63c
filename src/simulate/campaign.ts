/** Many runs, on one machine or shared between any number of them; and what is left of a failure when everything beside the point is gone. */

import { argumentError } from "../core/errors.js";
import { type Failure, simulate } from "./run.js";
import { type Swarm, swarmOf } from "./swarm.js";

/** Of the JSON below: another format can't be added up or replayed. */
export const FORMAT = "pinless-simulate-1";

export interface Shard {
  readonly index: number;
  readonly of: number;
}

export interface CampaignOptions {
  /** The first seed. */
  readonly seed: number;
  readonly runs: number;
  readonly requests: number;
  readonly shard: Shard;
  /** What ran: a commit, or a version. */
  readonly engine: string;
  readonly signal?: AbortSignal;
  progress?(done: number, of: number, failures: number): void;
}

/** A failure as small as it got: with the engine that it's of, enough to have it again. */
export interface FoundFailure extends Failure {
  readonly seed: number;
  readonly requests: number;
  readonly changes: Partial<Swarm>;
}

export interface CampaignReport {
  readonly format: typeof FORMAT;
  readonly engine: string;
  readonly runs: number;
  readonly requests: number;
  readonly operations: number;
  readonly virtualMs: number;
  readonly failures: readonly FoundFailure[];
}

/** The seeds of a shard: every `of`-th, so that shards are alike. */
function seedsOf({ seed, runs, shard }: CampaignOptions): number[] {
  return Array.from({ length: runs }, (_, i) => seed + i).filter((_, i) => i % shard.of === shard.index);
}

export async function campaign(options: CampaignOptions): Promise<CampaignReport> {
  const seeds = seedsOf(options);
  const failures: FoundFailure[] = [];
  let [runs, requests, operations, virtualMs] = [0, 0, 0, 0];
  for (const seed of seeds) {
    if (options.signal?.aborted === true) break;
    const report = await simulate({ seed, requests: options.requests });
    runs++;
    requests += report.requests;
    operations += report.operations;
    virtualMs += report.virtualMs;
    if (report.failure !== null) failures.push(await shrink(seed, options.requests, report.failure));
    options.progress?.(runs, seeds.length, failures.length);
  }
  return { format: FORMAT, engine: options.engine, runs, requests, operations, virtualMs, failures };
}

/** What may be left out of a run, most first. */
const SIMPLER: readonly Partial<Swarm>[] = [
  { busyMs: 0 },
  { compactionMs: 0 },
  { reclaimMs: 0 },
  { operationMs: 0 },
  { faults: { eio: 0, short: 0, noLease: 0 } },
  { writeShare: 0 },
  { requestPages: 1 },
  { inFlight: 1 },
  { inFlight: 2 },
  { inFlight: 4 },
  { arenaMiB: 2 },
];

/** The same failure with less: leaves out whatever it happens without, and ends with the request that it needs. */
async function shrink(seed: number, asked: number, failure: Failure): Promise<FoundFailure> {
  const full = swarmOf(seed);
  let changes: Partial<Swarm> = {};
  let best = { requests: asked, failure };
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

/** Adds up what shards of one campaign found. Throws for what isn't the report of one engine in this format. */
export function merge(reports: readonly { name: string; json: string }[]): CampaignReport {
  const parsed = reports.map(({ name, json }) => parse(name, json));
  const first = parsed[0];
  if (first === undefined) throw argumentError("ERR_INVALID_ARG_VALUE", "there is nothing to merge");
  for (const [i, { engine }] of parsed.entries())
    if (engine !== first.engine) {
      const names = `${reports[0]!.name} is of ${first.engine}, ${reports[i]!.name} of ${engine}`;
      throw argumentError("ERR_INVALID_ARG_VALUE", `the reports are of different engines: ${names}`);
    }
  const sum = (of: (report: CampaignReport) => number): number => parsed.reduce((total, r) => total + of(r), 0);
  return {
    format: FORMAT,
    engine: first.engine,
    runs: sum((r) => r.runs),
    requests: sum((r) => r.requests),
    operations: sum((r) => r.operations),
    virtualMs: sum((r) => r.virtualMs),
    failures: parsed.flatMap((r) => r.failures).sort((a, b) => a.seed - b.seed),
  };
}

function parse(name: string, json: string): CampaignReport {
  let report: CampaignReport;
  try {
    report = JSON.parse(json) as CampaignReport;
  } catch (error) {
    throw argumentError("ERR_INVALID_ARG_VALUE", `${name} isn't JSON: ${(error as Error).message}`);
  }
  if (report?.format !== FORMAT)
    throw argumentError("ERR_INVALID_ARG_VALUE", `${name} isn't a report of pinless simulate in the format ${FORMAT}`);
  return report;
}
