#!/usr/bin/env node
/** `pinless-lab`: the protocol explored in every order, the engine simulated by seed, and designs compared. */

import { readFileSync } from "node:fs";
import { runProgram } from "@pinless/cli/command";
import { checkCommand } from "./commands/check.js";
import { serveCommand } from "./commands/serve.js";
import { simulateCommand } from "./commands/simulate.js";
import { whatIfCommand } from "./commands/what-if.js";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

await runProgram({
  name: "pinless-lab",
  description: "The protocol of pinless explored in every order, its engine simulated by seed, and designs compared",
  version,
  commands: [checkCommand(), simulateCommand(version), whatIfCommand(version), serveCommand()],
});
