/** fio's JSON: `json`, and `json+` with the buckets of its histograms. Ours is under the key `pinless`. */

import { release } from "node:os";
import type { DiskUse } from "./disk-use.js";
import { DIRECTIONS, type Direction, type GivenOption, type Job } from "./job.js";
import type { JobStatistics, Latency } from "./job-statistics.js";
import {
  bandwidthOf,
  type Group,
  type JobWay,
  processorShares,
  type ReportEntry,
  type ReportedRun,
  shareOfGroup,
  sharesOf,
  totalIos,
} from "./jobs-report.js";
import { timeText } from "./number-text.js";
import { deviation, middleOf, percentilesOf, type Spread } from "./samples.js";

const DEPTHS = ["1", "2", "4", "8", "16", "32", ">=64"];
const BATCHES = ["0", "4", "8", "16", "32", "64", ">=64"];
const CLASSES = ["2", "4", "10", "20", "50", "100", "250", "500", "750", "1000"];

/** JSON object; fio's keys have blanks and brackets. */
type Json = Record<string, unknown>;

export function jsonReport(run: ReportedRun, version: string, withBins: boolean): Json {
  const { entries, groups, disks, globalOptions, at } = run;
  return {
    "fio version": fioVersion(version),
    timestamp: Math.floor(at.getTime() / 1000),
    timestamp_ms: at.getTime(),
    time: timeText(at),
    ...(globalOptions.length === 0 ? {} : { "global options": optionsOf(globalOptions) }),
    jobs: entries.map((entry) => jobOf(entry, groups[entry.job.groupId]!, run, withBins)),
    ...(disks.length === 0 ? {} : { disk_util: disks.map(diskOf) }),
  };
}

/** Version whose format the output has; tools look for a number after "fio-". */
export function fioVersion(version: string): string {
  return `fio-3.33-pinless-${version}`;
}

/** Options with their values. As in fio's output, flags without one are left out. */
function optionsOf(given: readonly GivenOption[]): Json {
  return Object.fromEntries(given.filter(({ value }) => value !== "").map(({ name, value }) => [name, value]));
}

function jobOf({ job, statistics, error, ways }: ReportEntry, group: Group, run: ReportedRun, withBins: boolean): Json {
  const { user, system } = processorShares(statistics);
  const ios = totalIos(statistics);
  const classes = sharesOf(statistics.latencyClasses, ios, 0.01);
  // On a command line the name is an option of the job, in a file it's the head of a section.
  const given = job.place.line === 0 ? [{ name: "name", value: job.name }, ...job.given] : job.given;
  const isMixed = job.unifiedRwReporting === "mixed";
  const direction = (name: Direction): Json => directionOf(job, statistics[name], group, name, withBins);
  return {
    jobname: job.name,
    groupid: job.groupId,
    error,
    // As fio, no estimate before the third second.
    eta: run.elapsedS < 3 ? 2 ** 31 - 1 : 0,
    elapsed: Math.ceil(run.elapsedS),
    ...(given.length === 0 ? {} : { "job options": optionsOf(given) }),
    ...(isMixed
      ? { mixed: direction("read") }
      : { ...eachDirection(direction), sync: syncOf(job, statistics, withBins) }),
    job_runtime: statistics.totalMs,
    usr_cpu: rounded(user),
    sys_cpu: rounded(system),
    ctx: statistics.contextSwitches,
    majf: statistics.majorFaults,
    minf: statistics.minorFaults,
    iodepth_level: labelled(DEPTHS, sharesOf(statistics.depths, ios, 0.1)),
    iodepth_submit: labelled(BATCHES, sharesOf(statistics.submits, statistics.submitCalls, 0.1)),
    iodepth_complete: labelled(BATCHES, sharesOf(statistics.completes, statistics.completeCalls, 0.1)),
    latency_ns: labelled(CLASSES, classes.slice(0, 10)),
    latency_us: labelled(CLASSES, classes.slice(10, 20)),
    latency_ms: labelled([...CLASSES, "2000", ">=2000"], classes.slice(20)),
    ...(job.continueOnError === "none" ? {} : { total_err: statistics.errors, first_error: statistics.firstError }),
    // fio has these in every job, with its defaults where no latency is sought.
    latency_depth: job.ioDepth,
    latency_target: 0,
    latency_percentile: 100,
    latency_window: 0,
    ...(job.description === null ? {} : { desc: job.description }),
    pinless: waysOf(ways),
  };
}

function eachDirection(of: (direction: Direction) => Json): Json {
  return Object.fromEntries(DIRECTIONS.map((direction) => [direction, of(direction)]));
}

