#!/usr/bin/env node
/** `pinless`: exit codes are 0 (fine), 1 (failed), 2 (wrong usage), 130 (Ctrl-C). */

import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { benchCommand } from "./bench.js";
import { checkCommand } from "./check.js";
import { doctorCommand } from "./doctor.js";
import { releaseCommand } from "./release.js";
import { simulateCommand } from "./simulate.js";
import { topCommand } from "./top.js";

const USAGE = 2;

// Whoever reads us has read enough (| head): not an error, and nothing to say.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit();
    throw error;
  });
}

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

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Commander has said it already. Help that was asked for ends with 0.
  process.exitCode = error.exitCode === 0 ? 0 : USAGE;
}
