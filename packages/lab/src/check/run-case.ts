/** One scenario explored, and what it found told in words. */

import { type BrokenInvariant, explore, type Step, shortest, tell } from "./explore.js";
import type { Scenario } from "./scenario.js";

/**
 * States that the breadth-first search for a shorter counterexample keeps in memory at most. Beyond it, the path is
 * told as it was found.
 */
const SHORTEST_WITHIN = 400_000;

export interface CaseReport {
  readonly name: string;
  readonly states: number;
  readonly transitions: number;
  readonly depth: number;
  /** CPU time, in seconds, of the exploration alone. */
  readonly seconds: number;
  readonly violation: Violation | null;
  /** The invariant that the scenario expects not to hold. */
  readonly expects: string | null;
}

export interface Violation {
  readonly invariant: string;
  readonly message: string;
  readonly trace: readonly Step[];
}

/** `brief`: the first violation will do, told by no trace. `cpuSeconds`: a clock. */
export function runCase(scenario: Scenario, brief: boolean, cpuSeconds: () => number): CaseReport {
  const began = cpuSeconds();
  const { found, ...figures } = explore(scenario);
  const seconds = cpuSeconds() - began;
  const violation = found === null ? null : brief ? briefly(found) : inFull(scenario, found);
  return { name: scenario.name, ...figures, seconds, violation, expects: scenario.expects };
}

function briefly({ invariant, message }: BrokenInvariant): Violation {
  return { invariant, message, trace: [] };
}

function inFull(scenario: Scenario, found: BrokenInvariant): Violation {
  const { invariant, message, path } = shortest(scenario, SHORTEST_WITHIN) ?? found;
  return { invariant, message, trace: tell(scenario, path) };
}
