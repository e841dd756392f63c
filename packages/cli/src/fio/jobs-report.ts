/** Figures of a run: entries of jobs or groups, and each group's totals. All outputs are made of it. */

import type { EngineStats } from "pinless";
import type { DiskUse } from "./disk-use.js";
import { DIRECTIONS, type Direction, type GivenOption, type Invocation, type Job } from "./job.js";
import type { JobHandle } from "./job-handle.js";
import { addStatistics, emptyStatistics, type JobStatistics, mixDirections } from "./job-statistics.js";
import type { MemoryEventCounts } from "./run-messages.js";

const EINVAL = 22;

/** The way in which pinless ran a job, for which fio's output has no place. */
export interface JobWay {
  readonly way: string;
  readonly engine: EngineStats | null;
  readonly memoryEvents: readonly MemoryEventCounts[];
}

/** Figures of a job, or of all jobs of a group with `group_reporting`. */
export interface ReportEntry {
  /** The first job. */
  readonly job: Job;
  members: number;
  readonly statistics: JobStatistics;
  /** Errno of the first failure that ended a job, positive; 0 for none. */
  error: number;
  readonly ways: JobWay[];
}

/** Totals of a group in one direction; null if it did nothing there. */
export interface GroupTotal {
  bytes: number;
  minBw: number;
  maxBw: number;
  minRunMs: number;
  maxRunMs: number;
  /** Bytes a second of all jobs. */
  agg: number;
}

export type Group = Readonly<Record<Direction, GroupTotal | null>>;

export interface ReportedRun {
  readonly entries: readonly ReportEntry[];
  readonly groups: readonly Group[];
  readonly disks: readonly DiskUse[];
  readonly globalOptions: readonly GivenOption[];
  readonly elapsedS: number;
  readonly at: Date;
  /** Number of jobs that failed: fio's exit code is 1 if there are any. */
  readonly failures: number;
}

export function reportOf(
  handles: readonly JobHandle[],
  disks: readonly DiskUse[],
  { global }: Invocation,
  elapsedS: number,
): ReportedRun {
  const entries: ReportEntry[] = [];
  let failures = 0;
  for (const { job, outcome, refused } of handles) {
    const last = entries.at(-1);
    const isJoined = last !== undefined && job.groupReporting && last.job.groupId === job.groupId;
    const entry: ReportEntry = isJoined ? last : { job, members: 0, statistics: emptyStatistics(), error: 0, ways: [] };
    if (!isJoined) entries.push(entry);
    entry.members++;
    const error = refused !== null ? EINVAL : (outcome?.error ?? 0);
    if (error !== 0) failures++;
    if (entry.error === 0) entry.error = error;
    if (entry.error === 0 && job.continueOnError !== "none") entry.error = outcome?.statistics.firstError ?? 0;
    if (outcome === null) continue;
    addStatistics(entry.statistics, outcome.statistics);
    entry.ways.push({ way: outcome.way, engine: outcome.engine, memoryEvents: outcome.memoryEvents });
  }
  for (const { job, statistics } of entries) if (job.unifiedRwReporting === "mixed") mixDirections(statistics);
  return { entries, groups: groupsOf(entries), disks, globalOptions: global, elapsedS, at: new Date(), failures };
}

/** Bytes a second, as fio's whole number. */
export function bandwidthOf(bytes: number, runtimeMs: number): number {
  return runtimeMs === 0 ? 0 : Math.floor((1000 * bytes) / runtimeMs);
}

function groupsOf(entries: readonly ReportEntry[]): Group[] {
  const groups: Record<Direction, GroupTotal | null>[] = [];
  for (const { job, statistics } of entries) {
    groups[job.groupId] ??= { read: null, write: null, trim: null };
    const group = groups[job.groupId]!;
    for (const direction of DIRECTIONS) {
      const { bytes, runtimeMs } = statistics[direction];
      if (runtimeMs === 0) continue;
      const bw = bandwidthOf(bytes, runtimeMs);
      const none = { bytes: 0, minBw: bw, maxBw: bw, minRunMs: runtimeMs, maxRunMs: runtimeMs, agg: 0 };
      const total = group[direction] ?? none;
      group[direction] = total;
      total.bytes += bytes;
      total.minBw = Math.min(total.minBw, bw);
      total.maxBw = Math.max(total.maxBw, bw);
      total.minRunMs = Math.min(total.minRunMs, runtimeMs);
      total.maxRunMs = Math.max(total.maxRunMs, runtimeMs);
      total.agg = bandwidthOf(total.bytes, total.maxRunMs);
    }
  }
  return groups;
}

/** Share of a group's bandwidth, in percent, that a mean of KiB a second is. */
export function shareOfGroup(group: Group, direction: Direction, meanKiB: number): number {
  const agg = group[direction]?.agg ?? 0;
  return agg > 1024 ? Math.min(100, (Math.floor(meanKiB) * 100) / (agg / 1024)) : 100;
}

/** Distribution over classes, in percent of `total`; what happened at all is shown as `least` percent at least. */
export function sharesOf(counts: Float64Array, total: number, least: number): number[] {
  return [...counts].map((count) => (count === 0 || total === 0 ? 0 : Math.max(least, (count / total) * 100)));
}

export function totalIos({ read, write, trim }: JobStatistics): number {
  return read.ios + write.ios + trim.ios;
}

/** Processor time in percent of the time of all jobs. */
export function processorShares({ userMs, systemMs, totalMs }: JobStatistics): { user: number; system: number } {
  const share = (ms: number): number => (totalMs === 0 ? 0 : (ms * 100) / totalMs);
  return { user: share(userMs), system: share(systemMs) };
}
