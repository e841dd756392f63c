/**
 * The scene "compact": two machines with the same seed, one with pins for ever and one with leases, whose kernel
 * compacts memory. The page shows it step by step, and the command line prints its numbers.
 */

import type { TourDesign } from "./tour-designs.js";
import type { CompactionRound, TourMachine } from "./tour-machine.js";

export const SCENE_FRAMES = 65_536;
export const SCENE_DESIGNS = ["pins", "leases"] as const satisfies readonly TourDesign[];

/** Steps of the scene, by the thing that each does to both machines. */
const STEPS = ["look", "read", "compact", "compact again", "result"] as const;
export type SceneStep = (typeof STEPS)[number];
export const COMPACT_STEPS: readonly SceneStep[] = STEPS;

/** Long enough that the program has used every part of its buffers. */
const READ_MS = 300;
/** Linux's proactive compaction comes in rounds half a second apart. */
const ROUND_MS = 500;
const MORE_ROUNDS = 2;

/** Does a step on a machine that has done those before. Returns the rounds of compaction that it took. */
export async function takeSceneStep(machine: TourMachine, step: SceneStep): Promise<CompactionRound[]> {
  const rounds: CompactionRound[] = [];
  switch (step) {
    case "read":
      machine.setReading(true);
      await machine.advance(READ_MS);
      break;
    case "compact":
      rounds.push(machine.compact());
      break;
    case "compact again":
      for (let round = 0; round < MORE_ROUNDS; round++) {
        await machine.advance(ROUND_MS);
        rounds.push(machine.compact());
      }
      break;
  }
  return rounds;
}

/** Rounds of compaction on one machine. */
export interface SceneOutcome {
  readonly design: TourDesign;
  readonly rounds: readonly CompactionRound[];
}

/** Does the whole scene on a machine that was just opened. */
export async function playScene(machine: TourMachine): Promise<SceneOutcome> {
  const rounds: CompactionRound[] = [];
  for (const step of COMPACT_STEPS) rounds.push(...(await takeSceneStep(machine, step)));
  return { design: machine.design, rounds };
}
