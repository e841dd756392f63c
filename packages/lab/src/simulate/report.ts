/** Report of a campaign, as JSON: written by a shard, merged from many, and read to replay failures. */

import { InputError, type InputSource, inputErrorAt, shown } from "./input-error.js";
import { changesOf } from "./overrides.js";
import type { Failure } from "./run-report.js";
import type { Swarm } from "./swarm.js";

/** Name of the report's format: reports in another format can't be merged or replayed. */
export const FORMAT = "pinless-simulate-2";

export interface Shard {
  readonly index: number;
  readonly of: number;
}

/** A shrunk failure. With the engine's version it's enough to reproduce it. */
export interface FoundFailure extends Failure {
  readonly seed: number;
  readonly requests: number;
  readonly changes: Partial<Swarm>;
}

/** Result of a campaign, with the engine that ran: its version and commit, and the mutant, if any. */
export interface SimulationOutcome {
  readonly engine: string;
  readonly mutant: string | null;
}

export interface CampaignReport extends SimulationOutcome {
  readonly format: typeof FORMAT;
  /** Parameters of the campaign for all shards together: first seed, runs, requests of each run, and overrides. */
  readonly asked: {
    readonly seed: number;
    readonly runs: number;
    readonly requests: number;
    readonly changes: Partial<Swarm>;
  };
  /** Shards that this report contains, with the number of their runs. */
  readonly shards: readonly (Shard & { readonly runs: number })[];
  readonly runs: number;
  readonly requests: number;
  readonly operations: number;
  readonly virtualMs: number;
  readonly failures: readonly FoundFailure[];
}

/** Upper limits of a report's numbers: a replay of more would never end. */
export const MOST = { runs: 1e9, requests: 1e6, shards: 1e6, failures: 10_000 } as const;

/** Seeds of a shard: every `of`-th one. */
export function* seedsOf(seed: number, runs: number, { index, of }: Shard): Generator<number> {
  for (let i = index; i < runs; i += of) yield seed + i;
}

/** Number of a shard's seeds. */
export function runsOf(runs: number, { index, of }: Shard): number {
  return Math.max(0, Math.ceil((runs - index) / of));
}

/** Sentences about the shards and runs that are missing. */
export function missingOf({ asked, shards }: CampaignReport): string[] {
  const of = shards[0]?.of ?? 1;
  const short = shards.flatMap(({ index, runs }) => {
    const all = runsOf(asked.runs, { index, of });
    return runs < all ? [`shard ${index} of ${of} was cut short: ${runs} of ${all} runs`] : [];
  });
  return [...absentOf(shards, of), ...short];
}

function absentOf(shards: CampaignReport["shards"], of: number): string[] {
  const NAMED = 20;
  const there = new Set(shards.map(({ index }) => index));
  const absent = of - there.size;
  if (absent === 0) return [];
  const named: number[] = [];
  for (let index = 0; named.length < Math.min(NAMED, absent); index++) if (!there.has(index)) named.push(index);
  const others = absent > NAMED ? ` and ${absent - NAMED} more` : "";
  return [`of ${of} shards these are missing: ${named.join(", ")}${others}`];
}

/** Parses a report. Throws `InputError` with the line of the first part that doesn't match the format. */
export function readReport(source: InputSource): CampaignReport {
  const report = source.value as CampaignReport;
  const refuse = (path: readonly string[], why: string): never => {
    throw inputErrorAt(source, path, why);
  };
  if (report?.format !== FORMAT) {
    const is = typeof report?.format === "string" ? `"${report.format}"` : "not there";
    refuse(["format"], `not a report of this pinless-lab simulate: its "format" is ${is}, where "${FORMAT}" is read`);
  }
  known([], report, REPORT_KEYS, refuse);
  known(["asked"], report.asked, ASKED_KEYS, refuse);
  const text = (path: readonly string[], value: unknown, most: number): void => {
    if (typeof value !== "string" || value.length > most)
      refuse(path, `"${path.join(".")}" is text of at most ${most} characters, not ${shown(value)}`);
  };
  const whole = (path: readonly string[], value: unknown, most: number = Number.MAX_SAFE_INTEGER): void => {
    if (!Number.isSafeInteger(value) || (value as number) < 0 || (value as number) > most)
      refuse(
        path,
        `"${path.join(".")}" is a whole number${most < 2 ** 52 ? ` from 0 to ${most}` : ""}, not ${shown(value)}`,
      );
  };
  const time = (path: readonly string[], value: unknown): void => {
    if (!Number.isFinite(value) || (value as number) < 0)
      refuse(path, `"${path.join(".")}" is a number from 0 on, not ${shown(value)}`);
  };
  text(["engine"], report.engine, 200);
  if (report.mutant !== null && !/^[a-z0-9-]{1,64}$/.test(String(report.mutant)))
    refuse(
      ["mutant"],
      `"mutant" is the name of one (pinless-lab check --mutants), or null; not ${shown(report.mutant)}`,
    );
  const { asked } = report;
  whole(["asked", "seed"], asked.seed, 1e15);
  whole(["asked", "runs"], asked.runs, MOST.runs);
  whole(["asked", "requests"], asked.requests, MOST.requests);
  changesOf(asked.seed, asked.changes, (inside, why) => inputErrorAt(source, ["asked", "changes", ...inside], why));
  for (const key of ["runs", "requests", "operations"] as const) whole([key], report[key]);
  time(["virtualMs"], report.virtualMs);
  list(["shards"], report.shards, 1, MOST.shards, refuse).forEach((shard, i) => {
    const path = ["shards", String(i)];
    known(path, shard, SHARD_KEYS, refuse);
    whole([...path, "of"], shard.of, MOST.shards);
    whole([...path, "index"], shard.index, shard.of - 1);
    whole([...path, "runs"], shard.runs, runsOf(asked.runs, shard));
  });
  list(["failures"], report.failures, 0, MOST.failures, refuse).forEach((failure, i) => {
    const path = ["failures", String(i)];
    known(path, failure, FAILURE_KEYS, refuse);
    whole([...path, "seed"], failure.seed, 1e15 + MOST.runs);
    // A shrunk failure never has more requests than its run.
    whole([...path, "requests"], failure.requests, asked.requests);
    text([...path, "what"], failure.what, 200);
    text([...path, "message"], failure.message, 10_000);
    time([...path, "atMs"], failure.atMs);
    changesOf(failure.seed, failure.changes, (inside, why) =>
      inputErrorAt(source, [...path, "changes", ...inside], why),
    );
  });
  return report;
}

