/** `pinless-lab simulate --what-if FILE`: three designs on a machine that isn't there. */

import { complain, onInterrupt, print, terminal, whyUnwritable, writeJson } from "@pinless/cli/command";
import { SingleBar } from "cli-progress";
import { readStudy } from "../what-if/plan.js";
import { runStudy } from "../what-if/study.js";
import { WhatIfError } from "../what-if/what-if-error.js";
import { readWhatIf, whatIfFile } from "./what-if-file.js";
import { renderStudy } from "./what-if-text.js";

const FAILED = 1;
/** What is over sooner needs no bar. */
const SHOW_AFTER_MS = 1000;

export interface WhatIfFlags {
  readonly whatIf: string;
  readonly seed: number;
  readonly json?: string;
}

export async function whatIf({ whatIf: path, seed, json }: WhatIfFlags, engine: string): Promise<void> {
  const interrupt = onInterrupt();
  const bar = progressBar();
  try {
    const file = whatIfFile(path);
    const unwritable = whyUnwritable(json, [file]);
    if (unwritable !== null) throw new WhatIfError("ERR_WHAT_IF_UNWRITABLE", unwritable, null);
    const study = readStudy(readWhatIf(file));
    const report = await runStudy(study, {
      engine,
      seed,
      stopped: () => interrupt.exitCode !== null,
      progress: bar.progress,
      turn: () => new Promise((resolve) => setImmediate(resolve)),
    });
    bar.stop();
    if (report === null) process.exitCode = interrupt.exitCode ?? FAILED;
    else if (writeJson("pinless-lab simulate", report, json)) print(renderStudy(report, terminal()));
  } catch (error) {
    bar.stop();
    if (!(error instanceof WhatIfError)) throw error;
    complain("pinless-lab simulate", `${path}: ${error.message}`);
    process.exitCode = FAILED;
  } finally {
    interrupt.stop();
  }
}

function progressBar(): { progress: (done: number, of: number) => void; stop: () => void } {
  if (!process.stderr.isTTY) return { progress: () => {}, stop: () => {} };
  const bar = new SingleBar({
    stream: process.stderr,
    format: "{bar} {value}/{total} runs",
    clearOnComplete: true,
    gracefulExit: false,
  });
  const began = performance.now();
  let shown = false;
  return {
    progress: (done, of) => {
      if (!shown && performance.now() - began < SHOW_AFTER_MS) return;
      if (!shown) bar.start(of, done);
      shown = true;
      bar.update(done);
    },
    stop: () => bar.stop(),
  };
}
