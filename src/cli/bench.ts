/** `pinless bench`: what pins cost on this machine, and what leases save. */

import { accessSync, constants, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { SingleBar } from "cli-progress";
import { Command, InvalidArgumentError } from "commander";
import { compare, DEFAULT_SECONDS, MAX_SECONDS, MIN_SECONDS, type Outcome } from "../bench/compare.js";
import { BenchError } from "../bench/error.js";
import { renderReport } from "../bench/table.js";
import { onInterrupt } from "./interrupt.js";

const FAILED = 1;

interface Flags {
  readonly file?: string;
  readonly json?: string;
  readonly seconds: number;
  readonly quick?: true;
}

export function benchCommand(version: string): Command {
  return new Command("bench")
    .description("What pinned buffers cost on this machine, and what leases save: every way side by side")
    .option("--file <path>", "read this file of yours instead of a scratch file; it's never written")
    .option("--json <file>", 'write the figures as JSON; "-" is the standard output, instead of the tables')
    .option("--seconds <n>", `about how long, ${MIN_SECONDS} to ${MAX_SECONDS}`, seconds, DEFAULT_SECONDS)
    .option("--quick", "everything once and with little memory: a few seconds, rough figures")
    .addHelpText("after", HELP)
    .showHelpAfterError("(try pinless bench --help)")
    .exitOverride()
    .action((flags: Flags) => bench(flags, version));
}

const HELP = `
Runs leases, lifetime registrations, requests that register nothing, and node:fs, in turn, each in a process of its own:
throughput and latency, alone and under a storm of memory operations; reads that are lost; pins that stay; and how long
starting a child process takes.

The scratch file (256 MiB) goes to $PINLESS_SCRATCH, or where temporary files go, and is deleted afterwards. Paging out
needs swap: root gets a swap file beside it for the time of the run, where no swap is active.`;

function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < MIN_SECONDS || value > MAX_SECONDS)
    throw new InvalidArgumentError(`It takes a whole number from ${MIN_SECONDS} to ${MAX_SECONDS}.`);
  return value;
}

async function bench(flags: Flags, version: string): Promise<void> {
  const unwritable = flags.json === undefined || flags.json === "-" ? null : whyUnwritable(flags.json);
  if (unwritable !== null) return fail(unwritable);
  const interrupt = onInterrupt();
  const bar = process.stderr.isTTY ? progressBar() : null;
  try {
    const outcome = await compare({
      file: flags.file ?? null,
      seconds: flags.seconds,
      quick: flags.quick === true,
      version,
      signal: interrupt.signal,
      progress: (part, doing) => bar?.update(Math.round(part * 100), { doing }),
    });
    bar?.stop();
    show(outcome, flags.json);
    if (outcome.failures.length > 0) process.exitCode = FAILED;
  } catch (error) {
    bar?.stop();
    if (interrupt.exitCode !== null) process.exitCode = interrupt.exitCode;
    else if (error instanceof BenchError) fail(error.message);
    else throw error;
  } finally {
    interrupt.stop();
  }
}

function show({ report, failures }: Outcome, json: string | undefined): void {
  if (json !== undefined) {
    const text = `${JSON.stringify(report, null, 2)}\n`;
    if (json === "-") process.stdout.write(text);
    else {
      try {
        writeFileSync(json, text);
      } catch (error) {
        fail((error as Error).message);
      }
    }
  }
  if (json !== "-") {
    const { columns = 80, isTTY = false } = process.stdout;
    process.stdout.write(renderReport(report, { columns, colors: isTTY && process.stdout.hasColors() }));
  }
  for (const failure of failures) process.stderr.write(`pinless bench: ${failure}\n`);
}

/** Asked before the run: a minute later is too late. */
function whyUnwritable(path: string): string | null {
  try {
    accessSync(dirname(path), constants.W_OK);
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true ? `${path} is a directory` : null;
  } catch (error) {
    return (error as Error).message;
  }
}

function fail(message: string): void {
  process.stderr.write(`pinless bench: ${message}\n`);
  process.exitCode = FAILED;
}

function progressBar(): SingleBar {
  // A narrow terminal would wrap it into many lines.
  const barsize = Math.max(5, Math.min(30, (process.stderr.columns ?? 80) - 36));
  const bar = new SingleBar({
    stream: process.stderr,
    format: "{bar} {percentage} % {doing}",
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize,
    hideCursor: true,
    clearOnComplete: true,
    // A signal is ours to handle: the bar would restore the cursor and leave the rest running.
    gracefulExit: false,
  });
  bar.start(100, 0, { doing: "" });
  return bar;
}