const REPORT_KEYS = [
  "format",
  "engine",
  "mutant",
  "asked",
  "shards",
  "runs",
  "requests",
  "operations",
  "virtualMs",
  "failures",
] as const satisfies readonly (keyof CampaignReport)[];
const ASKED_KEYS = ["seed", "runs", "requests", "changes"] as const;
const SHARD_KEYS = ["index", "of", "runs"] as const;
const FAILURE_KEYS = ["seed", "requests", "changes", "what", "message", "atMs"] as const;

type Refuse = (path: readonly string[], why: string) => never;

/** Checks that a value is an object with only these keys. */
function known(path: readonly string[], value: unknown, keys: readonly string[], refuse: Refuse): void {
  const name = path.length === 0 ? "a report" : `"${path.join(".")}"`;
  if (typeof value !== "object" || value === null || Array.isArray(value))
    refuse(path, `${name} has ${keys.join(", ")}; not ${shown(value)}`);
  const odd = Object.keys(value as object).find((key) => !keys.includes(key));
  if (odd !== undefined) refuse([...path, odd], `${name} has no "${odd}"; it has ${keys.join(", ")}`);
}

function list<T>(
  path: readonly string[],
  value: readonly T[],
  least: number,
  most: number,
  refuse: Refuse,
): readonly T[] {
  if (!Array.isArray(value) || value.length < least || value.length > most)
    refuse(path, `"${path.join(".")}" is a list of ${least} to ${most}, not ${shown(value)}`);
  return value;
}

/**
 * Merges reports of shards of one campaign. Throws `InputError` if they are of different engines or campaigns, or if a
 * shard occurs twice.
 */
export function merge(sources: readonly InputSource[]): CampaignReport {
  const reports = sources.map(readReport);
  const [first] = reports;
  if (first === undefined) throw new InputError("there is nothing to merge: give the reports of shards");
  const whose = new Map<number, string>();
  reports.forEach((report, i) => {
    const source = sources[i]!;
    const refuse = (path: readonly string[], why: string): never => {
      throw inputErrorAt(source, path, why);
    };
    if (report.engine !== first.engine || report.mutant !== first.mutant)
      refuse(["engine"], `this report is of ${nameOf(report)}, ${sources[0]!.name} of ${nameOf(first)}`);
    for (const key of ["seed", "runs", "requests", "changes"] as const) {
      const [its, theirs] = [report, first].map(({ asked }) => JSON.stringify(asked[key]));
      if (its !== theirs) refuse(["asked", key], `this report is of another campaign: ${key} ${its}, not ${theirs}`);
    }
    for (const [j, { index, of }] of report.shards.entries()) {
      if (of !== first.shards[0]!.of)
        refuse(
          ["shards", String(j)],
          `this campaign has ${of} shards, that of the first report ${first.shards[0]!.of}`,
        );
      if (whose.has(index)) refuse(["shards", String(j)], `shard ${index} is in ${whose.get(index)} too`);
      whose.set(index, source.name);
    }
  });
  const sum = (of: (report: CampaignReport) => number): number => reports.reduce((total, r) => total + of(r), 0);
  return {
    format: FORMAT,
    engine: first.engine,
    mutant: first.mutant,
    asked: first.asked,
    shards: reports.flatMap(({ shards }) => shards).sort((a, b) => a.index - b.index),
    runs: sum((r) => r.runs),
    requests: sum((r) => r.requests),
    operations: sum((r) => r.operations),
    virtualMs: sum((r) => r.virtualMs),
    failures: reports.flatMap(({ failures }) => failures).sort((a, b) => a.seed - b.seed),
  };
}

export function nameOf({ engine, mutant }: SimulationOutcome): string {
  return mutant === null ? engine : `${engine} without "${mutant}"`;
}
