/** Statistics of a job's I/O: what its thread counts, and what jobs of a group add up to. */

import { DIRECTIONS, type Direction } from "./job.js";
import { addSample, bucketOf, emptySpread, mergeSpread, newBuckets, type Spread, stackSpread } from "./samples.js";

/** Latencies in nanoseconds. */
export interface Latency {
  readonly spread: Spread;
  readonly buckets: Float64Array;
}

/** Figures of one kind of I/O. */
export interface DirectionStatistics {
  bytes: number;
  ios: number;
  short: number;
  runtimeMs: number;
  /** From the start of a request to its submission. */
  readonly slat: Latency;
  /** From its submission to its completion. */
  readonly clat: Latency;
  readonly lat: Latency;
  /** KiB a second, sampled. */
  readonly bw: Spread;
  readonly iops: Spread;
}

/** Depths that fio tells apart, as powers of two; a bucket holds the next ones down to the bucket before. */
const DEPTHS = 7;

export interface JobStatistics extends Record<Direction, DirectionStatistics> {
  readonly sync: { ios: number; readonly lat: Latency };
  /** Number of requests by latency: 10 classes below 1 µs, 10 below 1 ms, 12 above. */
  readonly latencyClasses: Float64Array;
  /** Number of requests by the depth of the queue at the time. */
  readonly depths: Float64Array;
  readonly submits: Float64Array;
  readonly completes: Float64Array;
  submitCalls: number;
  completeCalls: number;
  userMs: number;
  systemMs: number;
  contextSwitches: number;
  majorFaults: number;
  minorFaults: number;
  totalMs: number;
  errors: number;
  /** First errno, positive as in fio's output; 0 for none. */
  firstError: number;
}

const CLASS_BOUNDS = [2, 4, 10, 20, 50, 100, 250, 500, 750, 1000];
const BOUNDS_NS = Float64Array.from([
  ...CLASS_BOUNDS,
  ...CLASS_BOUNDS.map((bound) => bound * 1e3),
  ...CLASS_BOUNDS.map((bound) => bound * 1e6),
  2e9,
]);

export function emptyStatistics(): JobStatistics {
  const latency = (): Latency => ({ spread: emptySpread(), buckets: newBuckets() });
  const direction = (): DirectionStatistics => ({
    bytes: 0,
    ios: 0,
    short: 0,
    runtimeMs: 0,
    slat: latency(),
    clat: latency(),
    lat: latency(),
    bw: emptySpread(),
    iops: emptySpread(),
  });
  return {
    read: direction(),
    write: direction(),
    trim: direction(),
    sync: { ios: 0, lat: latency() },
    latencyClasses: new Float64Array(BOUNDS_NS.length + 1),
    depths: new Float64Array(DEPTHS),
    submits: new Float64Array(DEPTHS),
    completes: new Float64Array(DEPTHS),
    submitCalls: 0,
    completeCalls: 0,
    userMs: 0,
    systemMs: 0,
    contextSwitches: 0,
    majorFaults: 0,
    minorFaults: 0,
    totalMs: 0,
    errors: 0,
    firstError: 0,
  };
}

export function addLatency({ spread, buckets }: Latency, ns: number): void {
  addSample(spread, ns);
  buckets[bucketOf(ns)]!++;
}

/** Counts a latency in the class of fio's "lat" lines. */
export function addLatencyClass({ latencyClasses }: JobStatistics, ns: number): void {
  let low = 0;
  for (let high = BOUNDS_NS.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (BOUNDS_NS[middle]! <= ns) low = middle + 1;
    else high = middle;
  }
  latencyClasses[low]!++;
}

/** Counts a request that was queued as the `depth`th: classes are 1, 2, 4, … and 64 or more. */
export function addDepth({ depths }: JobStatistics, depth: number): void {
  depths[Math.min(DEPTHS - 1, 31 - Math.clz32(depth))]!++;
}

/** Counts requests that were handed over, or came back, together: classes are 0, up to 4, up to 8, … */
export function addBatch(batches: Float64Array, count: number): void {
  batches[count === 0 ? 0 : count <= 4 ? 1 : Math.min(DEPTHS - 1, 31 - Math.clz32(count - 1))]!++;
}

/** Adds the statistics of another job of the group. */
export function addStatistics(to: JobStatistics, from: JobStatistics): void {
  for (const direction of DIRECTIONS) addDirection(to[direction], from[direction]);
  to.sync.ios += from.sync.ios;
  mergeLatency(to.sync.lat, from.sync.lat);
  for (const each of ["latencyClasses", "depths", "submits", "completes"] as const) addEach(to[each], from[each]);
  for (const each of SUMS) to[each] += from[each];
  if (to.firstError === 0) to.firstError = from.firstError;
}

const SUMS = [
  "submitCalls",
  "completeCalls",
  "userMs",
  "systemMs",
  "contextSwitches",
  "majorFaults",
  "minorFaults",
  "totalMs",
  "errors",
] as const;

function addDirection(to: DirectionStatistics, from: DirectionStatistics): void {
  to.bytes += from.bytes;
  to.ios += from.ios;
  to.short += from.short;
  to.runtimeMs = Math.max(to.runtimeMs, from.runtimeMs);
  for (const each of ["slat", "clat", "lat"] as const) mergeLatency(to[each], from[each]);
  stackSpread(to.bw, from.bw);
  stackSpread(to.iops, from.iops);
}

/** Counts writes as reads, for one figure of both (unified_rw_reporting). */
export function mixDirections(statistics: JobStatistics): void {
  addDirection(statistics.read, statistics.write);
  statistics.write = emptyStatistics().write;
}

function mergeLatency(to: Latency, from: Latency): void {
  mergeSpread(to.spread, from.spread);
  addEach(to.buckets, from.buckets);
}

function addEach(to: Float64Array, from: Float64Array): void {
  for (const [i, value] of from.entries()) to[i]! += value;
}
