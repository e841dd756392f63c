/**
 * Threads that wait until the monitor has read what they're about to do to memory, or have done; and how to see that
 * they went on.
 */

import { PAGE_BYTES } from "../ranges/pages.js";
import type { Range } from "../ranges/ranges.js";

/** A thread that is about to discard memory, or has just unmapped it, and waits until that was noticed. */
export interface Caller {
  readonly tid: number;
  readonly kind: "remove" | "unmap";
  readonly ranges: readonly Range[];
  /** The call, its arguments, its stack: as /proc says it. */
  readonly call: string;
}

/** remove: the pages go once this was read. unmap: they have gone (also where a mapping was moved away). */
export interface MemoryEvent extends Range {
  readonly kind: "remove" | "unmap";
}

/** What can be seen of this process's threads from outside. */
export interface ThreadCalls {
  /** The threads that wait for an event to be read, as far as they can be looked at. */
  callers(): Caller[];
  /**
   * What a thread is blocked in; `RUNNING` if it isn't, `UNSEEN` if it can't be looked at now, null if it has ended.
   */
  callOf(tid: number): string | null;
  /** Whether it's the reading that a blocked thread waits for; null where the kernel doesn't say. */
  waitsForReader(tid: number): boolean | null;
  /** CPU time that a thread has used; negative if that can't be said. */
  cpuMs(tid: number): number;
}

export const RUNNING = "running";
export const UNSEEN = "unseen";

/** Who can't be seen leaving its call has left it by then. Seen: 5 ms at worst. */
export const UNSEEN_MS = 50;
/** No call that only throws pages away runs for so long: seen at about 0.1 µs a page. */
const LONGEST_MS = 10;
const LONGEST_PAGE_MS = 0.002;

/**
 * A thread in the call that it was seen in, whose event has been read since: it's looked at until it has left that
 * call.
 */
export interface Departure {
  readonly caller: Caller;
  /** The same call may have another event to come, for a later part of its memory. */
  readonly goesOn: boolean;
  /** With more CPU time than this it can't be in that call any more. */
  readonly untilCpuMs: number;
  /** Since when it couldn't be looked at, without a look that succeeded between. */
  readonly unseenSinceMs: number | null;
}

export function departureOf(threads: ThreadCalls, caller: Caller, goesOn: boolean): Departure {
  const pages = caller.ranges.reduce((sum, { start, end }) => sum + (end - start) / PAGE_BYTES, 0);
  const untilCpuMs = threads.cpuMs(caller.tid) + LONGEST_MS + pages * LONGEST_PAGE_MS;
  return { caller, goesOn, untilCpuMs, unseenSinceMs: null };
}

/** Whether this is the thread, in the middle of the call still. */
export function isStillIn({ caller, goesOn }: Departure, other: Caller): boolean {
  return goesOn && other.tid === caller.tid && other.call === caller.call;
}

/**
 * The departure as it's to be looked at the next time; null once the thread has left: it shows another call, waits for
 * a reader once more, or has ended. A thread that is only "running" may still be in there, until it has run for longer
 * than any such call does: it may not sleep again for a long time.
 */
export function lookAt(departure: Departure, threads: ThreadCalls, nowMs: number): Departure | null {
  const { caller, goesOn, untilCpuMs, unseenSinceMs } = departure;
  const now = threads.callOf(caller.tid);
  if (now === null) return null;
  if (now === UNSEEN) {
    const sinceMs = unseenSinceMs ?? nowMs;
    return nowMs - sinceMs > UNSEEN_MS ? null : { ...departure, unseenSinceMs: sinceMs };
  }
  const seen = unseenSinceMs === null ? departure : { ...departure, unseenSinceMs: null };
  if (now === RUNNING) {
    const cpuMs = threads.cpuMs(caller.tid);
    return cpuMs < 0 || cpuMs > untilCpuMs ? null : seen;
  }
  const hasLeft = now !== caller.call || (!goesOn && threads.waitsForReader(caller.tid) === true);
  return hasLeft ? null : seen;
}
