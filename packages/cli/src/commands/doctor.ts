/** `pinless doctor`: reports what this machine allows, who pins memory, and what to change. */

import { Command } from "commander";
import { complain, print, printJson } from "../command/output.js";
import { examine } from "../doctor/examine.js";
import { renderExamination } from "./doctor-text.js";

const CANNOT_RUN = 1;

export function doctorCommand(version: string): Command {
  return new Command("doctor")
    .description(
      "Report what this kernel, filesystem and their limits allow, which processes pin memory, and what to change",
    )
    .argument("[path]", "try direct I/O on this file or in this directory", ".")
    .option("--json", "write one JSON document instead of text")
    .addHelpText("after", HELP)
    .showHelpAfterError("(try pinless doctor --help)")
    .exitOverride()
    .action((path: string, flags: { readonly json?: true }) => doctor(path, flags.json === true, version));
}

const HELP = `
Everything that can be tried is tried, and nothing stays: a file is only read;
in a directory a scratch file without a name is written. Exits with 0 if pinless
bench could run here, with 1 if it couldn't.`;

async function doctor(path: string, json: boolean, version: string): Promise<void> {
  try {
    const examination = await examine(path);
    const { columns = 80, isTTY = false } = process.stdout;
    if (json) printJson({ pinless: version, ...examination }, 2);
    else print(renderExamination(examination, { columns, colors: isTTY && process.stdout.hasColors() }));
    if (!examination.canRun) process.exitCode = CANNOT_RUN;
  } catch (error) {
    // Errors of node:fs about the path are reported; anything else is a bug.
    if (!(error instanceof Error) || !("syscall" in error)) throw error;
    const isNone = "code" in error && error.code === "ENOENT";
    complain("pinless doctor", isNone ? `${path}: there's no such file or directory (ENOENT)` : error.message);
    process.exitCode = CANNOT_RUN;
  }
}
