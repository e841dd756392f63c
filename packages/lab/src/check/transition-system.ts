/** Transition system that the explorer explores: a state is a row of words, and an action is a number. */

import type { InvariantViolation } from "pinless/portable";
import type { StateRow } from "./state-row.js";

export interface Explorable {
  /** True if the last action had an effect. */
  readonly happened: boolean;
  /** `tell` receives the lines of a trace; null while none is written. */
  readonly ground: { tell: ((line: string) => void) | null };
  /** The present state, in a row that the next action overwrites. */
  state(): StateRow;
  restore(from: StateRow): void;
  /** Applies an action and checks the invariants. Returns the violation, or null. */
  perform(actions: { apply(action: number): boolean }, action: number): InvariantViolation | null;
  /** Checks the invariants of a state without enabled actions. Returns the violation, or null. */
  rest(): InvariantViolation | null;
}

export interface ExplorableActions {
  /** True if actors other than the program could take a step now. */
  readonly othersCanStep: boolean;
  maySleep(action: number): boolean;
  areIndependent(first: number, second: number): boolean;
  /** Writes the enabled actions to `into`; returns their number. */
  list(into: Int32Array): number;
  /** Adds the variants with hooks of an action that has just been done. */
  again(action: number, others: boolean, into: Int32Array, from: number): number;
  apply(action: number): boolean;
  describe(action: number): string;
  /** Names the actor that takes an action. */
  actorOf(action: number): string;
}
