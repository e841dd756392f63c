/** The findings of `pinless-lab check`, as text. */

import { wrap } from "@pinless/cli/command";
import type { Violation } from "../check/run-case.js";

/** Summary of the cases of one scenario file. */
export interface FileReport {
  readonly name: string;
  readonly about: string;
  /** Cases explored; fewer than all with a mutant, whose exploration ends with the first violation. */
  cases: number;
  states: number;
  transitions: number;
  depth: number;
  /** Seconds of CPU time. */
  seconds: number;
  violations: FoundCase[];
  /** Violations that the scenario expects, and that were found. */
  expected: FoundCase[];
}

export type FoundCase = Violation & { readonly case: string };

export interface CheckReport {
  readonly format: string;
  readonly states: number;
  readonly transitions: number;
  readonly tookSeconds: number;
  readonly cpuSeconds: number;
  readonly statesPerCpuSecond: number;
  readonly scenarios: readonly FileReport[];
}

/** Renders a report. With `named`, scenarios were asked for by name, and their expected violations are listed too. */
export function checkLines(report: CheckReport, named: boolean, columns: number): readonly string[] {
  const { scenarios, states, tookSeconds, cpuSeconds, statesPerCpuSecond } = report;
  const violations = scenarios.flatMap((scenario) => scenario.violations);
  const expected = scenarios.flatMap((scenario) => scenario.expected);
  // The rate of a shorter run would be mostly that of starting.
  const rate = cpuSeconds < 1 ? "" : `: ${count(statesPerCpuSecond)} a second of it`;
  const took = `${count(states)} states in ${tookSeconds.toFixed(1)} s, ${cpuSeconds.toFixed(1)} s of CPU time${rate}`;
  return [
    ...scenarios.flatMap((scenario) => scenarioLines(scenario, columns)),
    ...(named ? expected.flatMap((found) => violationLines(found, columns)) : []),
    ...violations.flatMap((found) => violationLines(found, columns)),
    ...wrap(took, columns, "  "),
    ...wrap(verdict(violations.length, expected.length), columns, "  "),
    "",
  ];
}

/** Renders a scenario's counts, and what it's about on the same line if there is room. */
function scenarioLines({ name, about, cases, states }: FileReport, columns: number): readonly string[] {
  const counted = `${count(cases).padStart(4)} ${cases === 1 ? "case " : "cases"}`;
  const head = `${name.padEnd(24)} ${counted} ${count(states).padStart(11)} states`;
  const line = `${head}  ${about}`;
  return line.length <= columns ? [line] : [head, ...hanging(about, "    ", "    ", columns)];
}

function verdict(violations: number, expected: number): string {
  const harms =
    expected === 0
      ? ""
      : ` but what ${expected === 1 ? "1 case expects" : `${count(expected)} cases expect`}, and it was found`;
  if (violations === 0) return `nothing is violated${harms}`;
  return violations === 1 ? "1 case is violated" : `${count(violations)} cases are violated`;
}

/** Renders a violation, with the steps that lead to it. */
export function violationLines(violation: FoundCase, columns: number): string[] {
  const steps = violation.trace.flatMap(({ what, then }, i) => [
    ...hanging(what, `${String(i + 1).padStart(4)}  `, "      ", columns),
    ...then.flatMap((line) => hanging(line, "        ", "          ", columns)),
  ]);
  return ["", violation.case, ...steps, ...hanging(violation.message, "  ==  ", "      ", columns), ""];
}

export interface MutantReport {
  readonly name: string;
  readonly leavesOut: string;
  killed: boolean;
  /** The invariant that was violated, and the case. */
  invariant: string | null;
  message: string | null;
  case: string | null;
  states: number;
}

export function mutantLines(reports: readonly MutantReport[], columns: number): readonly string[] {
  const alive = reports.filter(({ killed }) => !killed);
  return [
    ...reports.flatMap((m) => {
      const head = `${m.killed ? "killed" : "ALIVE "} ${m.name}`;
      const line = `${head.padEnd(39)} ${m.message ?? m.leavesOut}`;
      return line.length <= columns ? [line] : [head, ...hanging(m.message ?? m.leavesOut, "    ", "    ", columns)];
    }),
    alive.length === 0
      ? `all ${reports.length} are found out`
      : `${alive.length} of ${reports.length} are not found out`,
    "",
  ];
}

/** Wraps text to lines of at most `columns`: the first begins with `first`, the others with `others`. */
function hanging(text: string, first: string, others: string, columns: number): readonly string[] {
  return wrap(text, columns - others.length).map((line, i) => `${i === 0 ? first : others}${line}`);
}

function count(n: number): string {
  return Math.round(n).toLocaleString("en");
}
