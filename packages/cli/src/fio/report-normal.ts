/** fio's report for people. */

import type { DiskUse } from "./disk-use.js";
import { errnoText } from "./io-ports.js";
import { DIRECTIONS, type Direction, type Job } from "./job.js";
import type { Latency } from "./job-statistics.js";
import {
  bandwidthOf,
  type Group,
  type GroupTotal,
  processorShares,
  type ReportEntry,
  type ReportedRun,
  shareOfGroup,
  sharesOf,
  totalIos,
} from "./jobs-report.js";
import { fixedText, shortText, timeText } from "./number-text.js";
import { deviation, percentilesOf, type Spread } from "./samples.js";

const LINE_COLUMNS = 80;
const CLASSES = ["2", "4", "10", "20", "50", "100", "250", "500", "750", "1000"];
const LABELS = { read: "   READ", write: "  WRITE", trim: "   TRIM" } as const;

export function normalReport(run: ReportedRun): string {
  const entries = run.entries.map((entry) => entryText(entry, run.groups[entry.job.groupId]!, run.at));
  const groups = run.groups.map((group, id) => groupText(group, id, run));
  const disks = run.disks.length === 0 ? "" : `\nDisk stats (read/write):\n${run.disks.map(diskText).join("")}`;
  return `\n${entries.join("")}${groups.join("")}${disks}`;
}

/** Line about a job, before it begins. */
export function jobLine({ name, groupId, directions, isRandom, blockSize, ioEngine, ioDepth }: Job): string {
  const sizes = DIRECTIONS.map((direction) => {
    const { min, max } = blockSize[direction];
    const size = (bytes: number): string => shortText(bytes, 4, true, "B");
    return `(${direction[0]!.toUpperCase()}) ${size(min)}-${size(max)}`;
  });
  const kind = `${isRandom ? "rand" : ""}${directions.length > 1 ? "rw" : directions[0]}`;
  return `${name}: (g=${groupId}): rw=${kind}, bs=${sizes.join(", ")}, ioengine=${ioEngine}, iodepth=${ioDepth}`;
}

function entryText(entry: ReportEntry, group: Group, at: Date): string {
  const { job, members, statistics, error } = entry;
  const ios = totalIos(statistics);
  if (ios === 0 && error === 0) return "";
  const failure = error === 0 ? "" : ` (${errnoText(error)})`;
  const { user, system } = processorShares(statistics);
  const { contextSwitches, majorFaults, minorFaults, submits, completes, depths } = statistics;
  const shares = (counts: Float64Array, total: number, labels: readonly string[]): string =>
    sharesOf(counts, total, 0.1)
      .map((share, i) => `${labels[i]}=${share.toFixed(1)}%`)
      .join(", ");
  const batches = ["0", "4", "8", "16", "32", "64", ">=64"];
  const of = (figure: (direction: Direction) => number): string => DIRECTIONS.map(figure).join(",");
  return [
    `${job.name}: (groupid=${job.groupId}, jobs=${members}): err=${String(error).padStart(2)}${failure}: ` +
      `pid=${process.pid}: ${timeText(at)}`,
    ...(job.description === null ? [] : [`  Description  : [${job.description}]`]),
    ...DIRECTIONS.flatMap((direction) => directionLines(entry, group, direction)),
    ...classLines(statistics.latencyClasses, ios),
    ...syncLines(entry),
    `  cpu          : usr=${user.toFixed(2)}%, sys=${system.toFixed(2)}%, ctx=${contextSwitches}, ` +
      `majf=${majorFaults}, minf=${minorFaults}`,
    `  IO depths    : ${shares(depths, ios, ["1", "2", "4", "8", "16", "32", ">=64"])}`,
    `     submit    : ${shares(submits, statistics.submitCalls, batches)}`,
    `     complete  : ${shares(completes, statistics.completeCalls, batches)}`,
    `     issued rwts: total=${of((each) => statistics[each].ios)},${statistics.sync.ios} ` +
      `short=${of((each) => statistics[each].short)},0 dropped=0,0,0,0`,
    ...errorLines(entry),
    `     latency   : target=0, window=0, percentile=100.00%, depth=${job.ioDepth}`,
    // fio's report has no line of this kind: it says what ran in the place of the engine that the job names.
    ...[...new Set(entry.ways.map(({ way }) => way))].map((way) => `     pinless   : ${way}`),
    ...[...new Set(entry.ways.flatMap(({ engine }) => engine?.degraded ?? []))].map((why) => `               : ${why}`),
    "",
  ].join("\n");
}

