/** `pinless-lab what-if`: three designs of direct I/O compared on a machine that a file describes. */

import {
  engineName,
  explaining,
  FAILED,
  onInterrupt,
  print,
  progressBar,
  terminal,
  wholeNumber,
  whyUnwritable,
  writeJson,
} from "@pinless/cli/command";
import { Command } from "commander";
import { readStudy } from "../what-if/plan.js";
import { runStudy } from "../what-if/study.js";
import { WhatIfError } from "../what-if/what-if-error.js";
import { calibration } from "./calibration.js";
import { readWhatIf, whatIfFile } from "./what-if-file.js";
import { renderStudy } from "./what-if-text.js";

/** Time in milliseconds after which a bar is shown. */
const SHOW_AFTER_MS = 1000;
const HELP = `
Without the name of a command, its arguments are those of run. The same file and
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
        .action((file: string, flags: Flags) => whatIf(file, flags, engine)),
      { isDefault: true },
    )
    .addCommand(
      named("calibrate", "compares the model with measurements; exits with 1 where it prefers another design").action(
        (flags: Flags) => withWritable("calibrate", flags, () => calibration(engine, flags.seed, flags.json)),
      ),
    );
}

function named(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option("--seed <n>", "the seed of everything that is drawn", wholeNumber(0, 1e15), 1)
    .option("--json <file>", 'write the report as JSON; "-" is the standard output')
    .showHelpAfterError(`(try pinless-lab what-if ${name} --help)`)
    .exitOverride();
}

/** Does the work of a command, unless its report couldn't be written, or would replace a file that it reads. */
function withWritable(what: string, { json }: Flags, work: () => void | Promise<void>, read?: string): Promise<void> {
  return explaining(`pinless-lab what-if: ${what}`, FAILED, [WhatIfError], () => {
    const unwritable = whyUnwritable(json, [read]);
    if (unwritable !== null) throw new WhatIfError("ERR_WHAT_IF_UNWRITABLE", unwritable, null);
    return work();
  });
}

async function whatIf(name: string, flags: Flags, engine: string): Promise<void> {
  await explaining(`pinless-lab what-if: ${name}`, FAILED, [WhatIfError], async () => {
    const file = whatIfFile(name);
    await withWritable(name, flags, () => runFile(file, flags, engine), file);
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
