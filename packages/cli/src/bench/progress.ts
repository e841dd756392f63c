/** Progress of a run. */

import { LOADS, type RowInProgress } from "./collect.js";
import { HOST_WAYS } from "./harms/host-huge-pages.js";
import type { Sizes } from "./sizes.js";

/**
 * Progress of a run: of its time, or, for a run that does everything once and takes as long as it takes, of its steps.
 */
export class Progress {
  readonly #sizes: Sizes;
  readonly #seconds: number;
  readonly #steps: number;
  #begun = 0;

  constructor(sizes: Sizes, seconds: number, rows: readonly RowInProgress[], nodes: number) {
    this.#sizes = sizes;
    this.#seconds = seconds;
    this.#steps = HOST_WAYS + rows.reduce((sum, row) => sum + stepsOf(row, nodes), 0);
  }

  /** Fraction that is done when the next step begins. */
  step(elapsedMs: number): number {
    const part = this.#sizes.isOnce ? this.#begun++ / this.#steps : elapsedMs / 1000 / this.#seconds;
    return Math.min(0.99, part);
  }
}

/** Steps in one round of everything. */
function stepsOf(row: RowInProgress, nodes: number): number {
  const { reads } = row.configuration;
  const loads = LOADS.filter((load) => row.wants(load)).length;
  if (reads.by === "node:fs") return loads + (reads.direct ? 0 : 1);
  const revalidation = reads.scheme === "io_uring" ? 1 : 0;
  const migration = nodes < 2 ? 0 : 1;
  // The three are lost reads, pins at rest, and starting a child.
  return loads + 3 + revalidation + migration;
}