function errorLines({ job, statistics }: ReportEntry): string[] {
  if (job.continueOnError === "none") return [];
  const { errors, firstError } = statistics;
  return [`     errors    : total=${errors}, first_error=${firstError}/<${errnoText(firstError)}>`];
}

function directionLines({ job, statistics }: ReportEntry, group: Group, direction: Direction): string[] {
  const { bytes, ios, runtimeMs, slat, clat, lat, bw, iops } = statistics[direction];
  if (bytes === 0 || runtimeMs === 0) return [];
  const digits = job.significantFigures;
  const isBinary = job.kbBase === 1024;
  const rate = bandwidthOf(bytes, runtimeMs);
  const label = job.unifiedRwReporting === "mixed" ? "mixed" : direction;
  const lines = [
    `  ${label}: IOPS=${shortText((1000 * ios) / runtimeMs, digits, false)}, ` +
      `BW=${rateText(job, rate, isBinary)} (${rateText(job, rate, !isBinary)})` +
      `(${shortText(bytes, digits, isBinary, "B")}/${runtimeMs}msec)`,
    ...spreadLine("slat", slat.spread),
    ...spreadLine("clat", clat.spread),
    ...spreadLine(" lat", lat.spread),
    ...(job.slatPercentiles ? percentileLines(job, "slat", slat) : []),
    ...(job.clatPercentiles ? percentileLines(job, "clat", clat) : []),
    ...(job.latPercentiles ? percentileLines(job, "lat", lat) : []),
  ];
  if (bw.samples > 0) lines.push(bandwidthLine(job, bw, shareOfGroup(group, direction, bw.mean)));
  if (iops.samples > 0) lines.push(`   iops        : ${samplesText(iops, 1, "")}`);
  return lines;
}

/** A rate, in bits where the job's `unit_base` says so. */
function rateText({ significantFigures, unitBase }: Job, bytes: number, isBinary: boolean): string {
  if (unitBase === 1) return shortText(8 * bytes, significantFigures, isBinary, "bit/s");
  return shortText(bytes, significantFigures, isBinary, "B/s");
}

function bandwidthLine({ kbBase, unitBase }: Job, bw: Spread, share: number): string {
  const bits = unitBase === 1 ? 8 : 1;
  const isLarge = bw.mean * bits > kbBase * kbBase;
  const prefix = `${isLarge ? "M" : kbBase === 1024 ? "K" : "k"}${kbBase === 1024 || isLarge ? "i" : ""}`;
  const unit = `${prefix}${unitBase === 1 ? "bit" : "B"}`;
  const samples = samplesText(bw, bits / (isLarge ? kbBase : 1), ` per=${share.toFixed(2)}%,`);
  return `   bw (${unit.padStart(5)}/s): ${samples}`;
}

function samplesText(spread: Spread, factor: number, share: string): string {
  const whole = (value: number): string => String(Math.floor(value * factor)).padStart(5);
  return (
    `min=${whole(spread.min)}, max=${whole(spread.max)},${share} avg=${fixedText(spread.mean * factor, 2, 5)}, ` +
    `stdev=${fixedText(deviation(spread) * factor, 2, 5)}, samples=${spread.samples}`
  );
}

/** Unit for nanoseconds that are large enough: fio's limits. */
function unitFor(min: number, max: number): readonly [unit: string, divisor: number] {
  if (min > 2_000_000 && max > 99_999_999) return ["msec", 1e6];
  if (min > 2000 && max > 99_999) return ["usec", 1e3];
  return ["nsec", 1];
}

