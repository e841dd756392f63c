/** All protective steps that can be left out, one at a time. */

import { ScenarioError } from "../commands/check/scenario-file.js";
import { ENGINE_MUTANTS } from "./engine-mutants.js";
import { MONITOR_MUTANTS } from "./monitor-mutants.js";
import type { Mutant } from "./mutant.js";
import { PROPOSAL_MUTANTS } from "./proposal-mutants.js";
import { SIMULATED_MUTANTS } from "./simulated-mutants.js";

/** Those that an exploration shows. */
export const EXPLORED_MUTANTS: readonly Mutant[] = [...ENGINE_MUTANTS, ...MONITOR_MUTANTS, ...PROPOSAL_MUTANTS];
export const MUTANTS: readonly Mutant[] = [...EXPLORED_MUTANTS, ...SIMULATED_MUTANTS];

/** The mutant of a name; an error names all there are. */
export function mutantNamed(name: string): Mutant {
  const mutant = MUTANTS.find((m) => m.name === name);
  if (mutant !== undefined) return mutant;
  throw new ScenarioError(`there's no mutant "${name}"; there are ${MUTANTS.map((m) => m.name).join(", ")}`);
}
