/** `pinless-lab simulate`: runs the shipped engine in a simulated machine, under random load and faults. */

import { setFlagsFromString } from "node:v8";
import {
  complain,
  engineName,
  explaining,
  FAILED,
  onInterrupt,
  parseJson,
  print,
  printJson,
  progressBar,
  terminal,
  USAGE,
  UsageError,
  wholeNumber,
  whyUnwritable,
  writeJson,
} from "@pinless/cli/command";
import { Command, InvalidArgumentError } from "commander";
import type { campaign } from "../simulate/campaign.js";
import { InputError } from "../simulate/input-error.js";
import { changesOf } from "../simulate/overrides.js";
import { type CampaignReport, MOST, merge, runsOf, type Shard, type SimulationOutcome } from "../simulate/report.js";
import type { simulate } from "../simulate/run-simulation.js";
import { GrowingFile } from "./growing-file.js";
import { modulesFor } from "./mutants.js";
import { sceneCommand } from "./scene.js";
import { renderCampaign, reportOf, toReplay } from "./simulate-report.js";

interface RunFlags {
  readonly seed: number;
  readonly requests: number;
  readonly change?: unknown;
  readonly mutant?: string;
}

interface TraceFlags extends RunFlags {
  readonly traceJson?: string;
}

interface CampaignFlags extends RunFlags {
  readonly runs: number;
  readonly shard?: Shard;
  readonly json?: string;
}

const RUNS = 1000;
const HELP = `
Without the name of a command, the arguments are those of run. The same seed
gives the same run, on every version of Node.`;

export function simulateCommand(version: string): Command {
  const engine = engineName(version);
  return new Command("simulate")
    .description("Runs the engine in a simulated machine, in virtual time, under random load and faults")
    .addHelpText("after", HELP)
    .addCommand(runCommand(engine), { isDefault: true })
    .addCommand(traceCommand())
    .addCommand(replayCommand(engine))
    .addCommand(mergeCommand())
    .addCommand(sceneCommand());
}

function named(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .showHelpAfterError(`(try pinless-lab simulate ${name} --help)`)
    .exitOverride();
}

function withRunOptions(command: Command): Command {
  return command
    .option("--seed <n>", "the first seed", wholeNumber(0, 1e15), 1)
    .option("--requests <n>", "requests of a run", wholeNumber(1, MOST.requests), 2000)
    .option("--change <json>", "overrides of the settings drawn from the seed, as a failure prints them", change)
    .option("--mutant <name>", "leaves one protective step of the engine out, as in check");
}

function runCommand(engine: string): Command {
  return withRunOptions(named("run", "runs many seeds, one after the other; exits with 1 if one fails"))
    .option("--runs <n>", "number of seeds", wholeNumber(1, MOST.runs), RUNS)
    .option(
      "--shard <i/n>",
      "only every n-th seed, from the i-th (0 to n-1) on; with only n given, i is $JOB_COMPLETION_INDEX",
      shard,
    )
    .option("--json <file>", 'write the report as JSON; "-" is the standard output')
    .action((flags: CampaignFlags, command: Command) => {
      const { runs, shard } = flags;
      if (shard !== undefined && runsOf(runs, shard) === 0)
        command.error(
          `error: of ${runs} runs none is in shard ${shard.index} of ${shard.of}: ask for more runs, or fewer shards`,
        );
      return act(flags.json, [], () => run(flags, engine));
    });
}

function traceCommand(): Command {
  return withRunOptions(named("trace", "prints all events of the run of one seed"))
    .option("--trace-json <file>", "write them as Chrome trace events instead, which Perfetto shows")
    .action((flags: TraceFlags) => act(flags.traceJson, [], () => trace(flags)));
}

function replayCommand(engine: string): Command {
  return named("replay", "repeats the failures of a report of run --json; exits with 1 if one still fails")
    .argument("<file>", "the report")
    .action((file: string) => act(undefined, [], () => replay(file, engine)));
}

function mergeCommand(): Command {
  return named("merge", "merges the reports of shards, and names missing ones")
    .argument("<file...>", "the reports")
    .option("--json <file>", 'write the merged report as JSON; "-" is the standard output')
    .action((files: readonly string[], { json }: { readonly json?: string }) =>
      act(json, files, () => conclude(merge(files.map(reportOf)), json)),
    );
}

/** Runs a command, unless its report couldn't be written, or would replace one of the files that it reads. */
function act(json: string | undefined, inputs: readonly string[], work: () => void | Promise<void>): Promise<void> {
  return explaining("pinless-lab simulate", USAGE, [UsageError, InputError], () => {
    const unwritable = whyUnwritable(json, inputs);
    if (unwritable !== null) throw new UsageError(unwritable);
    return work();
  });
}

