/** `pinless-lab check`: explores small scenarios in every order, on the protocol that ships. */

import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import {
  explaining,
  FAILED,
  onInterrupt,
  print,
  progressBar,
  readInputFile,
  terminal,
  USAGE,
  UsageError,
  wholeNumber,
  whyUnwritable,
  writeJson,
} from "@pinless/cli/command";
import { Command, Option } from "commander";
import type { CaseReport } from "../check/run-case.js";
import { InputError } from "../simulate/input-error.js";
import { runPool, type Work } from "./check/pool.js";
import { parseScenario, type ScenarioFile } from "./check/scenario-file.js";
import { replay, writeFailure, writeSample } from "./check/traces.js";
import { checkLines, type FileReport, type MutantReport, mutantLines } from "./check-text.js";
import { type Modules, modulesFor, mutantLibrary, type SimulatedMutantRuns } from "./mutants.js";

const MAX_SCENARIO_BYTES = 1 << 20;
const MAX_THREADS = 1024;
const DEFAULTS = fileURLToPath(new URL("../../scenarios/", import.meta.url));

/** Options of an exploration. */
const REPORTING = ["mutants", "json", "failure", "threads"];

interface Flags {
  readonly mutants?: true;
  readonly mutant?: string;
  readonly threads?: number;
  readonly json?: string | true;
  readonly failure?: string;
  readonly sample?: string;
  readonly replay?: string;
}

export function checkCommand(): Command {
  return new Command("check")
    .description("Explores small scenarios exhaustively, with the engine's protocol on a simulated machine")
    .argument("[scenario...]", "files, or names of those in scenarios/ (default: all of these)")
    .addOption(
      new Option("--mutants", "leaves out one protective step at a time: each must lead to a violation").conflicts(
        "mutant",
      ),
    )
    .option("--mutant <name>", "leaves out this protective step, and shows the violation")
    .option("--threads <n>", "number of threads that explore (default: one for each core)", wholeNumber(1, MAX_THREADS))
    .option("--json [file]", "writes the report as JSON, to the standard output or a file")
    .option("--failure <file>", "writes the first violation's trace to this file, as ITF JSON")
    .addOption(
      new Option("--sample <file>", "only writes a long run of the one scenario named, as ITF JSON").conflicts(
        REPORTING,
      ),
    )
    .addOption(
      new Option("--replay <file>", "only replays a trace of --failure or --sample").conflicts([
        ...REPORTING,
        "sample",
        "mutant",
      ]),
    )
    .showHelpAfterError("(try pinless-lab check --help)")
    .exitOverride()
    .action(run);
}

async function run(names: readonly string[], flags: Flags): Promise<void> {
  await explaining("pinless-lab check", USAGE, [UsageError, InputError], async () => {
    const { json, failure, mutant, sample } = flags;
    if (flags.replay !== undefined) {
      if (names.length > 0) throw new UsageError("--replay takes the scenario from the trace's file: name none");
      return replay(flags.replay, terminal().columns);
    }
    if (sample !== undefined && names.length !== 1) throw new UsageError("--sample takes the name of one scenario");
    const asked = names.length > 0 ? names.map(fileOf) : await filesFor(mutant);
    const to = typeof json === "string" ? json : undefined;
    const why = whyUnwritable(to, [...asked, failure]) ?? whyUnwritable(failure ?? sample, asked);
    if (why !== null) throw new UsageError(why);
    const files = asked.map((file) =>
      parseScenario(readInputFile(file, MAX_SCENARIO_BYTES), path.basename(file, path.extname(file)), file),
    );
    if (sample !== undefined) await writeSample(files[0]!, mutant, sample);
    else if (flags.mutants === true) await checkMutants(files, flags, names.length === 0);
    else await check(files, flags, names.length > 0);
  });
}

