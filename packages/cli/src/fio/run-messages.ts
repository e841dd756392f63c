/** Messages between the thread of a job and the run, and the memory that they share. */

import type { EngineStats } from "pinless";
import type { FileExtent, Job } from "./job.js";
import type { JobStatistics } from "./job-statistics.js";

/** Memory that both sides see at any time, also while the thread is busy. */
export interface JobControl {
  /** One word: other than 0, the job issues nothing more. */
  readonly stop: Int32Array;
  /** Bytes read and written, requests read and written. */
  readonly progress: Float64Array;
}

export interface JobOrder {
  readonly job: Job;
  readonly extents: readonly FileExtent[];
  readonly control: JobControl;
}

/** Operations on the job's memory that ran beside its I/O (mm_events). */
export interface MemoryEventCounts {
  readonly operation: string;
  done: number;
  /** Pages that the kernel refused. */
  busyPages: number;
  failed: string | null;
}

export interface JobOutcome {
  readonly statistics: JobStatistics;
  /** Errno for which the job failed, positive; 0 for none. */
  readonly error: number;
  readonly way: string;
  readonly engine: EngineStats | null;
  readonly memoryEvents: readonly MemoryEventCounts[];
}

export type ToJob = "go" | "status";

export type FromJob =
  | { readonly kind: "ready" }
  | { readonly kind: "line"; readonly line: string }
  | { readonly kind: "status" | "outcome"; readonly outcome: JobOutcome }
  /** The job couldn't begin. */
  | { readonly kind: "refused"; readonly reason: string };

export function newControl(): JobControl {
  return {
    stop: new Int32Array(new SharedArrayBuffer(4)),
    progress: new Float64Array(new SharedArrayBuffer(4 * 8)),
  };
}
