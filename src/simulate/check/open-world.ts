/** The world that a scenario is about: the engine on Linux, or a kernel without it. */

import { Actions } from "./actions.js";
import type { Explorable, ExplorableActions } from "./explorable.js";
import { ProposalActions, ProposalWorld } from "./proposal/world.js";
import type { Scenario } from "./scenario.js";
import { World } from "./world.js";

export function openWorld(scenario: Scenario): { world: Explorable; actions: ExplorableActions } {
  if (!scenario.engine) {
    const world = new ProposalWorld(scenario);
    return { world, actions: new ProposalActions(world) };
  }
  const world = new World(scenario);
  return { world, actions: new Actions(world) };
}
