/** Figures that the hazard tests measure, for the table that `npm run harms` prints. */

import type { TestContext } from "node:test";

/** A column of the table: leases (an engine's default), lifetime registrations (the control), no registration. */
export type Column = "lease" | "lifetime" | "per-io";

export function isColumn(name: string): name is Column {
  return name === "lease" || name === "lifetime" || name === "per-io";
}

interface Figure {
  /** The row: what is counted. The same words in every column. */
  readonly harm: string;
  readonly column: Column;
  readonly value: string;
}

/** Shown beside the test, and found there by scripts/harms-reporter.mjs. */
export function figure(t: TestContext, harm: string, column: Column, value: string): void {
  t.diagnostic(`figure: ${JSON.stringify({ harm, column, value } satisfies Figure)}`);
}
