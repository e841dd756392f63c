/** Those who wait until the requests that were accepted by then have ended. */

import type { Parked } from "./parked-requests.js";

/** A request: by its slot, or parked. */
export type Accepted = number | Parked;

export class QuietWaiters {
  readonly #waiters: { left: Set<Accepted>; run: () => void }[] = [];

  get isEmpty(): boolean {
    return this.#waiters.length === 0;
  }

  add(left: Set<Accepted>, run: () => void): void {
    if (left.size === 0) run();
    else this.#waiters.push({ left, run });
  }

  /** A request was parked, or has a slot again. */
  renamed(from: Accepted, to: Accepted): void {
    for (const { left } of this.#waiters) if (left.delete(from)) left.add(to);
  }

  /** A request has ended. Returns those who waited for nothing else, in the order in which they asked: to be called when it was answered. */
  ended(slot: number): readonly (() => void)[] {
    const quiet: (() => void)[] = [];
    for (let i = 0; i < this.#waiters.length; ) {
      const { left, run } = this.#waiters[i]!;
      if (!left.delete(slot) || left.size > 0) i++;
      else {
        this.#waiters.splice(i, 1);
        quiet.push(run);
      }
    }
    return quiet;
  }
}
