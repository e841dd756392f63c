/**
 * Pending discards: their events were read, and their pages go at some moment until the calling threads have left their
 * calls. Only then may I/O begin there again. Every thread is looked at again and again, with exponential back-off.
 */

import { type Caller, type Departure, isStillIn, lookAt, type ThreadCalls } from "./caller-tracking.js";
import type { SegmentChunks } from "./deferred-changes.js";

/** The first look is at once, the second after this; each pause is twice the one before. */
export const FIRST_LOOK_MS = 0.03;
export const LAST_LOOK_MS = 1;

export interface PendingDiscard {
  readonly departures: readonly Departure[];
  /** Time by which it's over, if no calling thread is known; else 0. */
  readonly untilMs: number;
  /** Number of the start that ends with it; 0 if it was announced instead. */
  readonly start: number;
  readonly announced: readonly SegmentChunks[];
}

/** Filters the threads that are in a call of which an earlier part is pending already. */
export function stillIn(pending: readonly PendingDiscard[], callers: readonly Caller[]): Caller[] {
  return callers.filter((caller) =>
    pending.some(({ departures }) => departures.some((departure) => isStillIn(departure, caller))),
  );
}

/** Adds the departures of calls of which a later event was read. */
export function withLater(pending: readonly PendingDiscard[], later: readonly Departure[]): readonly PendingDiscard[] {
  return pending.map((each) => ({
    ...each,
    departures: each.departures.map((old) => later.find(({ caller }) => isStillIn(old, caller)) ?? old),
  }));
}

/** Those that aren't over yet; calls `over` for each of the others. */
export function stillPending(
  pending: readonly PendingDiscard[],
  threads: ThreadCalls,
  nowMs: number,
  over: (start: number, announced: readonly SegmentChunks[]) => void,
): PendingDiscard[] {
  return pending.flatMap(({ departures, untilMs, start, announced }) => {
    const left = departures.flatMap((departure) => lookAt(departure, threads, nowMs) ?? []);
    if (left.length > 0 || nowMs < untilMs) return { departures: left, untilMs, start, announced };
    over(start, announced);
    return [];
  });
}
