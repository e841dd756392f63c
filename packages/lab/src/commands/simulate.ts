/** `pinless-lab simulate`: the engine that ships, in a simulated machine, under random load and faults. */

import { setFlagsFromString } from "node:v8";
import {
  complain,
  engineName,
  FAILED,
  onInterrupt,
  parseJson,
  print,
  printJson,
  terminal,
  USAGE,
  UsageError,
  wholeNumber,
  whyUnwritable,
  writeJson,
} from "@pinless/cli/command";
import { SingleBar } from "cli-progress";
import { Command, InvalidArgumentError, Option } from "commander";
import type { campaign } from "../simulate/campaign.js";
import { InputError } from "../simulate/input-error.js";
import { changesOf } from "../simulate/overrides.js";
import { type CampaignReport, MOST, merge, type Ran, runsOf, type Shard } from "../simulate/report.js";
import type { simulate } from "../simulate/run-simulation.js";
import type { Swarm } from "../simulate/swarm.js";
import { calibration } from "./calibration.js";
import { modulesFor } from "./mutants.js";
import { renderCampaign, reportOf, toReplay } from "./simulate-report.js";
import { whatIf } from "./what-if.js";

interface Flags {
  readonly seed: number;
  readonly runs?: number;
  readonly requests: number;
  readonly shard?: Shard;
  readonly change?: unknown;
  readonly trace?: true;
  readonly mutant?: string;
  readonly merge?: readonly string[];
  readonly replay?: string;
  readonly json?: string;
  readonly whatIf?: string;
  readonly calibrate?: true;
}

/** Runs of a campaign where nobody says how many. */
const RUNS = 1000;
/** What says which runs are made. */
const RUN_ONLY = ["runs", "requests", "shard", "change", "trace", "mutant"];
/** What is of use only where the engine runs. */
const ENGINE_ONLY = [...RUN_ONLY, "merge", "replay"];

export function simulateCommand(version: string): Command {
  return new Command("simulate")
    .description(
      "The engine in a simulated machine, in virtual time, under random load and faults: the same seed is the same run",
    )
    .option("--seed <n>", "the first seed", wholeNumber(0, 1e15), 1)
    .option(
      "--runs <n>",
      `how many seeds, one after the other (default: ${RUNS}; 1 with --trace or --change)`,
      wholeNumber(1, MOST.runs),
    )
    .option("--requests <n>", "requests of a run", wholeNumber(1, MOST.requests), 2000)
    .option(
      "--shard <i/n>",
      "only every n-th seed, from the i-th (0 to n-1) on; just n: i is $JOB_COMPLETION_INDEX",
      shard,
    )
    .option("--change <json>", "what is to be otherwise than the seeds have it, as a failure says it", change)
    .addOption(new Option("--trace", "one run: everything that happens, line by line").conflicts(["shard", "json"]))
    .option("--mutant <name>", "with one protective step of the engine left out, as in check")
    .addOption(
      new Option("--merge <file...>", "run nothing, add up the JSON of shards").conflicts([
        ...RUN_ONLY,
        "seed",
        "replay",
      ]),
    )
    .addOption(
      new Option(
        "--replay <file>",
        "has the failures of such a JSON once more; exits with 1 if there are any",
      ).conflicts([...RUN_ONLY, "seed", "json"]),
    )
    .addOption(
      new Option(
        "--what-if <file>",
        "no engine: three designs of direct I/O on a machine and a load that the file describes (what-if/README.md)",
      ).conflicts(ENGINE_ONLY),
    )
    .addOption(
      new Option(
        "--calibrate",
        "no engine: what that model makes of what was measured; exits with 1 where another design is better than was",
      ).conflicts([...ENGINE_ONLY, "whatIf"]),
    )
    .option("--json <file>", 'write the report as JSON; "-" is the standard output')
    .showHelpAfterError("(try pinless-lab simulate --help)")
    .exitOverride()
    .action((flags: Flags, command: Command) => {
      const { trace, runs = RUNS, shard } = flags;
      if (trace === true && flags.runs !== undefined && runs !== 1)
        command.error(`error: --trace is of one run, not of ${runs}: --seed says which`);
      if (shard !== undefined && runsOf(runs, shard) === 0)
        command.error(
          `error: of ${runs} runs none is in shard ${shard.index} of ${shard.of}: ask for more, or fewer shards`,
        );
      return run(flags, version);
    });
}

