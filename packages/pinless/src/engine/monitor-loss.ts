/** Loss of the monitor: no request begins until no memory call that it let go can be in progress any more. */

import type { MonitorEnded } from "../ports/monitor.js";
import type { ForeignCalls } from "../protocol/foreign-calls.js";
import type { Loop } from "../protocol/scheme.js";

/** Time after which the calls that the monitor's end has let go have discarded their pages. Measured: at most 5 ms. */
const AFTER_LOSS_MS = 50;
const STARTED_AGAIN = "the monitor thread ended and was started again";
const NOT_FOLLOWED = "the monitor thread ended: memory calls of other code aren't followed";

export interface LossesParts {
  readonly calls: ForeignCalls;
  readonly loop: Loop;
  /** Gets a sentence for what the engine does without from then on. */
  readonly degraded: string[];
}

export class MonitorLoss {
  readonly #parts: LossesParts;
  /** Number of losses so far: of several in a row only the last one ends the wait. */
  #count = 0;
  #timesAgain = 0;

  constructor(parts: LossesParts) {
    this.#parts = parts;
  }

  /**
   * Announces a change of every chunk, until the calls that the monitor's end has let go are over, and calls are
   * followed again, or can't be.
   */
  readonly ended: MonitorEnded = (whenAgain, missed) => {
    const { calls, loop } = this.#parts;
    const count = ++this.#count;
    if (missed) calls.missed();
    else calls.ended();
    let awaited = 2;
    const one = (): void => {
      if (--awaited === 0 && count === this.#count) calls.lost();
    };
    const stop = loop.every(AFTER_LOSS_MS, () => {
      stop();
      one();
    });
    whenAgain((why) => {
      if (why === "") this.#startedAgain();
      else this.#say(NOT_FOLLOWED, ` (${why})`);
      one();
    });
  };

  /** Says it in one sentence, however often, and takes back that calls aren't followed. */
  #startedAgain(): void {
    const times = ++this.#timesAgain === 1 ? "once" : `${this.#timesAgain} times`;
    this.#forget(NOT_FOLLOWED);
    this.#say(STARTED_AGAIN, `, ${times}: I/O waited for that`);
  }

  /** Replaces the earlier sentence about the same. */
  #say(what: string, rest: string): void {
    this.#forget(what);
    this.#parts.degraded.push(what + rest);
  }

  #forget(what: string): void {
    const { degraded } = this.#parts;
    const at = degraded.findIndex((sentence) => sentence.startsWith(what));
    if (at >= 0) degraded.splice(at, 1);
  }
}

/** Adds a sentence, unless it's there. */
export function note(degraded: string[], sentence: string): void {
  if (!degraded.includes(sentence)) degraded.push(sentence);
}
