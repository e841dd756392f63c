/** What the bench and its worker processes say to each other over IPC. */

import type { Configuration } from "./configurations.js";
import type { LoadFigures, LossesFigures, RestFigures, SpawnFigures } from "./figures.js";

/** The file that is read. */
export interface Target {
  readonly path: string;
  readonly bytes: number;
  /** Every block says which one it is (scratch.ts), so that each read can be checked. */
  readonly numbered: boolean;
}

export interface LoadTask {
  readonly kind: "load";
  readonly requestBytes: number;
  readonly warmMs: number;
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

export type Task = LoadTask | LossesTask | RestTask | SpawnTask;

export type Answer<T extends Task> = T extends LoadTask
  ? LoadFigures
  : T extends LossesTask
    ? LossesFigures
    : T extends RestTask
      ? RestFigures
      : SpawnFigures;

export interface Request {
  readonly configuration: Configuration;
  readonly target: Target;
  readonly task: Task;
}

export type Reply = { readonly answer: unknown } | { readonly error: string };
