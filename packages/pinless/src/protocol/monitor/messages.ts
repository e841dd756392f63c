/** What the monitor and the engine's thread say to each other about calls of other code. */

import type { Range } from "../ranges/ranges.js";
import type { Chunks } from "./deferred-changes.js";

/** What the monitor knows of a segment that it follows. */
export interface FollowedSegment {
  readonly id: number;
  readonly range: Range;
  readonly chunkBytes: number;
  readonly words: Int32Array;
  /** The watched leases that its chunks may have, or -1. */
  readonly watched: number;
}

/** What the monitor asks for, or tells. */
export type MonitorReport =
  /** Drain these ranges, and say how it stands in the word that both share. */
  | { readonly kind: "start"; readonly id: number; readonly ranges: readonly Range[] }
  | { readonly kind: "end"; readonly id: number }
  | { readonly kind: "settled" }
  | { readonly kind: "unmapped"; readonly gone: Range; readonly announced: readonly Chunks[] };

/**
 * The word: the number of the latest start, and how it stands. The monitor asks and may give up; the engine's thread answers. Each
 * changes only what it has seen, so that an answer that comes too late changes nothing.
 */
export const ASKED = 0;
/** It waits for another invalidation to end. */
export const TURN = 1;
export const DRAINING = 2;
export const BEGUN = 3;
export const COVERED = 4;
export const GIVEN_UP = 5;
const STATES = 8;
const NUMBERS = 2 ** 28;

export function drainWord(id: number, state: number): number {
  return (id % NUMBERS) * STATES + state;
}

export function stateOf(word: number): number {
  return word % STATES;
}