/** Files of the shipped scenarios. For a mutant, the scenario that shows it comes first. */
async function filesFor(mutant: string | undefined): Promise<readonly string[]> {
  const first = mutant === undefined ? null : (await mutantLibrary()).named(mutant).shows;
  const names = shippedNames();
  return [...names.filter((name) => name === first), ...names.filter((name) => name !== first)].map(shipped);
}

/** Path of a file, or of the shipped scenario of that name. */
function fileOf(name: string): string {
  const isName = /^[\w-]+$/.test(name);
  if (isName && existsSync(shipped(name))) return shipped(name);
  // If a path doesn't exist, reading it reports that.
  if (!isName || existsSync(name)) return name;
  throw new UsageError(
    `there's no file "${name}", and no scenario of that name; there are ${shippedNames().join(", ")}`,
  );
}

function shipped(name: string): string {
  return path.join(DEFAULTS, `${name}.yaml`);
}

function shippedNames(): readonly string[] {
  return readdirSync(DEFAULTS)
    .filter((file) => file.endsWith(".yaml"))
    .map((file) => path.basename(file, ".yaml"))
    .sort();
}

/** Sorts the outcome of a case: a violation that the case expects is right, and its absence is a violation. */
function judge(of: FileReport, { name, violation, expects }: CaseReport): void {
  if (violation !== null) {
    (violation.invariant === expects ? of.expected : of.violations).push({ case: name, ...violation });
  } else if (expects !== null) {
    const message = `${expects}: the scenario expects that it doesn't hold, and it does`;
    of.violations.push({ case: name, invariant: expects, message, trace: [], path: [] });
  }
}

/** Sorts violations in the order of the cases: which of them ends first is by chance. */
function inOrder({ violations, expected }: FileReport, cases: readonly string[]): void {
  for (const found of [violations, expected]) found.sort((a, b) => cases.indexOf(a.case) - cases.indexOf(b.case));
}

/** Explores scenarios. With `named`, they were asked for by name, and their expected violations are listed too. */
async function check(files: readonly ScenarioFile[], flags: Flags, named: boolean): Promise<void> {
  const began = performance.now();
  const modules = await modulesFor(flags.mutant ?? null, "check");
  const reports: FileReport[] = files.map(({ name, about }) => ({
    name,
    about,
    cases: 0,
    states: 0,
    transitions: 0,
    depth: 0,
    seconds: 0,
    violations: [],
    expected: [],
  }));
  const orders = files.flatMap(({ cases }, file) => cases.map((scenario) => ({ scenario, brief: false, file })));
  try {
    const work = { modules: modules.url, orders, untilFound: flags.mutant !== undefined };
    const whole = await pool([work], flags, orders.length, (report, _, order) => {
      const of = reports[orders[order]!.file]!;
      of.cases++;
      of.states += report.states;
      of.transitions += report.transitions;
      of.depth = Math.max(of.depth, report.depth);
      of.seconds += report.seconds;
      judge(of, report);
    });
    if (!whole) return;
    for (const report of reports)
      inOrder(
        report,
        orders.map(({ scenario }) => scenario.name),
      );
    conclude(reports, (performance.now() - began) / 1000, flags, named);
    await writeFirst(files, reports, flags, named, modules.url);
  } finally {
    modules.remove();
  }
}

function conclude(all: readonly FileReport[], tookSeconds: number, flags: Flags, named: boolean): void {
  // With a mutant, the exploration ends at the first violation, and some files have no case explored.
  const scenarios = all.filter(({ cases }) => cases > 0);
  const sum = (of: (report: FileReport) => number): number =>
    scenarios.reduce((total, report) => total + of(report), 0);
  const states = sum((r) => r.states);
  const cpuSeconds = sum((r) => r.seconds);
  const report = {
    format: "pinless-check/1",
    states,
    transitions: sum((r) => r.transitions),
    tookSeconds,
    cpuSeconds,
    statesPerCpuSecond: Math.round(states / Math.max(cpuSeconds, 1e-6)),
    scenarios,
  };
  show(report, flags, (columns) => checkLines(report, named, columns));
  if (scenarios.some(({ violations }) => violations.length > 0)) process.exitCode = FAILED;
}

