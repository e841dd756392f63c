/** All protective steps that can be left out, one at a time. */

import { ENGINE_MUTANTS } from "./engine-mutants.js";
import { MONITOR_MUTANTS } from "./monitor-mutants.js";
import type { Mutant } from "./mutant.js";
import { PROPOSAL_MUTANTS } from "./proposal-mutants.js";

export const MUTANTS: readonly Mutant[] = [...ENGINE_MUTANTS, ...MONITOR_MUTANTS, ...PROPOSAL_MUTANTS];
