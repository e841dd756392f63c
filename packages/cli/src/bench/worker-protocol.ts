/** IPC messages between the bench and its worker processes. */

import type { Configuration, EngineReads } from "./configurations.js";
import type {
  LoadFigures,
  LossesFigures,
  MigrationFigures,
  RestFigures,
  RevalidationFigures,
  SpawnFigures,
} from "./report-schema.js";

/** File to read. */
export interface Target {
  readonly path: string;
  readonly bytes: number;
  readonly filesystem: string;
  /** True if every block contains its own number (numbered.ts), so that each read can be verified. */
  readonly numbered: boolean;
}

export interface LoadTask {
  readonly kind: "load";
  readonly requestBytes: number;
  readonly warmMs: number;
  readonly firstWarmMs: number;
  readonly ms: number;
  /** Null for no storm. */
  readonly storm: StormTask | null;
}

export interface StormTask {
  readonly everyMs: number;
  readonly noSwap: string | null;
  /** Name of a file for the trace of the engine; null for none. */
  readonly trace: string | null;
}

export interface LossesTask {
  readonly kind: "losses";
  /** Reason why nothing can be reclaimed, or null. */
  readonly noSwap: string | null;
}

export interface RestTask {
  readonly kind: "rest";
  readonly ms: number;
  readonly afterMs: number;
}

export interface SpawnTask {
  readonly kind: "spawn";
  readonly bytes: number;
  readonly times: number;
}

export interface RevalidationTask {
  readonly kind: "revalidation";
  readonly pairs: number;
  readonly rounds: number;
  readonly sliceMs: number;
}

export interface MigrationTask {
  readonly kind: "migration";
  readonly ms: number;
  /** NUMA nodes with memory, two or more. */
  readonly nodes: readonly number[];
}

/**
 * Has a process lay buffers out badly (harms/scattered.ts). The first such task prepares memory; each later one is a
 * turn on it.
 */
export interface ScatterTask {
  readonly kind: "scatter";
  readonly ballastBytes: number;
  readonly regionBytes: number;
  /** Null for no buffers at all. */
  readonly reads: EngineReads | null;
}

export interface Scattered {
  readonly pin: string | null;
  readonly bufferBytes: number;
  readonly pinnedBytes: number;
  readonly blocks: number;
  readonly hugeShare: number | null;
}

/** Counts again, and frees the buffers. */
export interface UnscatterTask {
  readonly kind: "unscatter";
}

export type Task =
  | LoadTask
  | LossesTask
  | RestTask
  | SpawnTask
  | RevalidationTask
  | MigrationTask
  | ScatterTask
  | UnscatterTask;

interface Answers {
  load: LoadFigures;
  losses: LossesFigures;
  rest: RestFigures;
  spawn: SpawnFigures;
  revalidation: RevalidationFigures;
  migration: MigrationFigures;
  scatter: Scattered;
  unscatter: { readonly blocks: number };
}

export type WorkerAnswer<T extends Task> = Answers[T["kind"]];

export interface Request {
  readonly configuration: Configuration;
  readonly target: Target;
  readonly task: Task;
}

/** `unavailable` means that something isn't there, rather than broken. */
export type Reply = { readonly answer: unknown } | { readonly error: string; readonly unavailable: boolean };
