/** `pinless-lab what-if`: three designs of direct I/O compared on a machine that a file describes. */

import {
  engineName,
  explaining,
  FAILED,
  onInterrupt,
  print,
  progressBar,
  terminal,
  USAGE,
  UsageError,
  wholeNumber,
  whyUnwritable,
  writeJson,
} from "@pinless/cli/command";
import { Command } from "commander";
import { InputError } from "../simulate/input-error.js";
import { readStudy } from "../what-if/plan.js";
import { runStudy } from "../what-if/study.js";
import { calibration } from "./calibration.js";
import { readWhatIf, whatIfFile } from "./what-if-file.js";
import { renderStudy } from "./what-if-text.js";

/** Time in milliseconds after which a bar is shown. */
const SHOW_AFTER_MS = 1000;
const HELP = `
Without the name of a command, the arguments are those of run. The same file and
seed give the same figures.`;

interface Flags {
  readonly seed: number;
  readonly json?: string;
}

export function whatIfCommand(version: string): Command {
  const engine = engineName(version);
  return new Command("what-if")
    .description("Compares three designs of direct I/O on a simulated machine of any size")
    .addHelpText("after", HELP)
    .addCommand(
      named("run", "simulates the machine and the load of a file, with every design")
        .argument("<file>", "a file, or the name of one that comes with pinless; plans/README.md has the format")
        .action((name: string, flags: Flags) => act(flags, name, (file) => runFile(file, flags, engine))),
      { isDefault: true },
    )
    .addCommand(
      named("calibrate", "compares the model with measurements; exits with 1 if it prefers another design").action(
        (flags: Flags) => act(flags, undefined, () => calibration(engine, flags.seed, flags.json)),
      ),
    );
}

function named(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option("--seed <n>", "seed of all random numbers", wholeNumber(0, 1e15), 1)
    .option("--json <file>", 'write the report as JSON; "-" is the standard output')
    .showHelpAfterError(`(try pinless-lab what-if ${name} --help)`)
    .exitOverride();
}

/** Runs a command, unless its report couldn't be written, or would replace the file that the command reads. */
function act({ json }: Flags, name: string | undefined, work: (file: string) => void | Promise<void>): Promise<void> {
  return explaining("pinless-lab what-if", USAGE, [UsageError, InputError], () => {
    const file = name === undefined ? "" : whatIfFile(name);
    const unwritable = whyUnwritable(json, [file]);
    if (unwritable !== null) throw new UsageError(unwritable);
    return work(file);
  });
}

async function runFile(file: string, { seed, json }: Flags, engine: string): Promise<void> {
  const study = readStudy(readWhatIf(file));
  const interrupt = onInterrupt();
  const bar = progressBar("{bar} {value}/{total} runs", SHOW_AFTER_MS);
  try {
    const report = await runStudy(study, {
      engine,
      seed,
      stopped: () => interrupt.exitCode !== null,
      progress: bar.update,
      turn: () => new Promise((resolve) => setImmediate(resolve)),
    });
    bar.stop();
    if (report === null) process.exitCode = interrupt.exitCode ?? FAILED;
    else if (writeJson("pinless-lab what-if", report, json)) print(renderStudy(report, terminal()));
  } finally {
    bar.stop();
    interrupt.stop();
  }
}