function shard(text: string): Shard {
  const [, first, second] = /^(\d+)(?:\/(\d+))?$/.exec(text) ?? [];
  const of = Number(second ?? first);
  const index = Number(second === undefined ? process.env.JOB_COMPLETION_INDEX : first);
  if (!(of >= 1 && of <= MOST.shards) || !(index >= 0 && index < of))
    throw new InvalidArgumentError(
      `It takes i/n, with i from 0 to n-1, and n up to ${MOST.shards.toLocaleString("en-US")}; ` +
        "or n, with i in $JOB_COMPLETION_INDEX.",
    );
  return { index, of };
}

function change(text: string): unknown {
  try {
    return parseJson(text).value;
  } catch (error) {
    throw new InvalidArgumentError(`It takes JSON: ${(error as Error).message}`);
  }
}

/** The simulation, of the engine that ships or of a mutant. */
interface Simulation {
  readonly campaign: typeof campaign;
  readonly simulate: typeof simulate;
}

async function withSimulation(
  mutant: string | undefined,
  body: (simulation: Simulation) => void | Promise<void>,
): Promise<void> {
  const modules = await modulesFor(mutant ?? null, "simulate");
  // Compiles every function at its first call, which made campaigns of seconds a sixth faster. V8 doesn't promise that
  // the flag exists.
  setFlagsFromString("--always-sparkplug");
  try {
    const { campaign } = (await import(new URL("simulate/campaign.js", modules.url).href)) as Omit<
      Simulation,
      "simulate"
    >;
    const { simulate } = (await import(new URL("simulate/run-simulation.js", modules.url).href)) as Omit<
      Simulation,
      "campaign"
    >;
    await body({ campaign, simulate });
  } finally {
    modules.remove();
  }
}

async function run(flags: CampaignFlags, engine: string): Promise<void> {
  const changes = changesOf(flags.seed, flags.change ?? {});
  await withSimulation(flags.mutant, async ({ campaign }) => {
    const before = process.cpuUsage();
    const ran: SimulationOutcome = { engine, mutant: flags.mutant ?? null };
    const interrupt = onInterrupt();
    const bar = progressBar("{bar} {value}/{total} runs");
    try {
      const report = await campaign({
        seed: flags.seed,
        runs: flags.runs,
        requests: flags.requests,
        changes,
        shard: flags.shard ?? { index: 0, of: 1 },
        ...ran,
        signal: interrupt.signal,
        progress: (done, of) => bar.update(done, of),
      });
      bar.stop();
      if (interrupt.exitCode !== null) process.exitCode = interrupt.exitCode;
      const { user, system } = process.cpuUsage(before);
      conclude(report, flags.json, (user + system) / 1e6);
    } finally {
      bar.stop();
      interrupt.stop();
    }
  });
}

/** Prints a report. CPU time isn't part of the report, which is the same on every machine. */
function conclude(report: CampaignReport, json: string | undefined, cpuSeconds?: number): void {
  if (writeJson("pinless-lab simulate", report, json)) print(renderCampaign(report, terminal().columns, cpuSeconds));
  if (report.failures.length > 0) process.exitCode ??= FAILED;
}

async function trace({ seed, requests, change, mutant, traceJson }: TraceFlags): Promise<void> {
  const changes = changesOf(seed, change ?? {});
  await withSimulation(mutant, async ({ simulate }) => {
    const file = traceJson === undefined ? null : new GrowingFile(traceJson);
    const to = file === null ? { steps: (line: string) => print(`${line}\n`) } : { lanes: file.add };
    const report = await simulate({ seed, requests, changes, ...to });
    file?.close();
    printJson(report);
    if (report.failure !== null) process.exitCode = FAILED;
  });
}

async function replay(file: string, engine: string): Promise<void> {
  const { report, note } = toReplay(file, engine);
  if (note !== null) complain("pinless-lab simulate", note);
  const interrupt = onInterrupt();
  await withSimulation(report.mutant ?? undefined, async ({ simulate }) => {
    let [tried, failed] = [0, 0];
    for (const { seed, requests, changes, what } of report.failures) {
      // A signal is delivered between two runs.
      await new Promise((resolve) => setImmediate(resolve));
      if (interrupt.signal.aborted) break;
      const { failure } = await simulate({ seed, requests, changes });
      tried++;
      if (failure !== null) failed++;
      const now = failure === null ? "doesn't fail any more" : failure.message;
      print(`seed ${seed}: ${now}${failure !== null && failure.what !== what ? ` (was ${what})` : ""}\n`);
    }
    print(`${failed} of ${tried} fail\n`);
    if (failed > 0) process.exitCode = FAILED;
  });
  interrupt.stop();
  if (interrupt.exitCode !== null) process.exitCode = interrupt.exitCode;
}
