/** What an engine does when the monitor has ended by itself: keeps everything away until nothing unheard can be under way any more. */

import type { MonitorEnded } from "../ports/monitor.js";
import type { ForeignCalls } from "../protocol/foreign-calls.js";
import type { Loop } from "../protocol/scheme.js";

/** When the monitor ends it lets everybody go who waits for it; their discards are done by then. Seen: 5 ms at worst. */
const AFTER_LOSS_MS = 50;
const STARTED_AGAIN = "the monitor thread ended and was started again";
const NOT_FOLLOWED = "the monitor thread ended: memory calls of other code aren't followed";

export interface LossesParts {
  readonly calls: ForeignCalls;
  readonly loop: Loop;
  /** What is degraded from then on is added to it, a sentence each. */
  readonly degraded: string[];
}

export class MonitorLoss {
  readonly #parts: LossesParts;
  /** Of several in a row, the last one settles. */
  #count = 0;
  #timesAgain = 0;

  constructor(parts: LossesParts) {
    this.#parts = parts;
  }

  /** All is announced until those whom its end has let go have left their calls, and others are followed again or can't be. */
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

  /** In one sentence, however often; and what isn't followed was so until now only. */
  #startedAgain(): void {
    const times = ++this.#timesAgain === 1 ? "once" : `${this.#timesAgain} times`;
    this.#forget(NOT_FOLLOWED);
    this.#say(STARTED_AGAIN, `, ${times}: I/O waited for that`);
  }

  /** In the place of what was said before of the same. */
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

/** Says it once. */
export function note(degraded: string[], sentence: string): void {
  if (!degraded.includes(sentence)) degraded.push(sentence);
}
