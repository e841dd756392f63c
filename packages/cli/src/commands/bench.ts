/** `pinless bench`: measures what pins cost on this machine, and what leases save. */

import { Command, Option } from "commander";
import { LEASE } from "../bench/configurations.js";
import { compareReports } from "../bench/report/comparison.js";
import { renderComparison } from "../bench/report/comparison-table.js";
import { renderReport } from "../bench/report/table.js";
import { isSkipped } from "../bench/report-schema.js";
import { type Outcome, runBench } from "../bench/run-bench.js";
import { DEFAULT_SECONDS, MAX_SECONDS, MIN_SECONDS } from "../bench/sizes.js";
import { explaining, FAILED, USAGE, UsageError } from "../command/failures.js";
import { onInterrupt } from "../command/interrupt.js";
import { wholeNumber } from "../command/number-arguments.js";
import { complain, print } from "../command/output.js";
import { whyUnwritable } from "../command/output-file.js";
import { progressBar } from "../command/progress-bar.js";
import { terminal, writeJson } from "../command/report-output.js";
import { asksForJobs, benchJobs } from "../fio/bench-jobs.js";
import { optionHelp } from "../fio/job-options.js";
import { readReportFile } from "./bench-report-file.js";

interface Flags {
  readonly file?: string;
  readonly json?: string;
  readonly seconds: number;
  readonly quick?: true;
  readonly trace?: string;
  readonly compare?: readonly string[];
  readonly cmdhelp?: string | true;
}

export function benchCommand(version: string): Command {
  return new Command("bench")
    .description("Measure what pinned buffers cost on this machine, and what leases save; or run fio's jobs")
    .argument("[jobs...]", "job files of fio, or a job as fio's options, beginning with --name; the rest is left out")
    .allowUnknownOption()
    .option("--file <path>", "read this file instead of a scratch file; it's never written")
    .option("--json <file>", 'write the figures as JSON; "-" is the standard output, instead of the tables')
    .option(
      "--seconds <n>",
      `approximate duration, ${MIN_SECONDS} to ${MAX_SECONDS}`,
      wholeNumber(MIN_SECONDS, MAX_SECONDS),
      DEFAULT_SECONDS,
    )
    .option("--trace <file>", "write what leases do under the storm as Chrome trace events, which Perfetto shows")
    .addOption(
      new Option(
        "--quick",
        "measure everything once, with little memory: rough figures, in 15 s to a minute",
      ).conflicts("seconds"),
    )
    .addOption(
      new Option(
        "--compare <reports...>",
        "compare two reports that --json wrote, A and B, instead of a run",
      ).conflicts(["file", "quick", "seconds", "trace"]),
    )
    .option("--cmdhelp [option]", "list the options of jobs and what becomes of each, or one of them")
    .addHelpText("after", HELP)
    .showHelpAfterError("(try pinless bench --help)")
    .exitOverride()
    .action((_: readonly string[], flags: Flags, command: Command) => {
      if (flags.cmdhelp !== undefined) return explain(flags.cmdhelp, command);
      if (command.args.length > 0) return jobs(command, version);
      return flags.compare === undefined ? bench(flags, version) : compare(flags, version, command);
    });
}

const HELP = `
Runs every scheme and pin mode, and node:fs, in turn, each in a process of its
own. Measures throughput and latency, alone and under a storm of memory
operations; reads that are lost; pins that stay; the time to start a child
process; the cost of taking leases again; the migration of pages between NUMA
nodes; and, as root, the huge pages that the host can still allocate: for that
it takes nearly all free memory of the host, for less than a second at a time.

Parts that can't run here are skipped with a reason, and aren't failures. Exit
codes: 0 success; 1 a part failed; 2 wrong usage, or an unreadable report.

With jobs, fio's job files and options are taken (docs/fio.md has the table of
those that are), the output is fio's, and so are the exit codes.

The scratch file (256 MiB) is created in $PINLESS_SCRATCH, or else in the
directory for temporary files, and is deleted afterwards. Paging out needs swap:
if none is active, root gets a swap file beside it during the run.`;

async function jobs(command: Command, version: string): Promise<void> {
  const words = command.args;
  if (!asksForJobs(words)) command.error(`error: unknown option '${words[0]}'`);
  if (Object.keys(command.opts()).some((name) => command.getOptionValueSource(name) === "cli"))
    command.error("error: --file, --json, --seconds, --quick and --compare aren't for jobs");
  await explaining("pinless bench", FAILED, [UsageError], async () => {
    process.exitCode = await benchJobs(words, version);
  });
}

function explain(name: string | true, command: Command): void {
  const text = optionHelp(name === true ? "all" : name);
  if (text === null) command.error(`error: jobs have no option ${name}`);
  print(`${text}\n`);
}

async function compare({ compare: reports = [], json }: Flags, version: string, command: Command): Promise<void> {
  const [a, b, ...more] = reports;
  if (a === undefined || b === undefined || more.length > 0) command.error("error: --compare takes two reports");
  await explaining("pinless bench", USAGE, [UsageError], () => {
    refuseUnwritable(json, [a, b]);
    const comparison = compareReports(readReportFile(a), readReportFile(b), version);
    if (writeJson("pinless bench", comparison, json)) print(renderComparison(comparison, terminal()));
  });
}

function refuseUnwritable(json: string | undefined, inputs: readonly (string | undefined)[]): void {
  const why = whyUnwritable(json, inputs);
  if (why !== null) throw new UsageError(why);
}

function refuseTrace({ trace, json, file }: Flags): void {
  if (trace !== undefined && (trace === "-" || trace === json))
    throw new UsageError(`--trace takes the name of a file of its own. Received ${trace}`);
  refuseUnwritable(trace, [file]);
}

async function bench(flags: Flags, version: string): Promise<void> {
  await explaining("pinless bench", FAILED, [UsageError], async () => {
    refuseUnwritable(flags.json, [flags.file]);
    refuseTrace(flags);
    const interrupt = onInterrupt();
    const bar = progressBar("{bar} {percentage} % {doing}");
    try {
      bar.update(0, 100);
      const outcome = await runBench({
        file: flags.file ?? null,
        seconds: flags.seconds,
        quick: flags.quick === true,
        trace: flags.trace ?? null,
        version,
        signal: interrupt.signal,
        progress: (part, doing) => bar.update(Math.round(part * 100), 100, doing),
      });
      bar.stop();
      show(outcome, flags.json);
      if (flags.trace !== undefined) sayIfUntraced(outcome);
      if (outcome.failures.length > 0) process.exitCode = FAILED;
    } catch (error) {
      if (interrupt.exitCode === null) throw error;
      process.exitCode = interrupt.exitCode;
    } finally {
      bar.stop();
      interrupt.stop();
    }
  });
}

/** Complains if there was no storm to trace. */
function sayIfUntraced({ report }: Outcome): void {
  const storm = report.rows.find(({ name }) => name === LEASE.name)?.storm4KiB;
  if (storm !== undefined && isSkipped(storm)) complain("pinless bench", `no trace was written: ${storm.skipped}`);
}

function show({ report, failures }: Outcome, json: string | undefined): void {
  if (writeJson("pinless bench", report, json)) print(renderReport(report, terminal()));
  for (const failure of failures) complain("pinless bench", failure);
}
