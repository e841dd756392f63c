/**
 * The queue of calls that wait for a free request slot: promise calls, which are retried in order, and callers that got
 * `"busy"` from `submit`, whose `drained()` resolves. It's first come, first served: a free slot goes to the call that
 * has waited longest, before the call that has just freed it can ask for another.
 */

import type { WaitObserver } from "../files/wait-observer.js";
import type { Dispatcher } from "../protocol/dispatcher.js";
import type { Loop } from "../protocol/scheme.js";

/**
 * Microtasks that callers have to use a free slot after `drained()` has resolved: each async function that they await
 * through takes one more.
 */
const GRACE = 4;

/** Reasons to serve waiting calls: a request may have ended, or notified callers have had their time. */
const PROGRESS = true;
const NO_PROGRESS = false;

/** Interval of checks for room while no request ends: then it's memory that there is no room for. */
const RETRY_MS = 1;

interface Attempt {
  readonly number: number;
  readonly run: () => boolean;
}

interface Waiter {
  readonly number: number;
  readonly resolve: () => void;
}

export class SubmissionQueue {
  readonly #dispatcher: Dispatcher;
  readonly #loop: Loop;
  readonly #attempts: Attempt[] = [];
  readonly #waiters: Waiter[] = [];
  /** Sequence number of the next call. */
  #next = 0;
  /** Submissions off the hot path in progress; at most `depth`. */
  #indirect = 0;
  /** Submissions off the hot path that wait for memory, which `#indirect` doesn't count. */
  #paused = 0;
  /** Microtasks left for the notified callers to use the room. */
  #grace = 0;
  #retryIsPlanned = false;
  /** Number of requests that had ended at the last check. */
  #endedBefore = -1;

  constructor(dispatcher: Dispatcher, loop: Loop) {
    this.#dispatcher = dispatcher;
    this.#loop = loop;
  }

  /** Doesn't count a submission off the hot path while it waits for memory, so that it takes no other one's room. */
  readonly memoryWaits: WaitObserver = {
    begin: () => {
      this.#indirect--;
      this.#paused++;
      this.#dispatcher.room?.();
    },
    end: () => {
      this.#indirect++;
      this.#paused--;
    },
  };

  /** True if a request would be accepted now without overtaking an earlier one. */
  get hasRoom(): boolean {
    return this.#dispatcher.room === null && this.#dispatcher.requests.hasRoom;
  }

  /**
   * True if a submission would overtake callers that have just been notified of room. No other call can be waiting
   * while there is room.
   */
  get wouldOvertake(): boolean {
    return this.#grace > 0 && this.#dispatcher.isInTurn;
  }

  /** Calls `attempt` until it returns true, which means that the call was accepted. */
  enqueue(attempt: () => boolean): void {
    // Callers of `drained` that still wait while there is a free slot wait for memory: this call needn't wait for them.
    if (this.#attempts.length === 0 && this.#grace === 0 && attempt()) return;
    this.#attempts.push({ number: this.#next++, run: attempt });
    this.#dispatcher.room = this.#room;
  }

  drained(): Promise<void> {
    if (this.#dispatcher.room === null && this.#hasRoom && !this.#isHeldFull) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push({ number: this.#next++, resolve });
      this.#dispatcher.room = this.#room;
      if (!this.#isHeldFull || this.#retryIsPlanned) return;
      this.#retryIsPlanned = true;
      const { completedOk, failed } = this.#dispatcher;
      const idle = this.#endedBefore === completedOk + failed;
      this.#endedBefore = completedOk + failed;
      if (!idle) this.#loop.soon(this.#retryAll);
      else {
        const stop = this.#loop.every(RETRY_MS, () => {
          stop();
          this.#retryAll();
        });
      }
    });
  }

  /** Begins a submission off the hot path; false means busy. `willWait`: it will wait for memory, and few may do so. */
  beginIndirect(willWait: boolean): boolean {
    const { capacity } = this.#dispatcher.requests;
    if (this.wouldOvertake || this.#indirect >= capacity || (willWait && this.#paused >= capacity)) return false;
    this.#indirect++;
    return true;
  }

  endIndirect(): void {
    this.#indirect--;
    this.#dispatcher.room?.();
  }

  get #hasRoom(): boolean {
    const { requests } = this.#dispatcher;
    return requests.hasRoom && this.#indirect < requests.capacity;
  }

  /** True if no further submission may wait for memory. */
  get #isHeldFull(): boolean {
    return this.#dispatcher.isHeldFull || this.#paused >= this.#dispatcher.requests.capacity;
  }

  /** Called when there may be room. */
  readonly #room = (): void => this.#serve(PROGRESS);

  /**
   * Serves waiting calls. Without progress no caller is notified while the maximum number waits for memory: it would
   * only ask again.
   */
  #serve(progress: boolean): void {
    while (this.#grace === 0) {
      const attempt = this.#attempts[0];
      const waiter = this.#waiters[0];
      const before = attempt?.number ?? this.#next;
      if (waiter !== undefined && waiter.number < before && this.#hasRoom && (progress || !this.#isHeldFull)) {
        this.#notifyWaiters(before);
        return;
      }
      if (attempt === undefined || !attempt.run()) break;
      this.#attempts.shift();
    }
    if (this.#attempts.length === 0 && this.#waiters.length === 0 && this.#grace === 0) this.#dispatcher.room = null;
  }

  /** Notifies the callers that have waited longest. All others wait until those have had the time to use the room. */
  #notifyWaiters(before: number): void {
    const next = this.#waiters.findIndex(({ number }) => number >= before);
    for (const { resolve } of this.#waiters.splice(0, next < 0 ? this.#waiters.length : next)) resolve();
    this.#grace = GRACE;
    this.#loop.microtask(this.#countGrace);
  }

  readonly #countGrace = (): void => {
    // The notified callers run in microtasks, so their time is counted in microtasks.
    if (--this.#grace > 0) this.#loop.microtask(this.#countGrace);
    else this.#serve(NO_PROGRESS);
  };

  /**
   * Notifies all waiting callers, after a turn of the loop, while the maximum number of submissions waits for memory. A
   * caller whose own memory is free needn't wait for those, and only its next attempt shows if it is.
   */
  readonly #retryAll = (): void => {
    this.#retryIsPlanned = false;
    this.#room();
  };
}