function syncOf(job: Job, { sync }: JobStatistics, withBins: boolean): Json {
  const withPercentiles = job.clatPercentiles || job.latPercentiles;
  return { total_ios: sync.ios, lat_ns: latencyOf(job, sync.lat, withPercentiles, withBins) };
}

function directionOf(
  job: Job,
  statistics: ReportEntry["statistics"][Direction],
  group: Group,
  direction: Direction,
  withBins: boolean,
): Json {
  const { bytes, ios, short, runtimeMs, slat, clat, lat, bw, iops } = statistics;
  const bwBytes = bandwidthOf(bytes, runtimeMs);
  return {
    io_bytes: bytes,
    io_kbytes: Math.floor(bytes / 1024),
    bw_bytes: bwBytes,
    bw: Math.floor(bwBytes / 1024),
    iops: rounded(runtimeMs === 0 ? 0 : (1000 * ios) / runtimeMs),
    runtime: runtimeMs,
    total_ios: ios,
    short_ios: short,
    drop_ios: 0,
    slat_ns: latencyOf(job, slat, job.slatPercentiles, withBins),
    clat_ns: latencyOf(job, clat, job.clatPercentiles, withBins),
    lat_ns: latencyOf(job, lat, job.latPercentiles, withBins),
    bw_min: least(bw),
    bw_max: bw.max,
    bw_agg: bw.samples === 0 ? 0 : rounded(shareOfGroup(group, direction, bw.mean)),
    bw_mean: rounded(bw.mean),
    bw_dev: rounded(deviation(bw)),
    bw_samples: bw.samples,
    iops_min: least(iops),
    iops_max: iops.max,
    iops_mean: rounded(iops.mean),
    iops_stddev: rounded(deviation(iops)),
    iops_samples: iops.samples,
  };
}

function latencyOf(job: Job, { spread, buckets }: Latency, withPercentiles: boolean, withBins: boolean): Json {
  const figures = {
    min: least(spread),
    max: spread.max,
    mean: rounded(spread.mean),
    stddev: rounded(deviation(spread)),
    N: spread.samples,
  };
  if (!withPercentiles || spread.samples === 0) return figures;
  const found = percentilesOf(buckets, spread.samples, job.percentileList);
  const percentile = Object.fromEntries(found.map(({ percentage, value }) => [percentage.toFixed(6), value]));
  return { ...figures, percentile, ...(withBins ? { bins: binsOf(buckets) } : {}) };
}

function binsOf(buckets: Float64Array): Json {
  const filled = [...buckets].flatMap((count, bucket) => (count === 0 ? [] : [[middleOf(bucket), count]]));
  return Object.fromEntries(filled);
}

function least({ min, samples }: Spread): number {
  return samples === 0 ? 0 : min;
}

function labelled(labels: readonly string[], values: readonly number[]): Json {
  return Object.fromEntries(labels.map((label, i) => [label, rounded(values[i] ?? 0)]));
}

/** A number with six decimals, as fio prints all that aren't whole. */
function rounded(value: number): number {
  return Number(value.toFixed(6));
}

function diskOf({ name, ios, merges, ticks, inQueueMs, util, slaves }: DiskUse): Json {
  const mean = (of: (slave: DiskUse) => number): number =>
    Math.floor(slaves.reduce((sum, slave) => sum + of(slave), 0) / slaves.length);
  const aggregate = {
    aggr_read_ios: mean((slave) => slave.ios[0]),
    aggr_write_ios: mean((slave) => slave.ios[1]),
    aggr_read_merges: mean((slave) => slave.merges[0]),
    aggr_write_merge: mean((slave) => slave.merges[1]),
    aggr_read_ticks: mean((slave) => slave.ticks[0]),
    aggr_write_ticks: mean((slave) => slave.ticks[1]),
    aggr_in_queue: mean((slave) => slave.inQueueMs),
    aggr_util: rounded(Math.max(0, ...slaves.map((slave) => slave.util))),
  };
  return {
    name,
    read_ios: ios[0],
    write_ios: ios[1],
    read_merges: merges[0],
    write_merges: merges[1],
    read_ticks: ticks[0],
    write_ticks: ticks[1],
    in_queue: inQueueMs,
    util: rounded(util),
    ...(slaves.length === 0 ? {} : aggregate),
  };
}

function waysOf(ways: readonly JobWay[]): Json {
  return {
    kernel: release(),
    threads: ways.map(({ way, engine, memoryEvents }) => ({ way, engine, memory_events: memoryEvents })),
  };
}
