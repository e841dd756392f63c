/** `pinless bench JOB.fio…`: from the words of the command line to fio's output and exit code. */

import { appendFileSync, writeFileSync } from "node:fs";
import { UsageError } from "../command/failures.js";
import { onInterrupt } from "../command/interrupt.js";
import { complain, print } from "../command/output.js";
import { whyUnwritable } from "../command/output-file.js";
import type { Invocation } from "./job.js";
import type { JobHandle } from "./job-handle.js";
import type { ReportedRun } from "./jobs-report.js";
import { commandLineOf, parseInvocation } from "./parse.js";
import { showProgress } from "./progress-line.js";
import { fioVersion, jsonReport } from "./report-json.js";
import { jobLine, normalReport } from "./report-normal.js";
import { terseReport } from "./report-terse.js";
import { runJobs } from "./run-jobs.js";

const PROGRAM = "pinless bench";
/** Exit codes of fio: of a run in which a job failed, and of one that a signal ended. */
const JOB_FAILED = 1;
const SIGNALLED = 128;

/** Runs the jobs; resolves to the exit code. Throws `UsageError` for what can't be run. */
export async function benchJobs(words: readonly string[], version: string): Promise<number> {
  const invocation = parseInvocation(words);
  for (const warning of invocation.warnings) complain(PROGRAM, warning);
  if (invocation.showCommand) print(`${commandLineOf(invocation)}\n`);
  if (invocation.parseOnly || invocation.showCommand) return 0;
  const why = whyUnwritable(invocation.output ?? undefined);
  if (why !== null) throw new UsageError(why);
  const out = new Output(invocation, version);
  out.begin();
  const interrupt = onInterrupt();
  let handles: readonly JobHandle[] = [];
  const endProgress = showProgress(invocation, () => handles);
  try {
    const report = await runJobs(invocation, interrupt.signal, {
      info: (line) => out.info(line),
      complain: (line) => complain(PROGRAM, line),
      began: (all) => {
        handles = all;
      },
      status: (soFar) => out.report(soFar),
    });
    endProgress();
    if (interrupt.exitCode !== null) complain(PROGRAM, "terminating on a signal");
    out.report(report);
    if (interrupt.exitCode !== null) return SIGNALLED;
    return report.failures > 0 ? JOB_FAILED : 0;
  } finally {
    endProgress();
    interrupt.stop();
  }
}

/** Text for the standard output, or for the file of `--output`. */
class Output {
  readonly #invocation: Invocation;
  readonly #version: string;

  constructor(invocation: Invocation, version: string) {
    this.#invocation = invocation;
    this.#version = version;
    if (invocation.output !== null) writeFileSync(invocation.output, "");
  }

  begin(): void {
    const { jobs } = this.#invocation;
    for (const job of jobs) {
      if (job.subjobNumber === 0) this.info(jobLine(job));
      else if (job.subjobNumber === 1) this.info("...");
    }
    this.info(fioVersion(this.#version));
    this.info(`Starting ${jobs.length} thread${jobs.length === 1 ? "" : "s"}`);
  }

  /** Lines that only the normal output has. */
  info(line: string): void {
    if (this.#invocation.outputFormats.includes("normal")) this.#write(`${line}\n`);
  }

  report(run: ReportedRun): void {
    const { outputFormats, terseVersion } = this.#invocation;
    if (outputFormats.includes("terse")) this.#write(terseReport(run, terseVersion, this.#version));
    const withBins = outputFormats.includes("json+");
    if (withBins || outputFormats.includes("json"))
      this.#write(`${JSON.stringify(jsonReport(run, this.#version, withBins), null, 2)}\n`);
    if (outputFormats.includes("normal")) this.#write(normalReport(run));
  }

  #write(text: string): void {
    if (this.#invocation.output === null) print(text);
    else appendFileSync(this.#invocation.output, text);
  }
}

/** True if words ask for jobs, rather than for pinless' own comparison. */
export function asksForJobs(words: readonly string[]): boolean {
  return words.some((word) => !word.startsWith("-") || /^--(name|section|showcmd|parse-only)\b/.test(word));
}
