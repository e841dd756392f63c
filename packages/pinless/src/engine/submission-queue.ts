/**
 * Who waits for room: promise calls queue in order, and whoever `submit` answered `"busy"` hears when there's some again. First come, first
 * served: each slot that becomes free goes to who has waited longest, before whoever had it can ask for the next.
 */

import type { Pause } from "../files/pause.js";
import type { Dispatcher } from "../protocol/dispatcher.js";
import type { Loop } from "../protocol/scheme.js";

/** Microtasks that those who are told of room have to use it: whoever awaits through functions of their own hears a little later. */
const GRACE = 4;

/** Between two looks for room where nothing has ended: what there's none for is memory. */
const LOOK_MS = 1;

interface Attempt {
  readonly number: number;
  readonly run: () => boolean;
}

interface Waiter {
  readonly number: number;
  readonly resolve: () => void;
}

export class Backlog {
  readonly #dispatcher: Dispatcher;
  readonly #loop: Loop;
  readonly #attempts: Attempt[] = [];
  readonly #waiters: Waiter[] = [];
  /** In the order of asking. */
  #next = 0;
  /** Submissions that didn't take the hot path; at most as many as there may be requests. */
  #indirect = 0;
  /** The same, while they wait for memory. */
  #paused = 0;
  /** Above 0: those who were told of room have yet to use it. */
  #grace = 0;
  #looks = false;
  /** Requests that had ended at the last look. */
  #endedBefore = -1;

  constructor(dispatcher: Dispatcher, loop: Loop) {
    this.#dispatcher = dispatcher;
    this.#loop = loop;
  }

  /** Told while a submission that didn't take the hot path waits for memory: it isn't in the way of others then. */
  readonly pause: Pause = {
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

  /** Whether a request would be accepted now without overtaking anybody. */
  get hasRoom(): boolean {
    return this.#dispatcher.room === null && this.#dispatcher.requests.hasRoom;
  }

  /** Whether a submission would overtake those who have just been told of room. Nobody else waits while there is any. */
  get isBarred(): boolean {
    return this.#grace > 0 && this.#dispatcher.isInTurn;
  }

  /** `attempt` is called until it answers true, which it does once it's accepted. */
  enqueue(attempt: () => boolean): void {
    // Whoever waits for room to submit, and isn't told while there are slots, waits for something else.
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

  /** False: busy. `shut`: it will wait for memory, and only so many may. */
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

  /** As many wait for memory as may. */
  get #isHeldFull(): boolean {
    return this.#dispatcher.isHeldFull || this.#paused >= this.#dispatcher.requests.capacity;
  }

  /** There may be room. */
  readonly #room = (): void => this.#serve(true);

  /** `progress`: something ended. What was told of room because of that may find none for memory that's shut, and asks again. */
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

  /** Tells those who have waited longest. Everybody else waits until they have had the time to use it. */
  #tell(before: number): void {
    const next = this.#waiters.findIndex(({ number }) => number >= before);
    for (const { resolve } of this.#waiters.splice(0, next < 0 ? this.#waiters.length : next)) resolve();
    this.#grace = GRACE;
    this.#loop.microtask(this.#told);
  }

  readonly #told = (): void => {
    // A turn's microtasks come after it: while it lasts nobody has had the time.
    if (--this.#grace > 0) this.#loop.microtask(this.#told);
    else this.#serve(false);
  };

  /**
   * Too many wait for memory that is shut, for as long as that may take; whose memory is open doesn't have to wait for them, and who that is
   * nobody knows: all are told, and have given the loop a turn.
   */
  readonly #look = (): void => {
    this.#looks = false;
    this.#room();
  };
}
