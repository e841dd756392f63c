import { setImmediate } from "../linux/originals.js";

/** Tells once that something has ended, if somebody has asked to be told. */
export class Alarm {
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

  /** Not from inside a callback of node:fs: what ended with that one is reaped with it. */
  readonly ringSoon = (): void => {
    if (!this.#armed) return;
    this.#armed = false;
    setImmediate(this.#woken);
  };
}