function spreadLine(name: string, spread: Spread): string[] {
  if (spread.samples === 0) return [];
  const dev = deviation(spread);
  const [unit, divisor] = unitFor(spread.min, spread.max);
  const whole = (ns: number): string => shortText(Math.floor(ns / divisor), 6, false);
  return [
    `    ${name} (${unit}): min=${whole(spread.min)}, max=${whole(spread.max)}, ` +
      `avg=${fixedText(spread.mean / divisor, 2, 5)}, stdev=${fixedText(dev / divisor, 2, 5)}`,
  ];
}

function percentileLines({ percentileList }: Job, name: string, { spread, buckets }: Latency): string[] {
  const found = percentilesOf(buckets, spread.samples, percentileList);
  if (found.length === 0) return [];
  const values = found.map(({ value }) => value);
  const [unit, divisor] = unitFor(Math.min(...values), Math.max(...values));
  const width = Math.max(5, String(Math.floor(Math.max(...values) / divisor)).length);
  const cells = found.map(
    ({ percentage, value }) =>
      ` ${percentage.toFixed(2).padStart(5)}th=[${String(Math.ceil(value / divisor)).padStart(width)}]`,
  );
  const perLine = Math.floor((LINE_COLUMNS - 7) / (width + 12));
  const lines: string[] = [];
  for (let at = 0; at < cells.length; at += perLine)
    lines.push(`     |${cells.slice(at, at + perLine).join(",")}${at + perLine < cells.length ? "," : ""}`);
  return [`    ${name} percentiles (${unit}):`, ...lines];
}

function classLines(counts: Float64Array, total: number): string[] {
  const shares = sharesOf(counts, total, 0.01);
  const lines = (unit: string, labels: readonly string[], of: readonly number[]): string[] => {
    const cells = of.flatMap((share, i) => (share === 0 ? [] : [`${labels[i]}=${share.toFixed(2)}%`]));
    const rows: string[] = [];
    for (let at = 0; at < cells.length; at += 5) rows.push(`  lat (${unit})   : ${cells.slice(at, at + 5).join(", ")}`);
    return rows;
  };
  return [
    ...lines("nsec", CLASSES, shares.slice(0, 10)),
    ...lines("usec", CLASSES, shares.slice(10, 20)),
    ...lines("msec", [...CLASSES, "2000", ">=2000"], shares.slice(20)),
  ];
}

function syncLines({ job, statistics }: ReportEntry): string[] {
  const { lat } = statistics.sync;
  if (lat.spread.samples === 0) return [];
  return [
    "  fsync/fdatasync/sync_file_range:",
    ...spreadLine("sync", lat.spread),
    ...percentileLines(job, "sync", lat),
  ];
}

function groupText(group: Group, id: number, { entries }: ReportedRun): string {
  const job = entries.find((entry) => entry.job.groupId === id)!.job;
  const lines = DIRECTIONS.flatMap((direction) => {
    const total = group[direction];
    return total === null ? [] : [totalLine(job, LABELS[direction], total)];
  });
  return ["", `Run status group ${id} (all jobs):`, ...lines, ""].join("\n");
}

function totalLine(job: Job, label: string, { bytes, minBw, maxBw, minRunMs, maxRunMs, agg }: GroupTotal): string {
  const isBinary = job.kbBase === 1024;
  const rate = (value: number, binary: boolean): string => rateText(job, value, binary);
  const size = (binary: boolean): string => shortText(bytes, job.significantFigures, binary, "B");
  return (
    `${job.unifiedRwReporting === "mixed" ? "  MIXED" : label}: bw=${rate(agg, isBinary)} (${rate(agg, !isBinary)}), ` +
    `${rate(minBw, isBinary)}-${rate(maxBw, isBinary)} (${rate(minBw, !isBinary)}-${rate(maxBw, !isBinary)}), ` +
    `io=${size(isBinary)} (${size(!isBinary)}), run=${minRunMs}-${maxRunMs}msec`
  );
}

function diskText({ name, ios, merges, ticks, inQueueMs, util }: DiskUse): string {
  return (
    `  ${name}: ios=${ios.join("/")}, merge=${merges.join("/")}, ticks=${ticks.join("/")}, ` +
    `in_queue=${inQueueMs}, util=${util.toFixed(2)}%\n`
  );
}
