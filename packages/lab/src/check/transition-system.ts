/** The transition system that the explorer explores: a whole state is a row of words, and each action a number. */

import type { InvariantViolation } from "pinless/portable";

export interface Explorable {
  /** Words of a whole state. */
  readonly words: number;
  /** True if the last action had an effect. */
  readonly happened: boolean;
  /** `tell`: set while a trace is told; gets everything that is worth a line. */
  readonly ground: { tell: ((line: string) => void) | null };
  /** The whole state, as it is now. */
  state(): Int32Array;
  save(to: Int32Array): void;
  restore(from: Int32Array): void;
  /** Something happens, and all that must hold is looked at. Returns what doesn't, or null. */
  perform(actions: { apply(action: number): boolean }, action: number): InvariantViolation | null;
  /** The same where nothing can happen any more. */
  rest(): InvariantViolation | null;
}

export interface ExplorableActions {
  /** True if actors other than the program could take a step now. */
  readonly othersCanStep: boolean;
  maySleep(action: number): boolean;
  areIndependent(first: number, second: number): boolean;
  /** Puts all that can happen now into `into`; returns how many. */
  list(into: Int32Array): number;
  /** Adds the variants of an action that was just done which have a hook in their middle. */
  again(action: number, others: boolean, into: Int32Array, from: number): number;
  apply(action: number): boolean;
  describe(action: number): string;
}
