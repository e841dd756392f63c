/** What the bench and its worker processes say to each other over IPC. */

import type { Configuration, EngineReads } from "./configurations.js";
import type {
  LoadFigures,
  LossesFigures,
  MigrationFigures,
  RestFigures,
  RevalidationFigures,
  SpawnFigures,
} from "./report-schema.js";

/** The file that is read. */
export interface Target {
  readonly path: string;
  readonly bytes: number;
  readonly filesystem: string;
  /** Every block says which one it is (scratch.ts), so that each read can be checked. */
  readonly numbered: boolean;
}

export interface LoadTask {
  readonly kind: "load";
  readonly requestBytes: number;
  readonly warmMs: number;
  readonly firstWarmMs: number;
  readonly ms: number;
  /** Null: quiet. */
  readonly storm: { readonly everyMs: number; readonly noSwap: string | null } | null;
}

export interface LossesTask {
  readonly kind: "losses";
  /** Why nothing can be reclaimed, or null. */
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
  /** NUMA nodes that have memory, two or more. */
  readonly nodes: readonly number[];
}

/** A process that lays buffers out badly (harms/scattered.ts). The first of these makes the ground, each one after it a turn on it. */
export interface ScatterTask {
  readonly kind: "scatter";
  readonly ballastBytes: number;
  readonly regionBytes: number;
  /** Null: no buffers at all. */
  readonly reads: EngineReads | null;
}

export interface Scattered {
  readonly pin: string | null;
  readonly bufferBytes: number;
  readonly pinnedBytes: number;
  readonly blocks: number;
  readonly hugeShare: number | null;
}

/** Counts again, and gives the buffers back. */
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

export type Answer<T extends Task> = Answers[T["kind"]];

export interface Request {
  readonly configuration: Configuration;
  readonly target: Target;
  readonly task: Task;
}

/** `unavailable`: it isn't there, rather than broken. */
export type Reply = { readonly answer: unknown } | { readonly error: string; readonly unavailable: boolean };
