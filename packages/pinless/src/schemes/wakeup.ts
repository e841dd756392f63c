import { setImmediate } from "../linux/originals.js";

/** One-shot completion notification, armed before the event loop sleeps. */
export class Wakeup {
  readonly #woken: () => void;
  #armed = false;

  constructor(woken: () => void) {
    this.#woken = woken;
  }

  arm(): void {
    this.#armed = true;
  }

  readonly ring = (): void => {
    if (!this.#armed) return;
    this.#armed = false;
    this.#woken();
  };

  /**
   * Notifies by setImmediate, not from inside a callback of node:fs, so that everything that ended in the same turn of
   * the loop is reaped at once.
   */
  readonly ringSoon = (): void => {
    if (!this.#armed) return;
    this.#armed = false;
    setImmediate(this.#woken);
  };
}
