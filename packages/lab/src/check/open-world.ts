/** Opens the world of a scenario: the engine on Linux, or a kernel without it. */

import { variablesOf as proposalVariables } from "../proposal/proposal-variables.js";
import { ProposalActions, ProposalWorld } from "../proposal/proposal-world.js";
import { Actions } from "./actions.js";
import { ExploredWorld } from "./explored-world.js";
import type { Variables } from "./itf-values.js";
import type { Scenario } from "./scenario.js";
import type { Explorable, ExplorableActions } from "./transition-system.js";
import { variablesOf } from "./world-variables.js";

export interface OpenWorld {
  readonly world: Explorable;
  readonly actions: ExplorableActions;
  /** Renders the present state for a trace. */
  variables(): Variables;
}

export function openWorld(scenario: Scenario): OpenWorld {
  if (!scenario.engine) {
    const world = new ProposalWorld(scenario);
    return { world, actions: new ProposalActions(world), variables: () => proposalVariables(world) };
  }
  const world = new ExploredWorld(scenario);
  return { world, actions: new Actions(world), variables: () => variablesOf(world) };
}
