/** Tasks of a worker process. All but loads open and close what they need, so that pins are their own. */

import type { Configuration, EngineReads } from "./configurations.js";
import { losses } from "./harms/losses.js";
import { migration } from "./harms/migration.js";
import { rest } from "./harms/rest.js";
import { revalidation } from "./harms/revalidation.js";
import { scatter, unscatter } from "./harms/scattered.js";
import { timeSpawn } from "./harms/spawn.js";
import type { LossesFigures } from "./report-schema.js";
import { slice } from "./slices.js";
import { openEngine } from "./subject.js";
import type { LossesTask, Request, Target } from "./worker-protocol.js";

export function perform({ configuration, target, task }: Request): Promise<unknown> {
  switch (task.kind) {
    case "load":
      return slice(configuration.reads, target, task);
    case "losses":
      return findLosses(engineOf(configuration), target, task);
    case "rest":
      return rest(engineOf(configuration), target, task);
    case "spawn":
      return timeSpawn(configuration, target, task);
    case "revalidation":
      return revalidation(engineOf(configuration), target, task);
    case "migration":
      return migration(engineOf(configuration), target, task);
    case "scatter":
      return scatter(target, task);
    case "unscatter":
      return unscatter();
  }
}

function engineOf({ name, reads }: Configuration): EngineReads {
  if (reads.by !== "engine") throw new Error(`${name} has no engine`);
  return reads;
}

async function findLosses(reads: EngineReads, target: Target, task: LossesTask): Promise<LossesFigures> {
  const subject = await openEngine(reads, target);
  try {
    return await losses(subject.engine, subject.arena, subject.file, target, task);
  } finally {
    await subject.close();
  }
}