/** Writes the trace of the first violation; of scenarios that were named, of an expected one too. */
async function writeFirst(
  files: readonly ScenarioFile[],
  reports: readonly FileReport[],
  { failure, mutant }: Flags,
  named: boolean,
  modules: URL,
): Promise<void> {
  if (failure === undefined) return;
  for (const of of named ? (["violations", "expected"] as const) : (["violations"] as const))
    for (const [i, report] of reports.entries()) {
      const found = report[of].find(({ path }) => path.length > 0);
      if (found !== undefined) return writeFailure(files[i]!, found, mutant, modules, failure);
    }
}

/** Explores mutants. With `all`, also runs those that only random simulation finds. */
async function checkMutants(files: readonly ScenarioFile[], flags: Flags, all: boolean): Promise<void> {
  const { explored, simulated, mutate } = await mutantLibrary();
  const modules: Modules[] = [];
  const reports: MutantReport[] = [...explored, ...simulated].map(({ name, leavesOut }) => {
    return { name, leavesOut, killed: false, invariant: null, message: null, case: null, states: 0 };
  });
  try {
    for (const { name } of explored) modules.push(mutate(name, "check"));
    const works: Work[] = explored.map((mutant, m) => ({
      modules: modules[m]!.url,
      untilFound: true,
      orders: files
        .filter(({ name }) => name === mutant.shows)
        .flatMap(({ cases }) => cases.map((scenario) => ({ scenario, brief: true }))),
    }));
    const whole = await pool(works, flags, works.length, (report, m) => {
      const mutant = reports[m]!;
      mutant.states += report.states;
      if (report.violation === null || mutant.killed) return;
      const { invariant, message } = report.violation;
      Object.assign(mutant, { killed: true, invariant, message, case: report.name });
    });
    if (!whole) return;
  } finally {
    for (const each of modules) each.remove();
  }
  if (all) await simulateMutants(simulated, reports);
  const alive = reports.filter(({ killed }) => !killed);
  show({ format: "pinless-check-mutants/1", mutants: reports }, flags, (columns) => mutantLines(reports, columns));
  if (alive.length > 0) process.exitCode = FAILED;
}

async function simulateMutants(
  mutants: readonly SimulatedMutantRuns[],
  reports: readonly MutantReport[],
): Promise<void> {
  for (const mutant of mutants) {
    const found = await mutant.firstFailure();
    if (found?.failure == null) continue;
    const { what: invariant, message } = found.failure;
    const seen = { killed: true, invariant, message, case: `simulate: seed ${found.seed}` };
    Object.assign(reports.find(({ name }) => name === mutant.name)!, seen);
  }
}

/** Explores with a progress bar. Returns false if it was interrupted. */
async function pool(
  works: readonly Work[],
  flags: Flags,
  total: number,
  reported: (report: CaseReport, work: number, order: number) => void,
): Promise<boolean> {
  const interrupt = onInterrupt();
  const bar = progressBar("{bar} {value}/{total}");
  bar.update(0, total);
  const done = new Set<number>();
  let cases = 0;
  try {
    await runPool(works, {
      ...(flags.threads === undefined ? {} : { threads: flags.threads }),
      signal: interrupt.signal,
      reported: (report, work, order) => {
        cases++;
        if (report.violation !== null) done.add(work);
        bar.update(works.length === 1 ? cases : done.size, total);
        reported(report, work, order);
      },
    });
  } finally {
    bar.stop();
    interrupt.stop();
  }
  if (interrupt.exitCode !== null) process.exitCode = interrupt.exitCode;
  return interrupt.exitCode === null;
}

/** Prints a report as JSON, or as text beside a JSON file. */
function show(report: object, { json }: Flags, lines: (columns: number) => readonly string[]): void {
  if (writeJson("pinless-lab check", report, json === true ? "-" : json)) print(lines(terminal().columns).join("\n"));
}
