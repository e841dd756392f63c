/**
 * Depth-first exploration of every order of a scenario's actions from its initial state. Each state is visited once.
 * Sleep sets (P. Godefroid), kept with the states, leave out redundant orders of independent actions: all states are
 * reached, by fewer transitions.
 */

import type { Invariant, InvariantViolation } from "pinless/portable";
import { openWorld } from "./open-world.js";
import type { Scenario } from "./scenario.js";
import type { StateRow } from "./state-row.js";
import type { Explorable, ExplorableActions } from "./transition-system.js";
import { Seen } from "./visited-states.js";

/** Maximum number of actions enabled in one state. */
export const MOST_ACTIONS = 1024;

export interface Explored {
  readonly states: number;
  readonly transitions: number;
  /** Length of the longest path. */
  readonly depth: number;
  readonly found: BrokenInvariant | null;
}

export interface BrokenInvariant {
  readonly invariant: Invariant;
  readonly message: string;
  /** Actions from the initial state to the violation. */
  readonly path: readonly number[];
}

/** An invariant that is broken by an action. */
export type BrokenStep = Pick<BrokenInvariant, "invariant" | "message">;

export const CIRCLE: BrokenStep = {
  invariant: "BOUNDED_WAIT",
  message: "BOUNDED_WAIT: it goes round in a circle for ever",
};

/** One state on the path: its words, its enabled actions, and how many of them were tried. */
interface Level {
  readonly row: StateRow;
  readonly actions: Int32Array;
  /** Hash of the words. */
  low: number;
  high: number;
  /** Sleep set: actions (bits of `Bits`) that lead only to states that another order has reached. */
  asleepLow: number;
  asleepHigh: number;
  /** True if other threads could take a step. */
  others: boolean;
  count: number;
  next: number;
}

/** Assigns bits to the actions that may sleep, in the order of their occurrence; the first 64 get one. */
class Bits {
  readonly #bits = new Map<number, number>();
  readonly #actions: number[] = [];

  /** Bit of an action, or -1. */
  of(action: number): number {
    const known = this.#bits.get(action);
    if (known !== undefined) return known;
    if (this.#actions.length === 64) return -1;
    this.#bits.set(action, this.#actions.length);
    return this.#actions.push(action) - 1;
  }

  /** Filters the bits of a word whose actions are independent of `action`. */
  independent(word: number, from: number, action: number, actions: ExplorableActions): number {
    let left = word;
    let kept = 0;
    while (left !== 0) {
      const bit = 31 - Math.clz32(left & -left);
      left &= left - 1;
      if (actions.areIndependent(this.#actions[from + bit]!, action)) kept |= 1 << bit;
    }
    return kept;
  }
}

/** Explores a scenario up to the first violation. With `prune` it tries only one of several redundant orders. */
export function explore(scenario: Scenario, prune = true): Explored {
  const { world, actions } = openWorld(scenario);
  return new Search(world, actions, prune).run();
}

/** A search in depth: a level for each state of the path. */
class Search {
  readonly #world: Explorable;
  readonly #actions: ExplorableActions;
  readonly #prune: boolean;
  readonly #bits = new Bits();
  readonly #seen = new Seen();
  readonly #levels: Level[] = [];
  #depth = 0;
  #deepest = 0;
  #transitions = 0;
  /** True if the world isn't in the state of the last level any more. */
  #moved = false;

  constructor(world: Explorable, actions: ExplorableActions, prune: boolean) {
    this.#world = world;
    this.#actions = actions;
    this.#prune = prune;
  }

  run(): Explored {
    const row = this.#world.state();
    this.#seen.note(row, row, 0, 0);
    this.#enter(this.#level(0), row);
    while (this.#depth >= 0) {
      const broken = this.#step();
      if (broken === null) continue;
      return this.#explored({ invariant: broken.invariant, message: broken.message, path: this.#path() });
    }
    return this.#explored(null);
  }

  #explored(found: BrokenInvariant | null): Explored {
    return { states: this.#seen.count, transitions: this.#transitions, depth: this.#deepest, found };
  }

  #path(): number[] {
    return this.#levels.slice(0, this.#depth + 1).map((level) => level.actions[level.next - 1]!);
  }

  #level(depth: number): Level {
    this.#levels[depth] ??= {
      row: this.#world.state().copy(),
      actions: new Int32Array(MOST_ACTIONS),
      low: 0,
      high: 0,
      asleepLow: 0,
      asleepHigh: 0,
      others: false,
      count: 0,
      next: 0,
    };
    return this.#levels[depth];
  }

