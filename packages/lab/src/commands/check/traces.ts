/** Writes traces of `pinless-lab check` to files, and replays them. */

import { complain, FAILED, print, printable, UsageError, writeJson } from "@pinless/cli/command";
import type { Retraced, retrace, sample } from "../../check/retrace.js";
import { type FoundCase, violationLines } from "../check-text.js";
import { modulesFor } from "../mutants.js";
import type { ScenarioFile } from "./scenario-file.js";
import { readTrace, type TraceOrigin, type TraceToReplay, traceFile } from "./trace-file.js";

const PROGRAM = "pinless-lab check";

interface Retracing {
  readonly retrace: typeof retrace;
  readonly sample: typeof sample;
}

/** Loads the functions of the modules that ship, or of a mutant's. */
function retracing(modules: URL): Promise<Retracing> {
  return import(new URL("check/retrace.js", modules).href) as Promise<Retracing>;
}

/** Writes the trace of a violation, which the modules at this address have led to. */
export async function writeFailure(
  { name, text, cases }: ScenarioFile,
  found: FoundCase,
  mutant: string | undefined,
  modules: URL,
  to: string,
): Promise<void> {
  const scenario = cases.find((each) => each.name === found.case)!;
  const retraced = (await retracing(modules)).retrace(scenario, found.path);
  write({ name, text, case: found.case, mutant: mutant ?? null }, retraced, to);
}

function write(origin: TraceOrigin, retraced: Retraced, to: string): void {
  writeJson(PROGRAM, traceFile(origin, retraced), to);
  if (to !== "-") process.stderr.write(`the trace is in ${printable(to)}\n`);
}

/** Writes one long run of a scenario's first case, to the state in which nothing can happen any more. */
export async function writeSample(
  { name, text, cases }: ScenarioFile,
  mutant: string | undefined,
  to: string,
): Promise<void> {
  const [scenario] = cases;
  if (scenario === undefined) throw new UsageError(`the scenario "${name}" has no case`);
  const modules = await modulesFor(mutant ?? null, "check");
  try {
    const retraced = (await retracing(modules.url)).sample(scenario);
    write({ name, text, case: scenario.name, mutant: mutant ?? null }, retraced, to);
    if (retraced.broken === null) return;
    complain(PROGRAM, `the run ends with a violation: ${retraced.broken.message}`);
    if (retraced.broken.invariant !== scenario.expects) process.exitCode = FAILED;
  } finally {
    modules.remove();
  }
}

/** Replays a trace, with the engine that it's of: the one that ships, or a mutant. */
export async function replay(file: string, columns: number): Promise<void> {
  const trace = readTrace(file);
  const modules = await modulesFor(trace.mutant, "check");
  try {
    const retraced = (await retracing(modules.url)).retrace(trace.scenario, trace.path);
    print([...replayLines(trace, retraced, columns), ""].join("\n"));
    const same = retraced.broken?.message === trace.violated?.message && retraced.impossible === null;
    if (!same || (retraced.broken !== null && retraced.broken.invariant !== trace.scenario.expects))
      process.exitCode = FAILED;
  } finally {
    modules.remove();
  }
}

function replayLines(trace: TraceToReplay, retraced: Retraced, columns: number): readonly string[] {
  const { broken, steps, impossible } = retraced;
  const was = trace.violated === null ? "the file ends with no violation" : `was ${printable(trace.violated.message)}`;
  const shown = {
    case: trace.case,
    invariant: broken?.invariant ?? "",
    message: broken?.message ?? (impossible === null ? "nothing is violated" : "the replay ends here"),
    trace: steps,
    path: trace.path,
  };
  const changed = steps.findIndex(({ what }, i) => what !== trace.texts[i]);
  const notes = [
    ...(impossible === null
      ? []
      : [`step ${impossible + 1} isn't possible any more: ${printable(trace.texts[impossible]!)}`]),
    ...(changed < 0
      ? []
      : [`step ${changed + 1} has another meaning than in the file: ${printable(trace.texts[changed]!)}`]),
    broken?.message === trace.violated?.message ? "the replay ends as the file does" : was,
  ];
  return [...violationLines(shown, columns), ...notes.map((note) => `  ${note}`)];
}
