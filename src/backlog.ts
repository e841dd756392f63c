/** Who waits for room: promise calls queue in order, and whoever `submit` answered `"busy"` hears when there's some again. */

import type { Dispatcher } from "./core/dispatcher.js";

export class Backlog {
  readonly #dispatcher: Dispatcher;
  readonly #attempts: (() => boolean)[] = [];
  readonly #waiters: (() => void)[] = [];
  /** Submissions that didn't take the hot path; at most as many as there may be requests. */
  #indirect = 0;

  constructor(dispatcher: Dispatcher) {
    this.#dispatcher = dispatcher;
  }

  /** For the hot path, which is no part of the queue. */
  get isEmpty(): boolean {
    return this.#attempts.length === 0;
  }

  get #hasRoom(): boolean {
    const { requests } = this.#dispatcher;
    return requests.hasRoom && this.#indirect < requests.capacity && this.isEmpty;
  }

  /** `attempt` is called until it answers true, which it does once it's accepted. */
  enqueue(attempt: () => boolean): void {
    if (this.isEmpty && attempt()) return;
    this.#attempts.push(attempt);
    this.#dispatcher.room = this.#room;
  }

  drained(): Promise<void> {
    if (this.#hasRoom) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.#dispatcher.room = this.#room;
    });
  }

  /** False: busy. */
  beginIndirect(): boolean {
    if (this.#indirect >= this.#dispatcher.requests.capacity) return false;
    this.#indirect++;
    return true;
  }

  endIndirect(): void {
    this.#indirect--;
    this.#dispatcher.room?.();
  }

  readonly #room = (): void => {
    let done = 0;
    while (done < this.#attempts.length && this.#attempts[done]!()) done++;
    this.#attempts.splice(0, done);
    if (!this.#hasRoom) return;
    this.#dispatcher.room = null;
    for (const resolve of this.#waiters.splice(0)) resolve();
  };
}
