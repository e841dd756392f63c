/** Calls of the view "Traces" to its worker, which holds the trace, and their answers. */

import type { ShownTrace, TraceStep } from "../../src/traces/shown-trace.js";

/** All of a trace but its steps, which are asked for as they're shown. */
export interface TraceSummary extends Omit<ShownTrace, "steps"> {
  readonly count: number;
}

export interface TraceCalls {
  /** Reads a file; the trace before is kept if that fails. */
  open: { args: [file: Blob]; answer: TraceSummary };
  /** Fetches a trace that belongs to the page. */
  fetch: { args: [address: string]; answer: TraceSummary };
  steps: { args: [first: number, count: number]; answer: readonly TraceStep[] };
}

export interface TraceCall {
  readonly id: number;
  readonly name: keyof TraceCalls;
  readonly args: readonly unknown[];
}

export type TraceReply = { readonly id: number } & ({ readonly answer: unknown } | { readonly error: string });
