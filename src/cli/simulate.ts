/** `pinless simulate`: the engine that ships, in a simulated machine, under random load and faults. */

import { readFileSync, writeFileSync } from "node:fs";
import { SingleBar } from "cli-progress";
import { Command, InvalidArgumentError, Option } from "commander";
import { type CampaignReport, type campaign, type FoundFailure, merge, type Shard } from "../simulate/campaign.js";
import type { simulate } from "../simulate/run.js";
import type { Swarm } from "../simulate/swarm.js";
import { calibration } from "./calibration.js";
import { mutantNamed, mutate, SIMULATED } from "./check/mutate.js";
import { BUILT } from "./check/pool.js";
import { ScenarioError } from "./check/scenario-file.js";
import { onInterrupt } from "./interrupt.js";
import { whatIf } from "./what-if.js";

const FAILED = 1;
const USAGE = 2;

interface Flags {
  readonly seed: number;
  readonly runs: number;
  readonly requests: number;
  readonly shard?: Shard;
  readonly change?: Partial<Swarm>;
  readonly trace?: true;
  readonly mutant?: string;
  readonly merge?: readonly string[];
  readonly json?: string;
  readonly whatIf?: string;
  readonly calibrate?: true;
}

/** What is of use only where the engine runs. */
const ENGINE_ONLY = ["runs", "requests", "shard", "change", "trace", "mutant", "merge"];

export function simulateCommand(version: string): Command {
  return new Command("simulate")
    .description(
      "The engine in a simulated machine, in virtual time, under random load and faults: the same seed is the same run",
    )
    .option("--seed <n>", "the first seed", wholeNumber, 1)
    .option("--runs <n>", "how many seeds, one after the other", wholeNumber, 100)
    .option("--requests <n>", "requests of a run", wholeNumber, 2000)
    .option(
      "--shard <i/n>",
      "only every n-th seed, from the i-th (0 to n-1) on; just n: i is $JOB_COMPLETION_INDEX",
      shard,
    )
    .option(
      "--change <json>",
      "with one run: what is to be otherwise than the seed has it, as a failure says it",
      change,
    )
    .option("--trace", "with one run: everything that happens, line by line")
    .option("--mutant <name>", "with one protective step of the engine left out, as in check")
    .option("--merge <file...>", "run nothing, add up the JSON of shards")
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
    .showHelpAfterError("(try pinless simulate --help)")
    .exitOverride()
    .action((flags: Flags) => run(flags, version));
}

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("It takes a whole number.");
  return Number(text);
}

function shard(text: string): Shard {
  const [, first, second] = /^(\d+)(?:\/(\d+))?$/.exec(text) ?? [];
  const of = Number(second ?? first);
  const index = Number(second === undefined ? process.env.JOB_COMPLETION_INDEX : first);
  if (!(of >= 1) || !(index >= 0 && index < of))
    throw new InvalidArgumentError("It takes i/n, with i from 0 to n-1; or n, with i in $JOB_COMPLETION_INDEX.");
  return { index, of };
}

function change(text: string): Partial<Swarm> {
  try {
    return JSON.parse(text) as Partial<Swarm>;
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
  const { campaign } = (await import(new URL("simulate/campaign.js", modules).href)) as Pick<Simulation, "campaign">;
  const { simulate } = (await import(new URL("simulate/run.js", modules).href)) as Pick<Simulation, "simulate">;
  return { campaign, simulate };
}

async function run(flags: Flags, version: string): Promise<void> {
  if (flags.calibrate === true) return calibration(engineName(version), flags.seed, flags.json);
  if (flags.whatIf !== undefined) return whatIf({ ...flags, whatIf: flags.whatIf }, engineName(version));
  if (flags.mutant === undefined) return runOn(await load(BUILT), flags, version);
  try {
    const modules = mutate(mutantNamed(flags.mutant), SIMULATED);
    try {
      await runOn(await load(modules.url), flags, `${version} without "${flags.mutant}"`);
    } finally {
      modules.remove();
    }
  } catch (error) {
    if (!(error instanceof ScenarioError)) throw error;
    process.stderr.write(`pinless simulate: ${error.message}\n`);
    process.exitCode = USAGE;
  }
}

async function runOn(simulation: Simulation, flags: Flags, version: string): Promise<void> {
  if (flags.trace === true || flags.change !== undefined) return oneRun(simulation, flags);
  const report = flags.merge === undefined ? await runAll(simulation, flags, version) : merged(flags.merge);
  if (report === null) {
    process.exitCode = FAILED;
    return;
  }
  const text = `${JSON.stringify(report, null, 2)}\n`;
  if (flags.json !== undefined && flags.json !== "-") writeFileSync(flags.json, text);
  process.stdout.write(flags.json === "-" ? text : render(report, flags.mutant));
  if (report.failures.length > 0) process.exitCode = FAILED;
}

async function oneRun({ simulate }: Simulation, flags: Flags): Promise<void> {
  const { seed, requests, change: changes = {}, trace } = flags;
  const steps = trace === true ? (line: string): void => void process.stdout.write(`${line}\n`) : undefined;
  const report = await simulate({ seed, requests, changes, ...(steps === undefined ? {} : { steps }) });
  process.stdout.write(`${JSON.stringify(report)}\n`);
  if (report.failure !== null) process.exitCode = FAILED;
}

async function runAll({ campaign }: Simulation, flags: Flags, version: string): Promise<CampaignReport> {
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
      runs: flags.runs,
      requests: flags.requests,
      shard: flags.shard ?? { index: 0, of: 1 },
      engine: engineName(version),
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

/** A failure is an engine and a seed: in a checkout the engine is the commit. */
function engineName(version: string): string {
  const git = new URL("../../.git/", import.meta.url);
  try {
    const head = readFileSync(new URL("HEAD", git), "utf8").trim();
    const ref = /^ref: (.+)$/.exec(head)?.[1];
    return `pinless ${version} ${ref === undefined ? head : readFileSync(new URL(ref, git), "utf8").trim()}`;
  } catch {
    return `pinless ${version}`;
  }
}

function merged(files: readonly string[]): CampaignReport | null {
  try {
    return merge(files.map((name) => ({ name, json: readFileSync(name, "utf8") })));
  } catch (error) {
    process.stderr.write(`pinless simulate: ${(error as Error).message}\n`);
    return null;
  }
}

function render(report: CampaignReport, mutant: string | undefined): string {
  const { engine, runs, requests, operations, virtualMs, failures } = report;
  const count = (n: number): string => Math.round(n).toLocaleString("en");
  return [
    `${engine}: ${count(runs)} runs, ${count(requests)} requests, ${count(operations)} memory operations in ${count(virtualMs / 1000)} s of virtual time`,
    ...failures.flatMap((failure) => describeFailure(failure, mutant)),
    failures.length === 0 ? "no failure" : `${count(failures.length)} failed`,
    "",
  ].join("\n");
}

function describeFailure(failure: FoundFailure, mutant: string | undefined): readonly string[] {
  const { seed, requests, changes, what, message, atMs } = failure;
  const without = mutant === undefined ? "" : ` --mutant ${mutant}`;
  const change = Object.keys(changes).length === 0 ? "" : ` --change '${JSON.stringify(changes)}'`;
  return [
    `seed ${seed}: ${what} after ${atMs.toFixed(3)} ms`,
    `  ${message}`,
    `  again, with all steps: pinless simulate --seed ${seed} --requests ${requests}${change}${without} --trace`,
  ];
}
