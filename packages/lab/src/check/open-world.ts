/** Opens the world of a scenario: the engine on Linux, two of them on one memory, or a kernel without it. */

import { variablesOf as proposalVariables } from "../proposal/proposal-variables.js";
import { ProposalActions, ProposalWorld } from "../proposal/proposal-world.js";
import { Actions } from "./actions.js";
import { ExploredWorld } from "./explored-world.js";
import type { Variables } from "./itf-values.js";
import type { Scenario } from "./scenario.js";
import { SharedActions } from "./shared-actions.js";
import { SharedWorld } from "./shared-world.js";
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
  if (scenario.requests.some(({ attached }) => attached)) {
    const world = new SharedWorld(scenario);
    return { world, actions: new SharedActions(world), variables: () => world.variables() };
  }
  const world = new ExploredWorld(scenario);
  return { world, actions: new Actions(world), variables: () => variablesOf(world) };
}
