#!/usr/bin/env node
/** `pinless`: exit codes are 0 (fine), 1 (failed), 2 (wrong usage), 130 (Ctrl-C). */

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { benchCommand } from "./bench.js";
import { checkCommand } from "./check.js";
import { doctorCommand } from "./doctor.js";
import { complain } from "./output.js";
import { printableLines } from "./printable.js";
import { releaseCommand } from "./release.js";
import { simulateCommand } from "./simulate.js";
import { topCommand } from "./top.js";

const FAILED = 1;
const USAGE = 2;

/** What can't be written can't be told there. Whoever reads us and has read enough (| head) is no error, and nothing is said. */
function unwritable({ code, message }: NodeJS.ErrnoException): never {
  if (code === "EPIPE") process.exit();
  try {
    const [, , command = ""] = process.argv;
    complain(/^[a-z]+$/.test(command) ? command : "", `the output can't be written: ${message}`);
  } catch {
    // Nor can this.
  }
  process.exit(FAILED);
}

// A terminal or a pipe tells of it later, a file at once, from within write().
for (const stream of [process.stdout, process.stderr]) stream.on("error", unwritable);

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const program = new Command("pinless")
  .description("Direct I/O whose buffers stay ordinary memory")
  .version(version)
  .showHelpAfterError("(try --help)")
  .exitOverride()
  .addCommand(benchCommand(version))
  .addCommand(checkCommand())
  .addCommand(doctorCommand(version))
  .addCommand(releaseCommand())
  .addCommand(simulateCommand(version))
  .addCommand(topCommand());

// A name that was given, or found by the shell, is a part of the message.
const writeErr = (text: string): void => void process.stderr.write(printableLines(text));
for (const command of [program, ...program.commands]) command.configureOutput({ writeErr });

try {
  await program.parseAsync();
} catch (error) {
  // Commander has said it already. Help that was asked for ends with 0.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : USAGE;
  else if ((error as NodeJS.ErrnoException)?.syscall === "write") unwritable(error as NodeJS.ErrnoException);
  else throw error;
}
