#!/usr/bin/env node
/** `pinless`: the commands bench, cp, doctor, release, sum and top. */

import { readFileSync } from "node:fs";
import { runProgram } from "./command/run-program.js";
import { benchCommand } from "./commands/bench.js";
import { cpCommand } from "./commands/cp.js";
import { doctorCommand } from "./commands/doctor.js";
import { releaseCommand } from "./commands/release.js";
import { sumCommand } from "./commands/sum.js";
import { topCommand } from "./commands/top.js";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

await runProgram({
  name: "pinless",
  description: "Direct I/O whose buffers stay ordinary memory",
  version,
  commands: [benchCommand(version), cpCommand(), doctorCommand(version), releaseCommand(), sumCommand(), topCommand()],
});
