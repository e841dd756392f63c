/** Opens the world of a scenario: the engine on Linux, or a kernel without it. */

import { ProposalActions, ProposalWorld } from "../proposal/proposal-world.js";
import { Actions } from "./actions.js";
import { ExploredWorld } from "./explored-world.js";
import type { Scenario } from "./scenario.js";
import type { Explorable, ExplorableActions } from "./transition-system.js";

export function openWorld(scenario: Scenario): { world: Explorable; actions: ExplorableActions } {
  if (!scenario.engine) {
    const world = new ProposalWorld(scenario);
    return { world, actions: new ProposalActions(world) };
  }
  const world = new ExploredWorld(scenario);
  return { world, actions: new Actions(world) };
}
