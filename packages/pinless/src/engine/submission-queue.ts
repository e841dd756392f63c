/**
 * The queue of calls that wait for room: promise calls are tried again in order, and callers to whom `submit` answered
 * `"busy"` are told (`drained`). First come, first served: a slot that becomes free goes to the call that has waited
 * longest, before the call that had it can ask for another.
 */

import type { WaitObserver } from "../files/wait-observer.js";
import type { Dispatcher } from "../protocol/dispatcher.js";
import type { Loop } from "../protocol/scheme.js";

/**
 * Microtasks that callers have to use the room they were told of: those who await through functions of their own hear a
 * little later.
 */
const GRACE = 4;

/** Milliseconds between two looks for room when no request has ended: memory is then the thing there's no room for. */
const LOOK_MS = 1;

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
  /** Number of the next call, in the order of asking. */
  #next = 0;
  /** Submissions off the hot path; at most as many as there may be requests. */
  #indirect = 0;
  /** Submissions off the hot path that wait for memory; `#indirect` doesn't count them meanwhile. */
  #paused = 0;
  /** Above 0: callers that were told of room have yet to use it. */
  #grace = 0;
  #looks = false;
  /** Requests that had ended at the last look. */
  #endedBefore = -1;

  constructor(dispatcher: Dispatcher, loop: Loop) {
    this.#dispatcher = dispatcher;
    this.#loop = loop;
  }

  /** Counts a submission off the hot path out while it waits for memory, so that it isn't in the way of others. */
  readonly pause: WaitObserver = {
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
   * True if a submission would overtake callers that have just been told of room. No other call waits while there is
   * any.
   */
  get isBarred(): boolean {
    return this.#grace > 0 && this.#dispatcher.isInTurn;
  }

  /** Calls `attempt` until it answers true, which means that it was accepted. */
  enqueue(attempt: () => boolean): void {
    // A caller that waits for room, and isn't told while there are slots, waits for something else.
    if (this.#attempts.length === 0 && this.#grace === 0 && attempt()) return;
    this.#attempts.push({ number: this.#next++, run: attempt });
    this.#dispatcher.room = this.#room;
  }

  drained(): Promise<void> {
    if (this.#dispatcher.room === null && this.#hasRoom && !this.#isHeldFull) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push({ number: this.#next++, resolve });
      this.#dispatcher.room = this.#room;
      if (!this.#isHeldFull || this.#looks) return;
      this.#looks = true;
      const { completedOk, failed } = this.#dispatcher;
      const idle = this.#endedBefore === completedOk + failed;
      this.#endedBefore = completedOk + failed;
      if (!idle) this.#loop.soon(this.#look);
      else {
        const stop = this.#loop.every(LOOK_MS, () => {
          stop();
          this.#look();
        });
      }
    });
  }

  /** Begins a submission off the hot path. False: busy. `shut`: it will wait for memory, and only so many may. */
  beginIndirect(shut: boolean): boolean {
    const { capacity } = this.#dispatcher.requests;
    if (this.isBarred || this.#indirect >= capacity || (shut && this.#paused >= capacity)) return false;
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

  /** True if as many submissions wait for memory as may. */
  get #isHeldFull(): boolean {
    return this.#dispatcher.isHeldFull || this.#paused >= this.#dispatcher.requests.capacity;
  }

  /** Called when there may be room. */
  readonly #room = (): void => this.#serve(true);

  /** `progress`: a request ended. A caller told of that room may find none for memory that's shut, and asks again. */
  #serve(progress: boolean): void {
    while (this.#grace === 0) {
      const attempt = this.#attempts[0];
      const waiter = this.#waiters[0];
      const before = attempt?.number ?? this.#next;
      if (waiter !== undefined && waiter.number < before && this.#hasRoom && (progress || !this.#isHeldFull)) {
        this.#tell(before);
        return;
      }
      if (attempt === undefined || !attempt.run()) break;
      this.#attempts.shift();
    }
    if (this.#attempts.length === 0 && this.#waiters.length === 0 && this.#grace === 0) this.#dispatcher.room = null;
  }

  /** Tells the callers that have waited longest. All others wait until those have had the time to use the room. */
  #tell(before: number): void {
    const next = this.#waiters.findIndex(({ number }) => number >= before);
    for (const { resolve } of this.#waiters.splice(0, next < 0 ? this.#waiters.length : next)) resolve();
    this.#grace = GRACE;
    this.#loop.microtask(this.#told);
  }

  readonly #told = (): void => {
    // The microtasks of a turn of the loop run after it: while it lasts no caller has had the time.
    if (--this.#grace > 0) this.#loop.microtask(this.#told);
    else this.#serve(false);
  };

  /**
   * Tells all waiting callers, after a turn of the loop. Too many submissions wait for memory that is shut, for as long
   * as that may take; a caller whose memory is open needn't wait for them, and only the caller's next attempt shows
   * which one that is.
   */
  readonly #look = (): void => {
    this.#looks = false;
    this.#room();
  };
}
