/** What a campaign says, as JSON: written by one shard, added up from many, and read again to have its failures once more. */

import { changesOf } from "./changes.js";
import { InputError } from "./input-error.js";
import type { Failure } from "./run.js";
import type { Swarm } from "./swarm.js";

/** Of the JSON below: another format can't be added up or replayed. */
export const FORMAT = "pinless-simulate-2";

export interface Shard {
  readonly index: number;
  readonly of: number;
}

/** A failure as small as it got: with the engine that it's of, enough to have it again. */
export interface FoundFailure extends Failure {
  readonly seed: number;
  readonly requests: number;
  readonly changes: Partial<Swarm>;
}

/** What ran: a version and a commit; and the protective step that was left out of it. */
export interface Ran {
  readonly engine: string;
  readonly mutant: string | null;
}

export interface CampaignReport extends Ran {
  readonly format: typeof FORMAT;
  /** What was asked for of all shards together: seeds from the first on, requests of each run, and what is otherwise in it. */
  readonly asked: {
    readonly seed: number;
    readonly runs: number;
    readonly requests: number;
    readonly changes: Partial<Swarm>;
  };
  /** Those that are in here, and runs that they came to. */
  readonly shards: readonly (Shard & { readonly runs: number })[];
  readonly runs: number;
  readonly requests: number;
  readonly operations: number;
  readonly virtualMs: number;
  readonly failures: readonly FoundFailure[];
}

/** Seeds of a shard: every `of`-th. */
export function seedsOf(seed: number, runs: number, { index, of }: Shard): number[] {
  return Array.from({ length: runs }, (_, i) => seed + i).filter((_, i) => i % of === index);
}

/** What isn't there of what was asked for, a sentence each. */
export function missingOf({ asked, shards }: CampaignReport): string[] {
  const of = shards[0]?.of ?? 1;
  const there = new Map(shards.map((shard) => [shard.index, shard.runs]));
  const absent = Array.from({ length: of }, (_, index) => index).filter((index) => !there.has(index));
  const short = shards.flatMap(({ index, runs }) => {
    const all = seedsOf(asked.seed, asked.runs, { index, of }).length;
    return runs < all ? [`shard ${index} of ${of} was cut short: ${runs} of ${all} runs`] : [];
  });
  return [...(absent.length === 0 ? [] : [`of ${of} shards these are missing: ${absent.join(", ")}`]), ...short];
}

/** JSON, by the name of its file; `lineOf` says where in it something stands. */
export interface ReportSource {
  readonly name: string;
  readonly value: unknown;
  lineOf(path: readonly string[]): number | null;
}

/** Throws ERR_SIMULATE_INPUT for what isn't a report in this format, with its line. */
export function readReport(source: ReportSource): CampaignReport {
  const report = source.value as CampaignReport;
  const refuse = (path: readonly string[], why: string): never => {
    throw new InputError(`${at(source, path)}${why}`);
  };
  if (report?.format !== FORMAT) {
    const is = typeof report?.format === "string" ? `"${report.format}"` : "not there";
    refuse(["format"], `not a report of this pinless simulate: its "format" is ${is}, where "${FORMAT}" is read`);
  }
  if (typeof report.engine !== "string") refuse(["engine"], '"engine" says what ran');
  const whole = (path: readonly string[], value: unknown): void => {
    if (!Number.isSafeInteger(value) || (value as number) < 0) refuse(path, `"${path.join(".")}" is a whole number`);
  };
  for (const key of ["seed", "runs", "requests"] as const) whole(["asked", key], report.asked?.[key]);
  changesOf(report.asked.seed, report.asked.changes, (inside) => at(source, ["asked", "changes", ...inside]));
  for (const key of ["runs", "requests", "operations"] as const) whole([key], report[key]);
  if (!Array.isArray(report.shards) || report.shards.length === 0) refuse(["shards"], '"shards" says which these are');
  report.shards.forEach((shard, i) => {
    for (const key of ["index", "of", "runs"] as const) whole(["shards", String(i), key], shard?.[key]);
  });
  if (!Array.isArray(report.failures)) refuse(["failures"], '"failures" is a list');
  report.failures.forEach((failure, i) => {
    const path = ["failures", String(i)];
    for (const key of ["seed", "requests"] as const) whole([...path, key], failure?.[key]);
    if (typeof failure.what !== "string") refuse(path, "a failure says what it is");
    changesOf(failure.seed, failure.changes, (inside) => at(source, [...path, "changes", ...inside]));
  });
  return report;
}

/** `file:line: `, or of what's around it. */
function at(source: ReportSource, path: readonly string[]): string {
  for (let length = path.length; length >= 0; length--) {
    const line = source.lineOf(path.slice(0, length));
    if (line !== null) return `${source.name}:${line}: `;
  }
  return `${source.name}: `;
}

/** Adds up what shards of one campaign found. Throws for those of another engine or campaign, and for one that is there twice. */
export function merge(sources: readonly ReportSource[]): CampaignReport {
  const reports = sources.map(readReport);
  const [first] = reports;
  if (first === undefined) throw new InputError("there is nothing to merge");
  const whose = new Map<number, string>();
  reports.forEach((report, i) => {
    const source = sources[i]!;
    const refuse = (path: readonly string[], why: string): never => {
      throw new InputError(`${at(source, path)}${why}`);
    };
    if (report.engine !== first.engine || report.mutant !== first.mutant)
      refuse(["engine"], `it's of ${nameOf(report)}, ${sources[0]!.name} of ${nameOf(first)}`);
    for (const key of ["seed", "runs", "requests", "changes"] as const) {
      const [its, theirs] = [report, first].map(({ asked }) => JSON.stringify(asked[key]));
      if (its !== theirs) refuse(["asked", key], `another campaign: ${key} ${its}, not ${theirs}`);
    }
    for (const [j, { index, of }] of report.shards.entries()) {
      if (of !== first.shards[0]!.of) refuse(["shards", String(j)], `of ${of} shards, not of ${first.shards[0]!.of}`);
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

export function nameOf({ engine, mutant }: Ran): string {
  return mutant === null ? engine : `${engine} without "${mutant}"`;
}
