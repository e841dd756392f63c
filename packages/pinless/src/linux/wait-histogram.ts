/** Histogram of waits, on Node's HDR histogram. */

import { createHistogram } from "node:perf_hooks";
import type { WaitHistogram } from "../ports/host.js";

const NANOSECONDS = 1e6;

export function waitHistogram(): WaitHistogram {
  const histogram = createHistogram({ figures: 3 });
  const ms = (nanoseconds: number): number => (histogram.count === 0 ? 0 : nanoseconds / NANOSECONDS);
  return {
    // Node's histogram takes values from 1 on.
    record: (waitedMs) => histogram.record(Math.max(1, Math.round(waitedMs * NANOSECONDS))),
    summary: () => ({
      count: histogram.count,
      p50Ms: ms(histogram.percentile(50)),
      p99Ms: ms(histogram.percentile(99)),
      maxMs: ms(histogram.max),
    }),
  };
}