function shard(text: string): Shard {
  const [, first, second] = /^(\d+)(?:\/(\d+))?$/.exec(text) ?? [];
  const of = Number(second ?? first);
  const index = Number(second === undefined ? process.env.JOB_COMPLETION_INDEX : first);
  if (!(of >= 1 && of <= MOST.shards) || !(index >= 0 && index < of))
    throw new InvalidArgumentError(
      `It takes i/n, with i from 0 to n-1, and n up to ${MOST.shards.toLocaleString("en-US")}; or n, with i in $JOB_COMPLETION_INDEX.`,
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

/** The simulation, of the engine that ships or of one with a mistake in it. */
interface Simulation {
  readonly campaign: typeof campaign;
  readonly simulate: typeof simulate;
}

async function load(modules: URL): Promise<Simulation> {
  // Machine code for all of it from its first call on: a campaign is over in seconds, and took a sixth less so. Nothing of it is promised.
  setFlagsFromString("--always-sparkplug");
  const { campaign } = (await import(new URL("simulate/campaign.js", modules).href)) as Pick<Simulation, "campaign">;
  const { simulate } = (await import(new URL("simulate/run-simulation.js", modules).href)) as Pick<
    Simulation,
    "simulate"
  >;
  return { campaign, simulate };
}

async function run(flags: Flags, version: string): Promise<void> {
  const engine = engineName(version);
  if (flags.whatIf !== undefined) return whatIf({ ...flags, whatIf: flags.whatIf }, engine);
  try {
    const unwritable = whyUnwritable(flags.json, [...(flags.merge ?? []), flags.replay]);
    if (unwritable !== null) throw new InputError(unwritable);
    if (flags.calibrate === true) calibration(engine, flags.seed, flags.json);
    else if (flags.merge !== undefined) conclude(merge(flags.merge.map(reportOf)), flags);
    else if (flags.replay !== undefined) await replay(flags.replay, engine);
    else {
      const { seed, change: changes = {}, mutant = null } = flags;
      const changed = changesOf(seed, changes);
      await withSimulation(mutant, (simulation) => runOn(simulation, flags, changed, { engine, mutant }));
    }
  } catch (error) {
    if (!(error instanceof UsageError) && !(error instanceof InputError)) throw error;
    complain("pinless-lab simulate", (error as Error).message);
    process.exitCode = USAGE;
  }
}

async function withSimulation(mutant: string | null, body: (simulation: Simulation) => Promise<void>): Promise<void> {
  const modules = await modulesFor(mutant, "simulate");
  try {
    await body(await load(modules.url));
  } finally {
    modules.remove();
  }
}

async function runOn(simulation: Simulation, flags: Flags, changes: Partial<Swarm>, ran: Ran): Promise<void> {
  const one = flags.trace === true || (flags.change !== undefined && flags.runs === undefined);
  if (one) return oneRun(simulation, flags, changes);
  const before = process.cpuUsage();
  const report = await runAll(simulation, flags, changes, ran);
  const { user, system } = process.cpuUsage(before);
  conclude(report, flags, (user + system) / 1e6);
}

/** `cpuSeconds`: that it took; not part of the report, which is the same wherever it's made. */
function conclude(report: CampaignReport, { json }: Flags, cpuSeconds?: number): void {
  if (writeJson("pinless-lab simulate", report, json)) print(renderCampaign(report, terminal().columns, cpuSeconds));
  if (report.failures.length > 0) process.exitCode ??= FAILED;
}

async function oneRun({ simulate }: Simulation, flags: Flags, changes: Partial<Swarm>): Promise<void> {
  const { seed, requests, trace } = flags;
  const steps = trace === true ? (line: string): void => print(`${line}\n`) : undefined;
  const report = await simulate({ seed, requests, changes, ...(steps === undefined ? {} : { steps }) });
  if (writeJson("pinless-lab simulate", report, flags.json)) printJson(report);
  if (report.failure !== null) process.exitCode = FAILED;
}

/** Each failure of a report again, from its seed and what was changed. */
async function replay(file: string, engine: string): Promise<void> {
  const { report, note } = toReplay(file, engine);
  if (note !== null) complain("pinless-lab simulate", note);
  const interrupt = onInterrupt();
  await withSimulation(report.mutant, async ({ simulate }) => {
    let [tried, failed] = [0, 0];
    for (const { seed, requests, changes, what } of report.failures) {
      // Signals come between two runs.
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

async function runAll(
  { campaign }: Simulation,
  flags: Flags,
  changes: Partial<Swarm>,
  ran: Ran,
): Promise<CampaignReport> {
  const interrupt = onInterrupt();
  const bar = process.stderr.isTTY
    ? new SingleBar({
        stream: process.stderr,
        format: "{bar} {value}/{total} runs",
        clearOnComplete: true,
        gracefulExit: false,
      })
    : null;
  try {
    const report = await campaign({
      seed: flags.seed,
      runs: flags.runs ?? RUNS,
      requests: flags.requests,
      changes,
      shard: flags.shard ?? { index: 0, of: 1 },
      ...ran,
      signal: interrupt.signal,
      progress: (done, of) => {
        if (done === 1) bar?.start(of, 0);
        bar?.update(done);
      },
    });
    if (interrupt.exitCode !== null) process.exitCode = interrupt.exitCode;
    return report;
  } finally {
    bar?.stop();
    interrupt.stop();
  }
}
