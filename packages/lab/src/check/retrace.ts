/** Repeats a path of actions, and tells each of its steps: who acted, with what effect, and what changed. */

import { ONE_HOOK } from "./action-codes.js";
import { type BrokenStep, CIRCLE, MOST_ACTIONS } from "./explore.js";
import { differences, type Variables } from "./itf-values.js";
import { openWorld } from "./open-world.js";
import type { Scenario } from "./scenario.js";
import type { StateRow } from "./state-row.js";
import type { Explorable, ExplorableActions } from "./transition-system.js";

/** A step of a trace: an action, and its immediate effects. */
export interface Step {
  readonly what: string;
  readonly then: readonly string[];
}

/** A step, and the state after it. */
export interface RetracedStep extends Step {
  readonly actor: string;
  /** Number of the action. */
  readonly action: number;
  /** Variables that have another value than before: name, value before and value after. */
  readonly changed: readonly string[];
  readonly variables: Variables;
}

export interface Retraced {
  readonly initial: Variables;
  readonly steps: readonly RetracedStep[];
  /** The violation that the last step led to. */
  readonly broken: BrokenStep | null;
  /** Index of the state to which the last step returns; null if it doesn't return to one. */
  readonly loop: number | null;
  /** Index of an action of the path that isn't possible in its state; null if all were. */
  readonly impossible: number | null;
}

/** Repeats a path from the initial state, up to the first violation. */
export function retrace(scenario: Scenario, path: readonly number[]): Retraced {
  const walk = new Walk(scenario);
  for (const [i, action] of path.entries()) {
    if (walk.broken !== null) break;
    if (!walk.isPossible(action) || !walk.take(action)) return walk.retraced(i);
  }
  if (walk.broken === null && walk.possible().length === 0) walk.rest();
  return walk.retraced(null);
}

/**
 * Takes one long path to a state in which nothing can happen any more: at each state the kind of action that was taken
 * least often, so that the path shows as much as possible.
 */
export function sample(scenario: Scenario): Retraced {
  const walk = new Walk(scenario);
  const taken = new Map<string, number>();
  const timesOf = (action: number): number => taken.get(walk.kindOf(action)) ?? 0;
  for (let next = true; next && walk.broken === null; ) {
    const possible = walk.possible().sort((a, b) => timesOf(a) - timesOf(b));
    const chosen = possible.find((action) => walk.take(action));
    next = chosen !== undefined;
    if (chosen !== undefined) taken.set(walk.kindOf(chosen), timesOf(chosen) + 1);
  }
  if (walk.broken === null) walk.rest();
  return walk.retraced(null);
}

class Walk {
  broken: BrokenStep | null = null;
  readonly #world: Explorable;
  readonly #actions: ExplorableActions;
  readonly #variables: () => Variables;
  readonly #initial: Variables;
  readonly #steps: RetracedStep[] = [];
  readonly #rows: StateRow[];
  readonly #list = new Int32Array(MOST_ACTIONS);
  #loop: number | null = null;

  constructor(scenario: Scenario) {
    const { world, actions, variables } = openWorld(scenario);
    this.#world = world;
    this.#actions = actions;
    this.#variables = variables;
    this.#rows = [world.state().copy()];
    this.#initial = variables();
  }

  possible(): number[] {
    return [...this.#list.subarray(0, this.#actions.list(this.#list))];
  }

  /** True if the action can be taken, and described. Which of its hooks are reached is known only afterwards. */
  isPossible(action: number): boolean {
    return this.possible().includes(action % ONE_HOOK);
  }

  /** Kind of an action: its description, without names and numbers. */
  kindOf(action: number): string {
    return this.#actions.describe(action).replace(/\b([a-zX-Z]|T?\d+)\b/g, "");
  }

  /** Takes a step. Returns false if it has no effect; then the state is as before. */
  take(action: number): boolean {
    const then: string[] = [];
    const [what, actor] = [this.#actions.describe(action), this.#actions.actorOf(action)];
    this.#world.ground.tell = (line) => then.push(line);
    const broken = this.#world.perform(this.#actions, action);
    this.#world.ground.tell = null;
    if (broken === null && !this.#world.happened) {
      this.#world.restore(this.#rows.at(-1)!);
      return false;
    }
    const before = this.#steps.at(-1)?.variables ?? this.#initial;
    const row = this.#world.state();
    const variables = this.#variables();
    this.#steps.push({ what, then, actor, action, changed: differences(before, variables), variables });
    if (broken === null) this.#returnsTo(row);
    else this.#breaks(broken);
    return true;
  }

  #breaks({ invariant, message }: BrokenStep): void {
    this.broken = { invariant, message };
  }

  #returnsTo(row: StateRow): void {
    const at = this.#rows.findIndex(({ words }) => words.every((word, i) => word === row.words[i]));
    if (at >= 0) {
      this.#loop = at;
      this.broken = CIRCLE;
    }
    this.#rows.push(row.copy());
  }

  /** Checks the state at the end: what is broken there counts as broken by the last step. */
  rest(): void {
    const broken = this.#world.rest();
    if (broken !== null) this.#breaks(broken);
  }

  retraced(impossible: number | null): Retraced {
    return { initial: this.#initial, steps: this.#steps, broken: this.broken, loop: this.#loop, impossible };
  }
}
