/**
 * Turns of the engine's thread. One turn submits everything that was queued in one system call, reaps completions and
 * calls back; then submits what the callbacks queued, and so on. After `TURN_COMPLETIONS` completions it yields to
 * timers and sockets: without that limit a 1 ms timer ticked once in 2 s, with it 1,990 of 2,000 times. While requests
 * complete soon after they were handed over, turns wait for them in the kernel (`KernelWaits`).
 */

import { violated } from "./assert.js";
import { KernelWaits } from "./kernel-waits.js";
import type { Leases } from "./leases.js";
import type { RequestTable } from "./request-table.js";
import type { CompletionSink, Loop, Scheme } from "./scheme.js";

export const TURN_COMPLETIONS = 256;

/** Beginning of a turn: plain; with a wait in the kernel; or plain with no wait after it, because the loop is busy. */
type TurnKind = "plain" | "waiting" | "busy";

export interface TurnParts {
  readonly scheme: Scheme;
  readonly loop: Loop;
  readonly leases: Leases | null;
  readonly requests: RequestTable;
}

export class Turns {
  readonly #scheme: Scheme;
  readonly #loop: Loop;
  readonly #leases: Leases | null;
  readonly #sink: CompletionSink;
  readonly #requests: RequestTable;
  readonly #isWaiting: () => boolean;
  /** The engine's clock at the beginning of the turn, or of the first submission since the last one. */
  nowMs = 0;
  private budget = TURN_COMPLETIONS;
  private scheduled = false;
  private inTurn = false;
  private alive = false;
  readonly #waits = new KernelWaits();
  /** True while a turn that waits in the kernel is scheduled. */
  private waitsSoon = false;
  /** True if a callback of this turn has submitted something. */
  private nudged = false;

  /** `isWaiting` returns true while a completion or a message of the monitor is awaited, so that the process stays. */
  constructor(parts: TurnParts, sink: CompletionSink, isWaiting: () => boolean) {
    const { scheme, loop, leases, requests } = parts;
    this.#scheme = scheme;
    this.#loop = loop;
    this.#leases = leases;
    this.#requests = requests;
    this.#sink = sink;
    this.#isWaiting = isWaiting;
  }

  get isInTurn(): boolean {
    return this.inTurn;
  }

  /** Runs a turn that the host's event loop begins, with a full budget. */
  readonly turnOfLoop = (): void => {
    this.budget = TURN_COMPLETIONS;
    this.#turn("plain");
  };

  readonly #turnOfMicrotask = (): void => this.#turn("plain");

  readonly #waitingTurn = (): void => {
    this.waitsSoon = false;
    this.budget = TURN_COMPLETIONS;
    this.#turn(this.#canWait && this.#waits.beginTurn(this.#loop.preciseMs()) ? "waiting" : "busy");
  };

  #turn(kind: TurnKind): void {
    if (this.inTurn) return;
    this.inTurn = true;
    this.scheduled = false;
    this.nowMs = this.#loop.nowMs();
    try {
      this.#pump(kind);
    } finally {
      this.inTurn = false;
    }
  }

  #pump(kind: TurnKind): void {
    let waits = kind === "waiting";
    let mayWait = kind !== "busy";
    for (;;) {
      this.nudged = false;
      if (waits) this.#waits.begin(this.#loop.preciseMs());
      const errno = waits ? this.#scheme.enterAndWait!(this.#requests.active) : this.#scheme.enter();
      if (errno < 0) violated("STATE", `the kernel refused a submission as a whole: errno ${-errno}`);
      const waitEndedMs = waits ? this.#loop.preciseMs() : 0;
      if (this.budget <= 0) {
        this.#soon();
        return;
      }
      const reaped = this.#scheme.reap(this.#sink, this.budget);
      this.budget -= reaped;
      if (waits) {
        mayWait = this.#waits.end(waitEndedMs, reaped, this.#scheme.isLoopReady === true);
        waits = mayWait && this.nudged && this.#canWait && this.#waits.mayGoOn(waitEndedMs);
      }
      if (reaped === 0) break;
    }
    this.#leases?.collect(this.nowMs);
    const waiting = this.#leases?.uncollected === true || this.#isWaiting();
    if (waiting && mayWait && this.#waitsInstead()) return;
    if (waiting && !this.#scheme.arm()) this.#soon();
    else this.#keepAlive(waiting);
  }

  #soon(): void {
    this.scheduled = true;
    this.#loop.soon(this.turnOfLoop);
  }

  get #canWait(): boolean {
    return (this.#scheme.awaitable?.(this.#requests.active) ?? 0) > 0;
  }

  /** Schedules a turn that waits in the kernel. Returns false where a wakeup is better, or nothing can be awaited. */
  #waitsInstead(): boolean {
    if (this.waitsSoon) return true;
    if (!this.#canWait || !this.#waits.isDue(this.#loop.preciseMs())) return false;
    this.waitsSoon = true;
    this.#loop.soon(this.#waitingTurn);
    return true;
  }

  #keepAlive(yes: boolean): void {
    if (this.alive === yes) return;
    this.alive = yes;
    this.#scheme.keepAlive(yes);
  }

  /** Schedules a turn as a microtask, unless one is running or scheduled. */
  nudge(): void {
    this.nudged = true;
    if (this.inTurn || this.scheduled) return;
    this.scheduled = true;
    this.nowMs = this.#loop.nowMs();
    this.#loop.microtask(this.#turnOfMicrotask);
  }
}
