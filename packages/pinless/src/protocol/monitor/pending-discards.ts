/**
 * Discards whose events were read, until all their callers have left their calls: the pages go only after the reading. Callers are looked
 * at again and again, ever more rarely.
 */

import type { Caller, Departure } from "./caller-tracking.js";

/** Looks at once, then each time after twice as long. */
export const FIRST_LOOK_MS = 0.03;
export const LAST_LOOK_MS = 1;

export interface Settling {
  departures: Departure[];
  /** Where nobody is known whose departure could be seen. */
  readonly untilMs: number;
  readonly over: () => void;
}

/** A caller whose event was read. */
export interface LetGo {
  readonly caller: Caller;
  readonly departure: Departure;
}

export class Settlings {
  #all: Settling[] = [];
  #lookMs = 0;

  get isEmpty(): boolean {
    return this.#all.length === 0;
  }

  add(settling: Settling): void {
    this.#all.push(settling);
  }

  /** Of these, those who are in the middle of a call whose first part settles already. */
  stillIn(waiting: readonly Caller[]): Caller[] {
    return waiting.filter((caller) =>
      this.#all.some(({ departures }) => departures.some((departure) => departure.isStill(caller))),
    );
  }

  /** The next event of the same calls was read: from here on it's the end of that one which is looked for. */
  goOn(again: readonly LetGo[]): void {
    for (const each of this.#all)
      each.departures = each.departures.map((old) => again.find(({ caller }) => old.isStill(caller))?.departure ?? old);
  }

  /** Ends what all callers have left. */
  look(nowMs: number): void {
    if (this.#all.length === 0) return;
    const all = this.#all;
    this.#all = [];
    for (const each of all) {
      each.departures = each.departures.filter((departure) => !departure.hasLeft(nowMs));
      if (each.departures.length > 0 || nowMs < each.untilMs) this.#all.push(each);
      else each.over();
    }
  }

  /** Something new settles: look often again. */
  lookOften(): void {
    this.#lookMs = 0;
  }

  /** How long until the next look is due. Null: nothing settles. */
  nextLookMs(): number | null {
    if (this.isEmpty) return null;
    const ms = this.#lookMs;
    this.#lookMs = ms === 0 ? FIRST_LOOK_MS : Math.min(2 * ms, LAST_LOOK_MS);
    return ms;
  }
}
