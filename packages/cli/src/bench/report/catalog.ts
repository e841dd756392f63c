/** Lists every figure of a report by name, so that two reports can be compared. */

import {
  type HostHugeFigures,
  isSkipped,
  type LoadSummary,
  type Maybe,
  type Report,
  type Row,
} from "../report-schema.js";

export type Better = "higher" | "lower";

export interface Figure {
  readonly row: string;
  readonly figure: string;
  readonly value: number;
  readonly better: Better;
}

interface Kind<T> {
  readonly name: string;
  readonly better: Better;
  of(from: T): number | null;
}

/** A figure of a part that may not have been measured. */
function kind<T, P>(
  name: string,
  better: Better,
  part: (from: T) => Maybe<P> | undefined,
  of: (p: P) => number | null,
): Kind<T> {
  return {
    name,
    better,
    of(from) {
      const found = part(from);
      return found === undefined || isSkipped(found) ? null : of(found);
    },
  };
}

function loadKinds(name: string, part: (row: Row) => Maybe<LoadSummary>): readonly Kind<Row>[] {
  return [
    kind(`${name}: reads/s`, "higher", part, (l) => l.requestsPerSecond),
    kind(`${name}: CPU µs each`, "lower", part, (l) => l.cpuUsPerRequest),
    kind(`${name}: p50 µs`, "lower", part, (l) => l.latency.p50Us),
    kind(`${name}: p99 µs`, "lower", part, (l) => l.latency.p99Us),
  ];
}

const storm = (row: Row): Row["storm4KiB"] => row.storm4KiB;
const revalidation = (row: Row): Row["revalidation"] => row.revalidation;

const OF_ROWS: readonly Kind<Row>[] = [
  ...loadKinds("4 KiB", (row) => row.read4KiB),
  ...loadKinds("128 KiB", (row) => row.read128KiB),
  kind("storm: speed kept", "higher", storm, (s) => s.throughputKept),
  ...(["discard", "pageOut", "collapse"] as const).map((operation) =>
    kind<Row, { pagesDone: number; pagesAsked: number }>(
      `storm: ${operation}, share done`,
      "higher",
      (row) => (isSkipped(row.storm4KiB) ? row.storm4KiB : row.storm4KiB.operations[operation]),
      (o) => o.pagesDone / Math.max(1, o.pagesAsked),
    ),
  ),
  kind("storm: wait p50 ms", "lower", storm, (s) => s.waits.p50Ms),
  kind("storm: wait p99 ms", "lower", storm, (s) => s.waits.p99Ms),
  kind("storm: wait max ms", "lower", storm, (s) => s.waits.maxMs),
  kind("storm: share of reads lost", "lower", storm, (s) => s.readsLost / Math.max(1, s.readsChecked)),
  kind(
    "lost after discard, blocks",
    "lower",
    (row: Row) => row.lostAfterDiscard,
    (l) => l.blocksLost,
  ),
  kind(
    "lost after reclaim, blocks",
    "lower",
    (row: Row) => row.lostAfterReclaim,
    (l) => l.blocksLost,
  ),
  kind(
    "pinned at rest, bytes",
    "lower",
    (row: Row) => row.rest,
    (r) => r.pinnedBytesAtRest,
  ),
  kind(
    "spawn, ms",
    "lower",
    (row: Row) => row.spawn,
    (s) => s.medianMs,
  ),
  kind("µs an invalidation", "lower", revalidation, (r) => r.usPerInvalidation),
  kind("µs a lease taken again", "lower", revalidation, (r) => r.usPerLease),
  kind("reads fewer for an invalidation", "lower", revalidation, (r) => r.requestsFewerPerInvalidation),
  kind("pages moved on the host", "lower", revalidation, (r) => r.hostPagesMigrated),
  kind(
    "NUMA: share of pages moved",
    "higher",
    (row: Row) => row.migration,
    (m) => m.pagesDone / Math.max(1, m.pagesAsked),
  ),
];

const OF_HOST: readonly Kind<HostHugeFigures>[] = [
  kind(
    "huge pages of the host, share got",
    "higher",
    (f: HostHugeFigures): HostHugeFigures => f,
    (f) => f.hugePagesGot / Math.max(1, f.hugePagesAsked),
  ),
  kind(
    "huge pages of the host, longest step ms",
    "lower",
    (f: HostHugeFigures): HostHugeFigures => f,
    (f) => f.stepMaxMs,
  ),
];

export function figuresOf(report: Report): readonly Figure[] {
  const host = isSkipped(report.hostHugePages) ? [] : report.hostHugePages.rows;
  return [
    ...report.rows.flatMap((row) => valuesOf(row.name, OF_ROWS, row)),
    ...host.flatMap(({ name, figures }) => (isSkipped(figures) ? [] : valuesOf(name, OF_HOST, figures))),
  ];
}

function valuesOf<T>(row: string, kinds: readonly Kind<T>[], from: T): readonly Figure[] {
  return kinds.flatMap(({ name, better, of }) => {
    const value = of(from);
    return value === null ? [] : [{ row, figure: name, value, better }];
  });
}
