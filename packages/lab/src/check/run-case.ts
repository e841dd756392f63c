/** Explores one scenario and reports the result, with a trace of a violation. */

import { type BrokenInvariant, explore, shortest } from "./explore.js";
import { retrace, type Step } from "./retrace.js";
import type { Scenario } from "./scenario.js";

/**
 * Maximum number of states of the breadth-first search for a shorter counterexample. Beyond it, the path is reported as
 * it was found.
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
  /** The invariant that the scenario expects to be violated. */
  readonly expects: string | null;
}

export interface Violation {
  readonly invariant: string;
  readonly message: string;
  readonly trace: readonly Step[];
  /** Numbers of the trace's actions. */
  readonly path: readonly number[];
}

/**
 * Runs a scenario. With `brief` a violation is reported without a shorter path and a trace. `cpuSeconds` is a clock.
 */
export function runCase(scenario: Scenario, brief: boolean, cpuSeconds: () => number): CaseReport {
  const began = cpuSeconds();
  const { found, ...figures } = explore(scenario);
  const seconds = cpuSeconds() - began;
  const violation = found === null ? null : brief ? briefly(found) : inFull(scenario, found);
  return { name: scenario.name, ...figures, seconds, violation, expects: scenario.expects };
}

function briefly({ invariant, message }: BrokenInvariant): Violation {
  return { invariant, message, trace: [], path: [] };
}

function inFull(scenario: Scenario, found: BrokenInvariant): Violation {
  const { invariant, message, path } = shortest(scenario, SHORTEST_WITHIN) ?? found;
  const trace = retrace(scenario, path).steps.map(({ what, then }) => ({ what, then }));
  return { invariant, message, trace, path };
}
