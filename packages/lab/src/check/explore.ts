/**
 * Depth-first exploration of every order of a scenario's actions from its initial state. Each state is visited once.
 * Sleep sets (P. Godefroid), kept with the states, leave out redundant orders of independent actions: all states are
 * reached, by fewer transitions.
 */

import type { Invariant, InvariantViolation } from "pinless/portable";
import { openWorld } from "./open-world.js";
import type { Scenario } from "./scenario.js";
import type { ExplorableActions } from "./transition-system.js";
import { Seen } from "./visited-states.js";

/** Maximum number of actions enabled in one state. */
const MOST_ACTIONS = 1024;

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

/** One state on the path: its words, its enabled actions, and how many of them were tried. */
interface Level {
  readonly words: Int32Array;
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
  const bits = new Bits();
  const { world, actions } = openWorld(scenario);
  const seen = new Seen();
  const levels: Level[] = [];
  const level = (depth: number): Level => {
    levels[depth] ??= {
      words: new Int32Array(world.words),
      actions: new Int32Array(MOST_ACTIONS),
      low: 0,
      high: 0,
      asleepLow: 0,
      asleepHigh: 0,
      others: false,
      count: 0,
      next: 0,
    };
    return levels[depth]!;
  };
  let depth = 0;
  let deepest = 0;
  let transitions = 0;
  const path = (): number[] => levels.slice(0, depth + 1).map((l) => l.actions[l.next - 1]!);
  const result = (found: BrokenInvariant | null): Explored => ({
    states: seen.count,
    transitions,
    depth: deepest,
    found,
  });
  const first = level(0);
  world.save(first.words);
  seen.note(first.words, first.words, 0, 0);
  first.low = seen.low;
  first.high = seen.high;
  first.count = actions.list(first.actions);
  first.others = actions.othersCanStep;
  let moved = false;
  while (depth >= 0) {
    const here = levels[depth]!;
    if (here.next === here.count) {
      seen.leave(here.low, here.high);
      depth--;
      moved = true;
      continue;
    }
    const action = here.actions[here.next++]!;
    const bit = prune && actions.maySleep(action) ? bits.of(action) : -1;
    if (bit >= 0 && ((bit < 32 ? here.asleepLow : here.asleepHigh) & (1 << bit)) !== 0) continue;
    if (moved) world.restore(here.words);
    moved = true;
    transitions++;
    const broken = world.perform(actions, action);
    if (broken !== null) return result({ invariant: broken.invariant, message: broken.message, path: path() });
    if (!world.happened) continue;
    here.count = actions.again(action, here.others, here.actions, here.count);
    const next = level(depth + 1);
    const state = world.state();
    const met = seen.note(state, here.words, here.low, here.high);
    // The actions that still sleep after this one, to which this one is added afterwards.
    const asleepLow = bits.independent(here.asleepLow, 0, action, actions);
    const asleepHigh = bits.independent(here.asleepHigh, 32, action, actions);
    if (bit >= 32) here.asleepHigh |= 1 << bit;
    else if (bit >= 0) here.asleepLow |= 1 << bit;
    let wokenLow = -1;
    let wokenHigh = -1;
    if (met === "met") {
      // Actions that slept at the state's first visit, but don't now, still have to be tried.
      wokenLow = seen.asleepLow & ~asleepLow;
      wokenHigh = seen.asleepHigh & ~asleepHigh;
      if (wokenLow === 0 && wokenHigh === 0) continue;
      next.asleepLow = seen.asleepLow & asleepLow;
      next.asleepHigh = seen.asleepHigh & asleepHigh;
      seen.enter();
    } else {
      next.asleepLow = asleepLow;
      next.asleepHigh = asleepHigh;
    }
    seen.sleep(next.asleepLow, next.asleepHigh);
    if (met === "on the path")
      return result({
        invariant: "BOUNDED_WAIT",
        message: "BOUNDED_WAIT: it goes round in a circle for ever",
        path: path(),
      });
    next.words.set(state);
    depth++;
    deepest = Math.max(deepest, depth);
    next.low = seen.low;
    next.high = seen.high;
    next.count = actions.list(next.actions);
    next.others = actions.othersCanStep;
    next.next = 0;
    moved = next.count === 0;
    if (met === "met") next.count = only(next.actions, next.count, wokenLow, wokenHigh, bits);
    if (!moved) continue;
    const left = world.rest();
    if (left === null) continue;
    depth--;
    return result({ invariant: left.invariant, message: left.message, path: path() });
  }
  return result(null);
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
  const words = new Int32Array(world.words);
  world.save(words);
  seen.note(words, words, 0, 0);
  const hashes: [number, number][] = [[0, 0]];
  const states: (Int32Array | null)[] = [words.slice()];
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
      world.save(words);
      if (seen.note(words, here, hashes[at]![0], hashes[at]![1]) !== "new") continue;
      hashes.push([seen.low, seen.high]);
      states.push(words.slice());
      parents.push(at);
      by.push(list[i]!);
    }
  }
  return null;
}

/** A step of a trace: an action, and its immediate effects. */
export interface Step {
  readonly what: string;
  readonly then: readonly string[];
}

/** Repeats a path and describes its steps. */
export function tell(scenario: Scenario, path: readonly number[]): Step[] {
  const { world, actions } = openWorld(scenario);
  return path.map((action) => {
    const then: string[] = [];
    const what = actions.describe(action);
    world.ground.tell = (line) => then.push(line);
    world.perform(actions, action);
    world.save(new Int32Array(world.words));
    return { what, then };
  });
}
