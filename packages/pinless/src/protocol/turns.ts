/**
 * Turns of the engine's thread. One turn submits everything that was queued in one system call, reaps completions and
 * calls back; then submits what the callbacks queued, and so on. After `TURN_COMPLETIONS` completions it yields to
 * timers and sockets: without that limit a 1 ms timer ticked once in 2 s, with it 1,990 of 2,000 times.
 */

import { violated } from "./assert.js";
import type { Leases } from "./leases.js";
import type { CompletionSink, Loop, Scheme } from "./scheme.js";

export const TURN_COMPLETIONS = 256;

export class Turns {
  readonly #scheme: Scheme;
  readonly #loop: Loop;
  readonly #leases: Leases | null;
  readonly #sink: CompletionSink;
  readonly #isWaiting: () => boolean;
  /** The engine's clock at the beginning of the turn, or of the first submission since the last one. */
  nowMs = 0;
  private budget = TURN_COMPLETIONS;
  private scheduled = false;
  private inTurn = false;
  private alive = false;

  /** `isWaiting` returns true while a completion or a message of the monitor is awaited, so that the process stays. */
  constructor(scheme: Scheme, loop: Loop, leases: Leases | null, sink: CompletionSink, isWaiting: () => boolean) {
    this.#scheme = scheme;
    this.#loop = loop;
    this.#leases = leases;
    this.#sink = sink;
    this.#isWaiting = isWaiting;
  }

  get isInTurn(): boolean {
    return this.inTurn;
  }

  /** Runs a turn that the host's event loop begins, with a full budget. */
  readonly turnOfLoop = (): void => {
    this.budget = TURN_COMPLETIONS;
    this.#turn();
  };

  readonly #turn = (): void => {
    if (this.inTurn) return;
    this.inTurn = true;
    this.scheduled = false;
    this.nowMs = this.#loop.nowMs();
    try {
      this.#pump();
    } finally {
      this.inTurn = false;
    }
  };

  #pump(): void {
    for (;;) {
      const errno = this.#scheme.enter();
      if (errno < 0) violated("STATE", `the kernel refused a submission as a whole: errno ${-errno}`);
      if (this.budget <= 0) {
        this.#soon();
        return;
      }
      const reaped = this.#scheme.reap(this.#sink, this.budget);
      this.budget -= reaped;
      if (reaped === 0) break;
    }
    this.#leases?.collect(this.nowMs);
    const waiting = this.#leases?.uncollected === true || this.#isWaiting();
    if (waiting && !this.#scheme.arm()) this.#soon();
    else this.#keepAlive(waiting);
  }

  #soon(): void {
    this.scheduled = true;
    this.#loop.soon(this.turnOfLoop);
  }

  #keepAlive(yes: boolean): void {
    if (this.alive === yes) return;
    this.alive = yes;
    this.#scheme.keepAlive(yes);
  }

  /** Schedules a turn as a microtask, unless one is running or scheduled. */
  nudge(): void {
    if (this.inTurn || this.scheduled) return;
    this.scheduled = true;
    this.nowMs = this.#loop.nowMs();
    this.#loop.microtask(this.#turn);
  }
}
