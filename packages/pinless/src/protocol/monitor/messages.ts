/** Messages between the monitor and an engine's thread about calls of other code. */

import type { Range } from "../ranges/ranges.js";
import type { SegmentChunks } from "./deferred-changes.js";

/** A segment that the monitor follows. */
export interface FollowedSegment {
  readonly id: number;
  readonly range: Range;
  readonly chunkBytes: number;
  readonly words: Int32Array;
  /** The watched leases that its chunks may have, or -1. */
  readonly watched: number;
}

/** A message of the monitor to an engine's thread. */
export type MonitorReport =
  /** Drain these ranges, and say how it stands in the word that both share. */
  | { readonly kind: "start"; readonly id: number; readonly ranges: readonly Range[] }
  | { readonly kind: "end"; readonly id: number }
  | { readonly kind: "concluded" }
  | { readonly kind: "unmapped"; readonly gone: Range; readonly announced: readonly SegmentChunks[] };

/** States of the latest start, in the drain word. */
export const DRAIN = {
  /** By the monitor. */
  ASKED: 0,
  /** It waits for another invalidation to end. */
  TURN: 1,
  DRAINING: 2,
  /** Nothing is in flight there, and nothing begins until its end. */
  BEGUN: 3,
  /** It's inside an invalidation of the program's. */
  COVERED: 4,
  /** By the monitor: it announces instead. */
  GIVEN_UP: 5,
} as const;

const STATES = 8;
const MOST_STARTS = 2 ** 28 - 1;

/**
 * The drain word: the number of the latest start, and how it stands. The monitor asks and may give up; the engine's
 * thread answers. Each changes only what it has seen, so that an answer that comes too late changes nothing. It
 * outlives the monitor's thread: no number comes again soon, or what a monitor that has ended had asked for could be
 * taken for the next one's.
 */
export function drainWord(start: number, state: number): number {
  return start * STATES + state;
}

export function stateOf(word: number): number {
  return word % STATES;
}

/** The number of the start after the one in the word; from 1. */
export function nextStart(word: number): number {
  return (((word / STATES) | 0) % MOST_STARTS) + 1;
}
