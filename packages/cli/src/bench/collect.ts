/** Collects the figures of one configuration during a run. */

import type { Configuration } from "./configurations.js";
import {
  isSkipped,
  type LoadFigures,
  type LoadSummary,
  type LossFigures,
  type Maybe,
  type MigrationFigures,
  type Ran,
  type RestFigures,
  type RevalidationFigures,
  type Row,
  type Skipped,
  type SpawnFigures,
  type StormSummary,
} from "./report-schema.js";

export const LOADS = ["read4KiB", "read128KiB", "storm4KiB"] as const;
export type LoadName = (typeof LOADS)[number];

export const NO_TIME: Skipped = { skipped: "there was no time left" };

export class RowInProgress {
  readonly configuration: Configuration;
  lostAfterDiscard: Maybe<LossFigures> = NO_TIME;
  lostAfterReclaim: Maybe<LossFigures> = NO_TIME;
  rest: Maybe<RestFigures> = NO_TIME;
  spawn: Maybe<SpawnFigures> = NO_TIME;
  revalidation: Maybe<RevalidationFigures> = NO_TIME;
  migration: Maybe<MigrationFigures> = NO_TIME;
  readonly #slices: Record<LoadName, LoadFigures[]> = { read4KiB: [], read128KiB: [], storm4KiB: [] };
  readonly #skipped: Partial<Record<LoadName, string>> = {};
  readonly #requestBytes: Record<LoadName, number>;

  constructor(configuration: Configuration, requestBytes: Record<LoadName, number>) {
    this.configuration = configuration;
    this.#requestBytes = requestBytes;
    if (configuration.reads.by === "engine") {
      if (configuration.reads.scheme !== "io_uring")
        this.revalidation = {
          skipped: `${configuration.reads.scheme} registers nothing: there is nothing to take again`,
        };
      return;
    }
    const skipped = "Node's Buffers have no such operations";
    this.lostAfterDiscard = { skipped };
    this.lostAfterReclaim = { skipped };
    this.revalidation = { skipped };
    this.migration = { skipped };
    this.rest = { skipped: "node:fs registers nothing: the pages are pinned for the time of a request at most" };
    this.skip("storm4KiB", skipped);
    if (configuration.reads.direct) this.spawn = { skipped: "the same Buffers as node:fs, cached" };
  }

  skip(load: LoadName, why: string): void {
    this.#skipped[load] = why;
  }

  wants(load: LoadName): boolean {
    return this.#skipped[load] === undefined;
  }

  add(load: LoadName, slice: LoadFigures): void {
    this.#slices[load].push(slice);
  }

  row(): Row {
    const { name, label, note, reads } = this.configuration;
    const read4KiB = this.#summary("read4KiB");
    return {
      name,
      label,
      note,
      scheme: reads.by === "engine" ? reads.scheme : null,
      pin: reads.by === "engine" ? reads.pin : null,
      pages: reads.by === "engine" ? reads.pages : null,
      ran: this.#ran(),
      read4KiB,
      read128KiB: this.#summary("read128KiB"),
      storm4KiB: this.#stormSummary(read4KiB),
      lostAfterDiscard: this.lostAfterDiscard,
      lostAfterReclaim: this.lostAfterReclaim,
      rest: this.rest,
      spawn: this.spawn,
      revalidation: this.revalidation,
      migration: this.migration,
    };
  }

  #summary(load: LoadName): Maybe<LoadSummary> {
    const slices = this.#slices[load];
    const last = slices.at(-1);
    if (last === undefined) return { skipped: this.#skipped[load] ?? NO_TIME.skipped };
    const rates = slices.map(({ requests, elapsedMs }) => (requests / elapsedMs) * 1000);
    const requestsPerSecond = median(rates);
    return {
      requestsPerSecond: round(requestsPerSecond, 1),
      mibPerSecond: round((requestsPerSecond * this.#requestBytes[load]) / 2 ** 20, 1),
      cpuUsPerRequest: round(median(slices.map(({ cpuUs, requests }) => cpuUs / Math.max(1, requests))), 2),
      latency: last.latency,
      requests: sum(slices, ({ requests }) => requests),
      readsChecked: sum(slices, ({ readsChecked }) => readsChecked),
      readsLost: sum(slices, ({ readsLost }) => readsLost),
      roundsRequestsPerSecond: rates.map((rate) => round(rate, 1)),
    };
  }

  #stormSummary(quiet: Maybe<LoadSummary>): Maybe<StormSummary> {
    const summary = this.#summary("storm4KiB");
    if (isSkipped(summary)) return summary;
    const last = this.#slices.storm4KiB.at(-1);
    const operations = last?.storm ?? null;
    const waits = last?.waits ?? null;
    if (operations === null || waits === null) return NO_TIME;
    const kept = isSkipped(quiet) ? 0 : ratioByRounds(summary, quiet);
    return { ...summary, throughputKept: round(kept, 3), operations, waits };
  }

  /** Combines what the slices report to have run; they differ if, for instance, a registration was refused once. */
  #ran(): Maybe<Ran> {
    const all = Object.values(this.#slices).flat();
    const last = all.at(-1);
    if (last === undefined) return { skipped: this.#skipped.read4KiB ?? NO_TIME.skipped };
    const spawned = isSkipped(this.spawn) ? [] : this.spawn.degraded;
    const degraded = new Set([...all.flatMap(({ ran }) => ran.degraded), ...spawned]);
    const share = Math.min(...this.#slices.read4KiB.map(({ ran }) => ran.registeredShare));
    return {
      ...last.ran,
      registeredShare: Number.isFinite(share) ? share : last.ran.registeredShare,
      degraded: [...degraded],
    };
  }
}

function sum<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0);
}

/** Median of the ratios of the rounds, because a disturbance of the machine affects both halves of a round alike. */
function ratioByRounds(a: LoadSummary, b: LoadSummary): number {
  return median(ratios(a, b));
}

/** Ratio of a to b in each round, in ascending order. */
export function ratios(a: LoadSummary, b: LoadSummary): readonly number[] {
  const rounds = Math.min(a.roundsRequestsPerSecond.length, b.roundsRequestsPerSecond.length);
  return Array.from({ length: rounds }, (_, i) => a.roundsRequestsPerSecond[i]! / b.roundsRequestsPerSecond[i]!).sort(
    (x, y) => x - y,
  );
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function round(value: number, places: number): number {
  return Math.round(value * 10 ** places) / 10 ** places;
}
