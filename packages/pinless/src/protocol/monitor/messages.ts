/** Messages between the monitor and an engine's thread about calls of other code. */

import type { Range } from "../ranges/ranges.js";
import type { SegmentChunks } from "./deferred-changes.js";

/** A segment that the monitor follows. */
export interface FollowedSegment {
  readonly id: number;
  readonly range: Range;
  readonly chunkBytes: number;
  readonly words: Int32Array;
  /** Id of the lease table that holds its chunks' leases (LeaseClock), or -1. */
  readonly watched: number;
}

/** A message of the monitor to an engine's thread. */
export type MonitorReport =
  /** Asks to drain these ranges, and to answer in the drain word. */
  | { readonly kind: "start"; readonly id: number; readonly ranges: readonly Range[] }
  /** Ends that start: its callers have left their calls, or the monitor has given it up. */
  | { readonly kind: "end"; readonly id: number }
  /** An announced change is over, or the reading word is lowered: requests that were held may begin. */
  | { readonly kind: "concluded" }
  /** Other code has unmapped `gone`. The engine's thread notes that, and concludes the change of `announced`. */
  | { readonly kind: "unmapped"; readonly gone: Range; readonly announced: readonly SegmentChunks[] };

/** States of the latest start. The monitor sets ASKED and GIVEN_UP, the engine's thread sets the others. */
export const DRAIN = {
  ASKED: 0,
  /** The start waits for another invalidation to end. */
  TURN: 1,
  /** The start waits for requests in flight. */
  DRAINING: 2,
  /** Nothing is in flight on the ranges, and nothing begins until the start's end. */
  BEGUN: 3,
  /** The ranges are inside an invalidation by the program that has begun. */
  COVERED: 4,
  /** The monitor announces the change instead. */
  GIVEN_UP: 5,
} as const;

const STATES = 8;
const MOST_STARTS = 2 ** 28 - 1;

/**
 * Encodes the drain word: the number of the latest start and its state. Both sides change it by compare-and-exchange,
 * so an answer that comes too late changes nothing. The word outlives the monitor's thread, and numbers repeat only
 * after 2^28 starts: an answer to a monitor that has ended can't be taken for one to its successor.
 */
export function drainWord(start: number, state: number): number {
  return start * STATES + state;
}

export function stateOf(word: number): number {
  return word % STATES;
}

/** Number of the start after the one in the word; the first is 1. */
export function nextStart(word: number): number {
  return (((word / STATES) | 0) % MOST_STARTS) + 1;
}
