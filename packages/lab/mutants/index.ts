/** All protective steps that can be left out, one at a time. */

import { UsageError } from "@pinless/cli/command";
import type { MutantLibrary } from "../dist/commands/mutants.js";
import { ENGINE_MUTANTS } from "./engine-mutants.js";
import { MONITOR_MUTANTS } from "./monitor-mutants.js";
import type { Mutant } from "./mutant.js";
import { mutate } from "./mutate.js";
import { PROPOSAL_MUTANTS } from "./proposal-mutants.js";
import { SHARED_MUTANTS } from "./shared-mutants.js";
import { firstFailure, SIMULATED_MUTANTS } from "./simulated-mutants.js";

const EXPLORED_MUTANTS: readonly Mutant[] = [
  ...ENGINE_MUTANTS,
  ...MONITOR_MUTANTS,
  ...SHARED_MUTANTS,
  ...PROPOSAL_MUTANTS,
];
export const MUTANTS: readonly Mutant[] = [...EXPLORED_MUTANTS, ...SIMULATED_MUTANTS];

function mutantNamed(name: string): Mutant {
  const mutant = MUTANTS.find((m) => m.name === name);
  if (mutant !== undefined) return mutant;
  throw new UsageError(`there's no mutant "${name}"; there are ${MUTANTS.map((m) => m.name).join(", ")}`);
}

/** The mutants as the commands use them. */
export const library: MutantLibrary = {
  explored: EXPLORED_MUTANTS,
  simulated: SIMULATED_MUTANTS.map((mutant) => ({ ...mutant, firstFailure: () => firstFailure(mutant) })),
  named: mutantNamed,
  mutate: (name, command) => mutate(mutantNamed(name), command),
};
