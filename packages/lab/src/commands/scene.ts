/** `pinless-lab simulate scene`: a scene of the lab's page, in numbers. */

import { explaining, print, USAGE, UsageError, wholeNumber, whyUnwritable, writeJson } from "@pinless/cli/command";
import { Argument, Command } from "commander";
import { playScene, SCENE_DESIGNS, SCENE_FRAMES, type SceneOutcome } from "../tour/compact-scene.js";
import { compactionSentence } from "../tour/tour-actions.js";
import { TourMachine } from "../tour/tour-machine.js";

interface SceneFlags {
  readonly seed: number;
  readonly json?: string;
}

/** Report of a scene: its machines, which differ only in their design. */
interface SceneReport {
  readonly scene: string;
  readonly seed: number;
  readonly frames: number;
  readonly machines: readonly SceneOutcome[];
}

export function sceneCommand(): Command {
  return new Command("scene")
    .description("plays a scene of the page that pinless-lab serve shows, and prints its numbers")
    .addArgument(new Argument("<name>", "the scene").choices(["compact"]))
    .option("--seed <n>", "the seed of its machines", wholeNumber(0, 1e15), 1)
    .option("--json <file>", 'write the report as JSON; "-" is the standard output')
    .showHelpAfterError("(try pinless-lab simulate scene --help)")
    .exitOverride()
    .action((name: string, flags: SceneFlags) =>
      explaining("pinless-lab simulate", USAGE, [UsageError], () => scene(name, flags)),
    );
}

async function scene(name: string, { seed, json }: SceneFlags): Promise<void> {
  const unwritable = whyUnwritable(json, []);
  if (unwritable !== null) throw new UsageError(unwritable);
  const machines: SceneOutcome[] = [];
  for (const design of SCENE_DESIGNS)
    machines.push(await playScene(await TourMachine.open({ design, seed, frames: SCENE_FRAMES })));
  const report: SceneReport = { scene: name, seed, frames: SCENE_FRAMES, machines };
  if (!writeJson("pinless-lab simulate", report, json)) return;
  for (const { design, rounds } of machines)
    print([`${design}:`, ...rounds.map((round) => `  ${compactionSentence(round)}`), ""].join("\n"));
}
