/** Reads and renders reports of `pinless-lab simulate`. */

import { printableValue, wrap } from "@pinless/cli/command";
import { type InputSource, inputErrorAt } from "../simulate/input-error.js";
import { type CampaignReport, type FoundFailure, missingOf, nameOf, readReport } from "../simulate/report.js";
import { readJson } from "./json-input.js";

/** Size of a report with thousands of failures. */
const MAX_BYTES = 16 << 20;

/** Reads a report. Throws `UsageError` or `InputError`, as `readJson` does. */
export function reportOf(file: string): InputSource {
  const source = readJson(file, MAX_BYTES);
  return { ...source, value: printableValue(source.value) };
}

/**
 * Reads a report to repeat its failures. Its seeds give the same runs only with the engine version that found them;
 * throws `InputError` for another version.
 */
export function toReplay(file: string, engine: string): { report: CampaignReport; note: string | null } {
  const source = reportOf(file);
  const report = readReport(source);
  const versionOf = (name: string): string => name.split(" ").slice(0, 2).join(" ");
  if (versionOf(report.engine) !== versionOf(engine))
    throw inputErrorAt(
      source,
      ["engine"],
      `the report is of ${report.engine}, and this is ${engine}: replay it with the version that wrote it`,
    );
  const note = report.engine === engine ? null : `found with ${report.engine}; this is ${engine}`;
  return { report, note };
}

export function renderCampaign(report: CampaignReport, columns: number, cpuSeconds?: number): string {
  const { runs, requests, operations, virtualMs, failures } = report;
  const say = (text: string, indent = "  "): readonly string[] => wrap(text, columns, indent);
  return [
    ...say(
      `${nameOf(report)}: ${count(runs)} ${runs === 1 ? "run" : "runs"}, ${count(requests)} requests, ` +
        `${count(operations)} memory operations in ${count(virtualMs / 1000)} s of virtual time`,
    ),
    ...(cpuSeconds === undefined
      ? []
      : say(`${count(requests / cpuSeconds)} requests a second of CPU time, ${cpuSeconds.toFixed(1)} s of it`)),
    // A single shard isn't expected to be complete.
    ...(report.shards.length > 1 ? missingOf(report).flatMap((line) => say(line)) : []),
    ...failures.flatMap((failure) => renderFailure(failure, report.mutant, columns)),
    failures.length === 0 ? "no failure" : `${count(failures.length)} failed`,
    "",
  ].join("\n");
}

function count(n: number): string {
  return Math.round(n).toLocaleString("en");
}

/** Renders a failure, with a command to repeat it, which is one line so that it can be copied. */
function renderFailure(failure: FoundFailure, mutant: string | null, columns: number): readonly string[] {
  const { seed, requests, changes, what, message, atMs } = failure;
  const without = mutant === null ? "" : ` --mutant ${mutant}`;
  const change = Object.keys(changes).length === 0 ? "" : ` --change '${JSON.stringify(changes)}'`;
  return [
    ...wrap(`seed ${seed}: ${what} after ${atMs.toFixed(3)} ms`, columns, "  "),
    ...wrap(message, columns - 2, "  ").map((line) => `  ${line}`),
    `  again, with all steps: pinless-lab simulate trace --seed ${seed} --requests ${requests}${change}${without}`,
  ];
}
