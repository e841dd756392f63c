/**
 * Pending discards: their events were read, and the kernel frees the pages at some moment before the calling threads
 * leave their calls. Only after that may I/O begin there again, so the threads are polled with exponential back-off.
 */

import { type Caller, isStillIn, type PolledCaller, poll, type ThreadCalls } from "./caller-tracking.js";
import type { SegmentChunks } from "./deferred-changes.js";

/** The first look is at once, the second after this; each pause is twice the one before. */
export const FIRST_LOOK_MS = 0.03;
export const LAST_LOOK_MS = 1;

export interface PendingDiscard {
  readonly polled: readonly PolledCaller[];
  /** Time at which the discard counts as over, if no calling thread is known; else 0. */
  readonly untilMs: number;
  /** Number of the start that ends with the discard; 0 if `announced` is concluded instead. */
  readonly start: number;
  readonly announced: readonly SegmentChunks[];
}

/** Filters the threads whose call has raised an event before, and is pending already. */
export function stillIn(pending: readonly PendingDiscard[], callers: readonly Caller[]): Caller[] {
  return callers.filter((caller) => pending.some(({ polled }) => polled.some((each) => isStillIn(each, caller))));
}

/** Replaces the callers of which a later event was read. */
export function withLater(
  pending: readonly PendingDiscard[],
  later: readonly PolledCaller[],
): readonly PendingDiscard[] {
  return pending.map((each) => ({
    ...each,
    polled: each.polled.map((old) => later.find(({ caller }) => isStillIn(old, caller)) ?? old),
  }));
}

/** Filters the discards that aren't over yet; calls `over` for each of the others. */
export function stillPending(
  pending: readonly PendingDiscard[],
  threads: ThreadCalls,
  nowMs: number,
  over: (start: number, announced: readonly SegmentChunks[]) => void,
): PendingDiscard[] {
  return pending.flatMap(({ polled, untilMs, start, announced }) => {
    const left = polled.flatMap((each) => poll(each, threads, nowMs) ?? []);
    if (left.length > 0 || nowMs < untilMs) return { polled: left, untilMs, start, announced };
    over(start, announced);
    return [];
  });
}
