/** What the explorer explores: something whose whole state is a row of words, and what can happen to it, one number each. */

import type { InvariantViolation } from "pinless/portable";

export interface Explorable {
  /** Words of a whole state. */
  readonly words: number;
  /** Whether the last action came to anything. */
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
  /** Whether actors that aren't the program's could take a step now. */
  readonly othersCanStep: boolean;
  maySleep(action: number): boolean;
  areIndependent(first: number, second: number): boolean;
  /** Puts all that can happen now into `into`; returns how many. */
  list(into: Int32Array): number;
  /** What an action that was just done can be once more, with something in its middle. */
  again(action: number, others: boolean, into: Int32Array, from: number): number;
  apply(action: number): boolean;
  describe(action: number): string;
}