  /** Tries the next action of the last level, or goes back from it. Returns the invariant that is broken, or null. */
  #step(): BrokenStep | null {
    const here = this.#levels[this.#depth]!;
    if (here.next === here.count) {
      this.#seen.leave(here.low, here.high);
      this.#depth--;
      this.#moved = true;
      return null;
    }
    const action = here.actions[here.next++]!;
    const bit = this.#prune && this.#actions.maySleep(action) ? this.#bits.of(action) : -1;
    if (bit >= 0 && ((bit < 32 ? here.asleepLow : here.asleepHigh) & (1 << bit)) !== 0) return null;
    if (this.#moved) this.#world.restore(here.row);
    this.#moved = true;
    this.#transitions++;
    const broken = this.#world.perform(this.#actions, action);
    if (broken !== null || !this.#world.happened) return broken;
    here.count = this.#actions.again(action, here.others, here.actions, here.count);
    return this.#arrive(here, action, bit);
  }

  /** Goes on from the state that an action has led to, if there is something to try that hasn't been tried there. */
  #arrive(here: Level, action: number, bit: number): BrokenStep | null {
    const seen = this.#seen;
    const row = this.#world.state();
    const met = seen.note(row, here.row, here.low, here.high);
    // The actions that still sleep after this one, to which this one is added afterwards.
    let asleepLow = this.#bits.independent(here.asleepLow, 0, action, this.#actions);
    let asleepHigh = this.#bits.independent(here.asleepHigh, 32, action, this.#actions);
    if (bit >= 32) here.asleepHigh |= 1 << bit;
    else if (bit >= 0) here.asleepLow |= 1 << bit;
    let wokenLow = -1;
    let wokenHigh = -1;
    if (met === "met") {
      // Actions that slept at the state's first visit, but don't now, still have to be tried.
      wokenLow = seen.asleepLow & ~asleepLow;
      wokenHigh = seen.asleepHigh & ~asleepHigh;
      if (wokenLow === 0 && wokenHigh === 0) return null;
      asleepLow &= seen.asleepLow;
      asleepHigh &= seen.asleepHigh;
      seen.enter();
    }
    seen.sleep(asleepLow, asleepHigh);
    if (met === "on the path") return CIRCLE;
    const next = this.#level(++this.#depth);
    next.asleepLow = asleepLow;
    next.asleepHigh = asleepHigh;
    this.#enter(next, row);
    if (met === "met") next.count = only(next.actions, next.count, wokenLow, wokenHigh, this.#bits);
    return this.#moved ? this.#atRest() : null;
  }

  /** Lists the enabled actions of the state that was last noted. */
  #enter(level: Level, row: StateRow): void {
    level.row.set(row);
    level.low = this.#seen.low;
    level.high = this.#seen.high;
    level.count = this.#actions.list(level.actions);
    level.others = this.#actions.othersCanStep;
    level.next = 0;
    this.#deepest = Math.max(this.#deepest, this.#depth);
    this.#moved = level.count === 0;
  }

  /** Checks a state without enabled actions: what is broken there counts as broken by the last action. */
  #atRest(): BrokenStep | null {
    const left = this.#world.rest();
    if (left !== null) this.#depth--;
    return left;
  }
}

/** Keeps the actions whose bits are set. */
function only(list: Int32Array, count: number, low: number, high: number, bits: Bits): number {
  let kept = 0;
  for (let i = 0; i < count; i++) {
    const bit = bits.of(list[i]!);
    if (bit >= 0 && ((bit < 32 ? low : high) & (1 << bit)) !== 0) list[kept++] = list[i]!;
  }
  return kept;
}

/** Finds one of the shortest paths to a violation, breadth first; null if there's none within `limit` states. */
export function shortest(scenario: Scenario, limit: number): BrokenInvariant | null {
  const { world, actions } = openWorld(scenario);
  const seen = new Seen();
  const parents: number[] = [-1];
  const by: number[] = [-1];
  const first = world.state();
  seen.note(first, first, 0, 0);
  const hashes: [number, number][] = [[0, 0]];
  const states: (StateRow | null)[] = [first.copy()];
  const list = new Int32Array(MOST_ACTIONS);
  const found = (broken: InvariantViolation, from: number, last: number[]): BrokenInvariant => {
    const path = last;
    for (let at = from; at > 0; at = parents[at]!) path.unshift(by[at]!);
    return { invariant: broken.invariant, message: broken.message, path };
  };
  for (let at = 0; at < states.length && states.length < limit; at++) {
    const here = states[at]!;
    states[at] = null;
    world.restore(here);
    let count = actions.list(list);
    const others = actions.othersCanStep;
    if (count === 0) {
      const left = world.rest();
      if (left !== null) return found(left, at, []);
    }
    for (let i = 0; i < count; i++) {
      if (i > 0) world.restore(here);
      const broken = world.perform(actions, list[i]!);
      if (broken !== null) return found(broken, at, [list[i]!]);
      if (!world.happened) continue;
      count = actions.again(list[i]!, others, list, count);
      const row = world.state();
      if (seen.note(row, here, hashes[at]![0], hashes[at]![1]) !== "new") continue;
      hashes.push([seen.low, seen.high]);
      states.push(row.copy());
      parents.push(at);
      by.push(list[i]!);
    }
  }
  return null;
}
