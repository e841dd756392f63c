/**
 * What a thread does, told in steps: between two of them others may come in between, or the thread sleeps. So the same program runs on a
 * thread of its own, and in virtual time. Whoever drives it does what a step asks for.
 */

export interface Step {
  /** Sleep for so long. 0: go on. */
  readonly ms: number;
  /** Sleep only while the word that the thread shares with the engine's (monitor-messages.ts) is this. Null: whatever it is. */
  readonly whileWord: number | null;
}

/** A program; `T` is what it comes to. */
export type Steps<T = void> = Generator<Step, T, undefined>;

/** Others may come in between here. */
export const GO_ON: Step = { ms: 0, whileWord: null };

export function pause(ms: number): Step {
  return { ms, whileWord: null };
}
