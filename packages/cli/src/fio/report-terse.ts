/** fio's terse output: a line of fields for each job, versions 2 to 5. */

import type { Direction, Invocation } from "./job.js";
import {
  bandwidthOf,
  type Group,
  processorShares,
  type ReportEntry,
  type ReportedRun,
  shareOfGroup,
  sharesOf,
  totalIos,
} from "./jobs-report.js";
import { fioVersion } from "./report-json.js";
import { deviation, percentilesOf, type Spread } from "./samples.js";

/** Places for percentiles on a line. */
const PERCENTILES = 20;

export function terseReport(run: ReportedRun, terse: Invocation["terseVersion"], version: string): string {
  return run.entries.map((entry) => `${lineOf(entry, run, terse, version)}\n`).join("");
}

function lineOf(entry: ReportEntry, run: ReportedRun, terse: number, version: string): string {
  const { job, statistics, error } = entry;
  const group = run.groups[job.groupId]!;
  const { user, system } = processorShares(statistics);
  const ios = totalIos(statistics);
  const directions: readonly Direction[] = terse === 3 ? ["read", "write"] : ["read", "write", "trim"];
  const classes = sharesOf(statistics.latencyClasses, ios, 0.01);
  const percent = (value: number, decimals: number): string => `${value.toFixed(decimals)}%`;
  const microseconds = classes.slice(10, 20);
  // The line has no places for nanoseconds: they count as the shortest of the others.
  microseconds[0]! += classes.slice(0, 10).reduce((sum, share) => sum + share, 0);
  const disks = terse === 2 ? [] : run.disks;
  return [
    ...(terse === 2 ? ["2"] : [terse, fioVersion(version)]),
    job.name,
    job.groupId,
    error,
    ...directions.flatMap((direction) => fieldsOf(entry, group, direction, terse)),
    percent(user, 6),
    percent(system, 6),
    statistics.contextSwitches,
    statistics.majorFaults,
    statistics.minorFaults,
    ...sharesOf(statistics.depths, ios, 0.1).map((share) => percent(share, 1)),
    ...[...microseconds, ...classes.slice(20)].map((share) => percent(share, 2)),
    ...disks.flatMap(({ name, ios: done, merges, ticks, inQueueMs, util }) => [
      name,
      ...done,
      ...merges,
      ...ticks,
      inQueueMs,
      percent(util, 2),
    ]),
    ...(job.continueOnError === "none" ? [] : [statistics.errors, statistics.firstError]),
    ...(job.description === null ? [] : [job.description]),
  ].join(";");
}

function fieldsOf(
  { job, statistics }: ReportEntry,
  group: Group,
  direction: Direction,
  terse: number,
): (string | number)[] {
  const { bytes, ios, runtimeMs, slat, clat, lat, bw, iops } = statistics[direction];
  const { buckets, spread } = job.latPercentiles ? lat : clat;
  const isListed = (job.latPercentiles || job.clatPercentiles) && spread.samples > 0;
  const found = isListed ? percentilesOf(buckets, spread.samples, job.percentileList) : [];
  const share = bw.samples === 0 ? 0 : shareOfGroup(group, direction, bw.mean);
  const means = (of: Spread): string[] => [of.mean.toFixed(6), deviation(of).toFixed(6)];
  const extremes = (of: Spread): number[] => [of.samples === 0 ? 0 : of.min, of.max];
  return [
    Math.floor(bytes / 1024),
    Math.floor(bandwidthOf(bytes, runtimeMs) / 1024),
    runtimeMs === 0 ? 0 : Math.floor((1000 * ios) / runtimeMs),
    runtimeMs,
    ...microsecondsOf(slat.spread),
    ...microsecondsOf(clat.spread),
    ...Array.from({ length: PERCENTILES }, (_, i) => {
      const each = found[i];
      return each === undefined ? "0%=0" : `${each.percentage.toFixed(6)}%=${Math.floor(each.value / 1000)}`;
    }),
    ...microsecondsOf(lat.spread),
    ...extremes(bw),
    `${share.toFixed(6)}%`,
    ...means(bw),
    ...(terse === 5 ? [bw.samples, ...extremes(iops), ...means(iops), iops.samples] : []),
  ];
}

function microsecondsOf(spread: Spread): (string | number)[] {
  const min = spread.samples === 0 ? 0 : spread.min;
  return [
    Math.floor(min / 1000),
    Math.floor(spread.max / 1000),
    (spread.mean / 1000).toFixed(6),
    (deviation(spread) / 1000).toFixed(6),
  ];
}
