/**
 * Tracking of calling threads: each waits in a memory call until the monitor has read its event, and is then polled
 * until it has left the call.
 */

import { PAGE_BYTES } from "../ranges/pages.js";
import type { Range } from "../ranges/ranges.js";

/** A thread that is about to discard memory, or has just unmapped it, and waits until its event is read. */
export interface Caller {
  readonly tid: number;
  readonly kind: "remove" | "unmap";
  readonly ranges: readonly Range[];
  /** The system call with its arguments and stack pointer, as in /proc/…/syscall. */
  readonly call: string;
}

/** `remove`: the pages go once the event is read. `unmap`: they have gone already, by munmap, mmap or mremap. */
export interface MemoryEvent extends Range {
  readonly kind: "remove" | "unmap";
}

/** View of this process's threads from outside. */
export interface ThreadCalls {
  /** The threads that wait for an event to be read, as far as they can be looked at. */
  callers(): Caller[];
  /**
   * Gives the call that a thread is blocked in; `RUNNING` if it isn't blocked, `UNSEEN` if that can't be read now, null
   * if the thread has ended.
   */
  callOf(tid: number): string | null;
  /** True if a blocked thread waits for the reader of its event; null where the kernel doesn't say. */
  waitsForReader(tid: number): boolean | null;
  /** CPU time that a thread has used; negative if it can't be read. */
  cpuMs(tid: number): number;
}

export const RUNNING = "running";
export const UNSEEN = "unseen";

/** Time after which a thread that can't be examined counts as gone from its call. Measured: calls take at most 5 ms. */
export const UNSEEN_MS = 50;
/** More CPU time than any call needs to discard pages. Measured: about 0.1 µs a page. */
const LONGEST_MS = 10;
const LONGEST_PAGE_MS = 0.002;

/** A thread in a call whose event was read, polled until it has left the call. */
export interface PolledCaller {
  readonly caller: Caller;
  /** True if the same call may raise another event, for a later part of its memory. */
  readonly goesOn: boolean;
  /** CPU time of the thread at which it can't be in that call any more. */
  readonly untilCpuMs: number;
  /** Time since when the thread couldn't be examined; null if the last look succeeded. */
  readonly unseenSinceMs: number | null;
}

export function polledCaller(threads: ThreadCalls, caller: Caller, goesOn = false): PolledCaller {
  const pages = caller.ranges.reduce((sum, { start, end }) => sum + (end - start) / PAGE_BYTES, 0);
  const untilCpuMs = threads.cpuMs(caller.tid) + LONGEST_MS + pages * LONGEST_PAGE_MS;
  return { caller, goesOn, untilCpuMs, unseenSinceMs: null };
}

/** True if `other` is the same thread, still in the same call. */
export function isStillIn({ caller, goesOn }: PolledCaller, other: Caller): boolean {
  return goesOn && other.tid === caller.tid && other.call === caller.call;
}

/**
 * Looks at a thread once. Returns null if it has left the call: it's in another call, waits for a reader again, or has
 * ended. Otherwise returns the state for the next look. A running thread may still be in the call, and may not
 * block again for long; so it counts as gone once it has used more CPU time than any such call needs.
 */
export function poll(polled: PolledCaller, threads: ThreadCalls, nowMs: number): PolledCaller | null {
  const { caller, goesOn, untilCpuMs, unseenSinceMs } = polled;
  const now = threads.callOf(caller.tid);
  if (now === null) return null;
  if (now === UNSEEN) {
    const sinceMs = unseenSinceMs ?? nowMs;
    return nowMs - sinceMs > UNSEEN_MS ? null : { ...polled, unseenSinceMs: sinceMs };
  }
  const seen = unseenSinceMs === null ? polled : { ...polled, unseenSinceMs: null };
  if (now === RUNNING) {
    const cpuMs = threads.cpuMs(caller.tid);
    return cpuMs < 0 || cpuMs > untilCpuMs ? null : seen;
  }
  const hasLeft = now !== caller.call || (!goesOn && threads.waitsForReader(caller.tid) === true);
  return hasLeft ? null : seen;
}
