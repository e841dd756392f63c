/** Options and report of one simulated run. */

import type { Swarm } from "./swarm.js";

export interface Failure {
  /** Name of the invariant, or of the error. */
  readonly what: string;
  readonly message: string;
  readonly atMs: number;
}

export interface RunReport {
  readonly seed: number;
  readonly requests: number;
  readonly operations: number;
  readonly virtualMs: number;
  /** Digest of all events, in their order. */
  readonly trace: string;
  readonly failure: Failure | null;
}

export interface RunOptions {
  readonly seed: number;
  /** Number of requests to submit. */
  readonly requests: number;
  /** Overrides of the settings that the seed determines. */
  readonly changes?: Partial<Swarm>;
  /** Receives the events of the run, line by line. */
  readonly steps?: (line: string) => void;
  /** Receives the lanes of the run, as the text of a file of Chrome trace events, piece by piece. */
  readonly lanes?: (text: string) => void;
}
