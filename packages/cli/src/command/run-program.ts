/**
 * Runs a command line program, from its arguments to its exit code: 0 for success, 1 for failure, 2 for wrong usage,
 * 130 for Ctrl-C.
 */

import { Command, CommanderError } from "commander";
import { programArguments } from "./byte-names.js";
import { FAILED, USAGE } from "./failures.js";
import { complain } from "./output.js";
import { printableLines } from "./printable.js";

export interface Program {
  readonly name: string;
  readonly description: string;
  readonly version: string;
  readonly commands: readonly Command[];
}

export async function runProgram({ name, description, version, commands }: Program): Promise<void> {
  const unwritable = (error: NodeJS.ErrnoException): never => giveUpWriting(name, error);
  // A terminal or pipe reports a write error later, a file at once from within write().
  for (const stream of [process.stdout, process.stderr]) stream.on("error", unwritable);
  const program = new Command(name).description(description).version(version).showHelpAfterError("(try --help)");
  for (const command of commands) program.addCommand(command);
  // The message may contain a name that was given on the command line or found by the shell.
  const writeErr = (text: string): void => void process.stderr.write(printableLines(text));
  const configure = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr });
    for (const each of command.commands) configure(each);
  };
  configure(program);
  try {
    await program.parseAsync(programArguments(), { from: "user" });
  } catch (error) {
    // Commander has printed the message already. Help that was asked for exits with 0.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : USAGE;
    else if ((error as NodeJS.ErrnoException)?.syscall === "write") unwritable(error as NodeJS.ErrnoException);
    else throw error;
  }
}

/**
 * Ends the process after a write error. A reader that has closed its end (`| head`) isn't one; others are reported on
 * the standard error.
 */
function giveUpWriting(name: string, { code, message }: NodeJS.ErrnoException): never {
  if (code === "EPIPE") process.exit();
  try {
    const [, , command = ""] = process.argv;
    complain(/^[a-z-]+$/.test(command) ? `${name} ${command}` : name, `the output can't be written: ${message}`);
  } catch {
    // The standard error isn't writable either.
  }
  process.exit(FAILED);
}
