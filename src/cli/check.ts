/** `pinless check`: every order of what can happen in small scenarios, on the core that ships. */

import { readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { SingleBar } from "cli-progress";
import { Command } from "commander";
import type { CaseReport, Violation } from "../simulate/check/run.js";
import { EXPLORED_MUTANTS, MUTANTS, mutantNamed } from "./check/mutants.js";
import { CHECKED, type MutatedModules, mutate } from "./check/mutate.js";
import { BUILT, runPool, type Work } from "./check/pool.js";
import { parseScenario, ScenarioError, type ScenarioFile } from "./check/scenario-file.js";
import { firstFailure, SIMULATED_MUTANTS } from "./check/simulated-mutants.js";
import { InputFileError, readInputFile } from "./input-file.js";
import { onInterrupt } from "./interrupt.js";
import { complain } from "./output.js";

const FAILED = 1;
const USAGE = 2;
const MAX_SCENARIO_BYTES = 1 << 20;
const DEFAULTS = fileURLToPath(new URL("../../scenarios/", import.meta.url));

interface Flags {
  readonly mutants?: true;
  readonly mutant?: string;
  readonly threads?: number;
  readonly json?: string | true;
  readonly failure: string;
}

export function checkCommand(): Command {
  return new Command("check")
    .description("Explores small scenarios exhaustively, on the engine's core and a simulated machine")
    .argument("[scenario...]", "files, or names of those in scenarios/ (default: all of these)")
    .option("--mutants", "leaves one protective step of the engine out at a time: each must be found out")
    .option("--mutant <name>", "with one of these steps left out: what is found then")
    .option("--threads <n>", "how many explore at a time (default: one a core)", Number)
    .option("--json [file]", "the report as JSON, to the standard output or a file")
    .option("--failure <file>", "where the first violation's trace goes, as JSON", "pinless-check.json")
    .showHelpAfterError("(try pinless check --help)")
    .exitOverride()
    .action(run);
}

async function run(names: readonly string[], flags: Flags): Promise<void> {
  try {
    const files = readScenarios(names);
    if (flags.mutants === true) await checkMutants(files, flags, names.length === 0);
    else await check(files, flags, names.length > 0);
  } catch (error) {
    if (!(error instanceof ScenarioError)) throw error;
    complain("check", error.message);
    process.exitCode = USAGE;
  }
}

function readScenarios(names: readonly string[]): ScenarioFile[] {
  const all = readdirSync(DEFAULTS)
    .filter((file) => file.endsWith(".yaml"))
    .sort();
  const chosen =
    names.length === 0
      ? all.map((file) => path.join(DEFAULTS, file))
      : names.map((name) => (all.includes(`${name}.yaml`) ? path.join(DEFAULTS, `${name}.yaml`) : name));
  return chosen.map((file) => {
    return parseScenario(scenarioText(file), path.basename(file, path.extname(file)), file);
  });
}

function scenarioText(file: string): string {
  try {
    return readInputFile(file, MAX_SCENARIO_BYTES);
  } catch (error) {
    if (error instanceof InputFileError) throw new ScenarioError(error.message);
    throw error;
  }
}

/** What a report says of the cases of one file. */
interface FileReport {
  readonly name: string;
  readonly about: string;
  readonly cases: number;
  states: number;
  transitions: number;
  depth: number;
  seconds: number;
  violations: FoundCase[];
  /** What the scenario says doesn't hold there, and was found. */
  expected: FoundCase[];
}

type FoundCase = Violation & { readonly case: string };

/** A case that says what doesn't hold in it is as it should be only with that. */
function judge(of: FileReport, { name, violation, expects }: CaseReport): void {
  if (violation !== null) {
    (violation.invariant === expects ? of.expected : of.violations).push({ case: name, ...violation });
  } else if (expects !== null) {
    const message = `${expects}: the scenario expects that it doesn't hold, and it does`;
    of.violations.push({ case: name, invariant: expects, message, trace: [] });
  }
}

/** `named`: somebody asks about these scenarios, and is told also what they are known to show. */
async function check(files: readonly ScenarioFile[], flags: Flags, named: boolean): Promise<void> {
  const began = performance.now();
  const modules = flags.mutant === undefined ? null : mutate(mutantNamed(flags.mutant), CHECKED);
  const reports: FileReport[] = files.map(({ name, about, cases }) => ({
    name,
    about,
    cases: cases.length,
    states: 0,
    transitions: 0,
    depth: 0,
    seconds: 0,
    violations: [],
    expected: [],
  }));
  const orders = files.flatMap(({ cases }, file) => cases.map((scenario) => ({ scenario, brief: false, file })));
  try {
    const work = { modules: modules?.url ?? BUILT, orders, untilFound: modules !== null };
    const whole = await pool([work], flags, orders.length, (report, _, order) => {
      const of = reports[orders[order]!.file]!;
      of.states += report.states;
      of.transitions += report.transitions;
      of.depth = Math.max(of.depth, report.depth);
      of.seconds += report.seconds;
      judge(of, report);
    });
    if (whole) conclude(reports, (performance.now() - began) / 1000, flags, named);
  } finally {
    modules?.remove();
  }
}

function conclude(reports: readonly FileReport[], tookSeconds: number, flags: Flags, named: boolean): void {
  const sum = (of: (report: FileReport) => number): number => reports.reduce((total, report) => total + of(report), 0);
  const states = sum((r) => r.states);
  const seconds = sum((r) => r.seconds);
  const violations = reports.flatMap((r) => r.violations);
  const expected = reports.flatMap((r) => r.expected);
  const report = {
    format: "pinless-check/1",
    states,
    transitions: sum((r) => r.transitions),
    tookSeconds,
    statesPerSecondAndCore: Math.round(states / seconds),
    scenarios: reports,
  };
  print(report, flags, () => {
    const lines = reports.map(
      (r) =>
        `${r.name.padEnd(24)} ${count(r.cases).padStart(4)} cases ${count(r.states).padStart(11)} states  ${r.about}`,
    );
    const rate = `${count(report.statesPerSecondAndCore)} states a second and core, ${tookSeconds.toFixed(1)} s in all`;
    return [
      ...lines,
      ...(named ? expected.flatMap(describe) : []),
      ...violations.flatMap(describe),
      `${count(states)} states: ${rate}`,
      verdict(violations.length, expected.length),
      "",
    ];
  });
  const [first] = violations;
  if (first === undefined) return;
  writeFileSync(flags.failure, `${JSON.stringify(first, null, 2)}\n`);
  process.stderr.write(`the trace is in ${flags.failure}\n`);
  process.exitCode = FAILED;
}

function verdict(violations: number, expected: number): string {
  const harms = expected === 0 ? "" : ` but what ${count(expected)} cases expect, and it was found`;
  return violations === 0 ? `nothing is violated${harms}` : `${count(violations)} cases are violated`;
}

function describe(violation: Violation & { readonly case: string }): string[] {
  const steps = violation.trace.flatMap(({ what, then }, i) => [
    `${String(i + 1).padStart(4)}  ${what}`,
    ...then.map((line) => `        ${line}`),
  ]);
  return ["", violation.case, ...steps, `  ==  ${violation.message}`, ""];
}

interface MutantReport {
  readonly name: string;
  readonly leavesOut: string;
  killed: boolean;
  /** The invariant that was found broken, and where. */
  invariant: string | null;
  message: string | null;
  case: string | null;
  states: number;
}

/** `all`: also those that random runs show, not only what scenarios that were named do. */
async function checkMutants(files: readonly ScenarioFile[], flags: Flags, all: boolean): Promise<void> {
  const modules: MutatedModules[] = [];
  const reports: MutantReport[] = MUTANTS.map(({ name, leavesOut }) => {
    return { name, leavesOut, killed: false, invariant: null, message: null, case: null, states: 0 };
  });
  try {
    for (const mutant of EXPLORED_MUTANTS) modules.push(mutate(mutant, CHECKED));
    const works: Work[] = EXPLORED_MUTANTS.map((mutant, m) => ({
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
  if (all) await simulateMutants(reports);
  const alive = reports.filter(({ killed }) => !killed);
  print({ format: "pinless-check-mutants/1", mutants: reports }, flags, () => [
    ...reports.map((m) => `${m.killed ? "killed" : "ALIVE "} ${m.name.padEnd(32)} ${m.message ?? m.leavesOut}`),
    alive.length === 0
      ? `all ${reports.length} are found out`
      : `${alive.length} of ${reports.length} are not found out`,
    "",
  ]);
  if (alive.length > 0) process.exitCode = FAILED;
}

async function simulateMutants(reports: readonly MutantReport[]): Promise<void> {
  for (const mutant of SIMULATED_MUTANTS) {
    const found = await firstFailure(mutant);
    if (found?.failure == null) continue;
    const { what: invariant, message } = found.failure;
    const seen = { killed: true, invariant, message, case: `simulate: seed ${found.seed}` };
    Object.assign(reports.find(({ name }) => name === mutant.name)!, seen);
  }
}

/** Explores with progress on a terminal. False: it was interrupted. */
async function pool(
  works: readonly Work[],
  flags: Flags,
  total: number,
  reported: (report: CaseReport, work: number, order: number) => void,
): Promise<boolean> {
  const interrupt = onInterrupt();
  const bar = process.stderr.isTTY
    ? new SingleBar({
        stream: process.stderr,
        format: "{bar} {value}/{total}",
        clearOnComplete: true,
        gracefulExit: false,
      })
    : null;
  bar?.start(total, 0);
  const done = new Set<number>();
  let cases = 0;
  try {
    await runPool(works, {
      ...(flags.threads === undefined ? {} : { threads: flags.threads }),
      signal: interrupt.signal,
      reported: (report, work, order) => {
        cases++;
        if (report.violation !== null) done.add(work);
        bar?.update(works.length === 1 ? cases : done.size);
        reported(report, work, order);
      },
    });
  } finally {
    bar?.stop();
    interrupt.stop();
  }
  if (interrupt.exitCode !== null) process.exitCode = interrupt.exitCode;
  return interrupt.exitCode === null;
}

function print(report: object, { json }: Flags, text: () => readonly string[]): void {
  const asJson = `${JSON.stringify(report, null, 2)}\n`;
  if (json === true || json === "-") process.stdout.write(asJson);
  else process.stdout.write(text().join("\n"));
  if (typeof json === "string" && json !== "-") writeFileSync(json, asJson);
}

function count(n: number): string {
  return Math.round(n).toLocaleString("en");
}
