/** Distribution of waits: Node's histogram for the percentiles, and doubling buckets for a chart. */

import { createHistogram } from "node:perf_hooks";
import type { WaitFigures } from "../report-schema.js";

/** The buckets go from 16 µs, about the time of an invalidation that waits for nothing, to a second. */
const FIRST_BOUND_MS = 1 / 64;
const BOUNDS_MS = Array.from({ length: 17 }, (_, i) => FIRST_BOUND_MS * 2 ** i);

export class WaitDistribution {
  readonly #histogram = createHistogram({ figures: 3 });
  readonly #counts = new Array<number>(BOUNDS_MS.length + 1).fill(0);

  add(waitedMs: number): void {
    // Node's histogram takes values from 1 on.
    this.#histogram.record(Math.max(1, Math.round(waitedMs * 1e6)));
    const bound = BOUNDS_MS.findIndex((belowMs) => waitedMs < belowMs);
    this.#counts[bound < 0 ? BOUNDS_MS.length : bound]!++;
  }

  figures(): WaitFigures {
    const { count, max } = this.#histogram;
    const ms = (ns: number): number => (count === 0 ? 0 : Math.round(ns / 1000) / 1000);
    return {
      count,
      p50Ms: ms(this.#histogram.percentile(50)),
      p99Ms: ms(this.#histogram.percentile(99)),
      maxMs: ms(max),
      buckets: this.#counts.map((inBucket, i) => ({ belowMs: BOUNDS_MS[i] ?? null, count: inBucket })),
    };
  }
}
