/** The machines of the scene "compact", brought to a step. */

import { useEffect, useRef, useState } from "preact/hooks";
import { COMPACT_STEPS, SCENE_DESIGNS, SCENE_FRAMES } from "../../src/tour/compact-scene.js";
import type { CompactionRound } from "../../src/tour/tour-machine.js";
import type { Look } from "../machine-calls.js";
import { callMachine } from "../machines.js";
import type { Rounds } from "./compact-words.js";

type Design = (typeof SCENE_DESIGNS)[number];

export interface SceneMachine {
  readonly look: Look;
  /** Rounds of compaction so far. */
  readonly rounds: readonly CompactionRound[];
}

export interface Scene {
  readonly machines: Partial<Record<Design, SceneMachine>>;
  readonly rounds: Rounds;
  /** True if the machines have come to the step. */
  readonly isThere: boolean;
  readonly error: string | null;
}

/** A machine on its way: the steps that were asked of it so far. */
interface Run {
  readonly seed: number;
  asked: number;
  machine: Promise<SceneMachine>;
}

function open(design: Design, seed: number): Run {
  const machine = callMachine(design, "open", { design, seed, frames: SCENE_FRAMES });
  return { seed, asked: 0, machine: machine.then((look) => ({ look, rounds: [] })) };
}

/** Has a machine do the steps up to `step`, from its present one or, where that is later, from the start. */
function bring(design: Design, run: Run | undefined, seed: number, step: number): Run {
  const going = run?.seed === seed && run.asked <= step ? run : open(design, seed);
  while (going.asked < step) {
    going.asked++;
    const before = going.machine;
    const called = callMachine(design, "sceneStep", COMPACT_STEPS[going.asked]!);
    going.machine = Promise.all([before, called]).then(([{ rounds }, { rounds: more, ...look }]) => ({
      look,
      rounds: [...rounds, ...more],
    }));
  }
  return going;
}

export function useScene(seed: number, step: number): Scene {
  const runs = useRef<Partial<Record<Design, Run>>>({});
  const [there, setThere] = useState<{ readonly at: string; readonly machines: Scene["machines"] }>();
  const [error, setError] = useState<string | null>(null);
  const at = `${seed} ${step}`;
  useEffect(() => {
    let isWanted = true;
    const machines = SCENE_DESIGNS.map(async (design) => {
      const run = bring(design, runs.current[design], seed, step);
      runs.current[design] = run;
      return [design, await run.machine] as const;
    });
    Promise.all(machines).then(
      (entries) => {
        if (isWanted) setThere({ at, machines: Object.fromEntries(entries) });
      },
      (failure: Error) => {
        runs.current = {};
        if (isWanted) setError(failure.message);
      },
    );
    return () => {
      isWanted = false;
    };
  }, [seed, step, at]);
  const machines = there?.machines ?? {};
  const rounds = { pins: machines.pins?.rounds ?? [], leases: machines.leases?.rounds ?? [] };
  return { machines, rounds, isThere: there?.at === at, error };
}
