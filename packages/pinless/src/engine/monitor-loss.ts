/** Loss of the monitor: no request begins until the memory calls that its end let continue must be over. */

import type { MonitorEnded } from "../ports/monitor.js";
import type { ForeignCalls } from "../protocol/foreign-calls.js";
import type { Loop } from "../protocol/scheme.js";

/** Time after which the calls that the monitor's end let continue are over. Measured: at most 5 ms. */
const AFTER_LOSS_MS = 50;
const STARTED_AGAIN = "the monitor thread ended and was started again";
const NOT_FOLLOWED = "the monitor thread ended: memory calls of other code aren't followed";

export interface LossesParts {
  readonly calls: ForeignCalls;
  readonly loop: Loop;
  /** List that gets a sentence about the loss, for `stats()`. */
  readonly degraded: string[];
}

export class MonitorLoss {
  readonly #parts: LossesParts;
  /** Number of losses so far. Of several in quick succession only the last one ends the wait. */
  #count = 0;
  #timesAgain = 0;

  constructor(parts: LossesParts) {
    this.#parts = parts;
  }

  /**
   * Announces a change of every chunk until the calls that the monitor's end let continue are over, and until calls are
   * followed again or are known not to be.
   */
  readonly ended: MonitorEnded = (whenAgain, loss) => {
    const { calls, loop } = this.#parts;
    const count = ++this.#count;
    if (loss === "missed") calls.callsMissed();
    else calls.monitorEnded();
    let awaited = 2;
    const one = (): void => {
      if (--awaited === 0 && count === this.#count) calls.lossIsOver();
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

  /** Reports all restarts in one sentence, and removes the one that calls aren't followed. */
  #startedAgain(): void {
    const times = ++this.#timesAgain === 1 ? "once" : `${this.#timesAgain} times`;
    this.#forget(NOT_FOLLOWED);
    this.#say(STARTED_AGAIN, `, ${times}: I/O waited for that`);
  }

  /** Adds a sentence, in place of an earlier one that begins with `what`. */
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

/** Adds a sentence, unless the list has it already. */
export function note(degraded: string[], sentence: string): void {
  if (!degraded.includes(sentence)) degraded.push(sentence);
}
