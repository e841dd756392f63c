// The conformance suites on the real kernel, by io_uring, in every pin mode.
import { mkdtempSync, rmSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after } from "node:test";
import { Engine, type PinMode } from "../../dist/index.js";
import { addressOf } from "../support/proc.js";
import { arenas } from "./arenas.js";
import type { Ground } from "./ground.js";
import { hazards } from "./hazards.js";
import { invalidations } from "./invalidations.js";
import { notifier } from "./notifier.js";
import { submission } from "./submission.js";
import { transfers } from "./transfers.js";

const scratch = mkdtempSync(path.join(os.tmpdir(), "pinless-test-"));
after(() => rmSync(scratch, { recursive: true }));
let files = 0;

function ground(pin: PinMode): Ground {
  return {
    name: `io_uring, ${pin}`,
    pin,
    open: (options) => Engine.open({ ...options, scheme: "io_uring", pin }),
    addressOf,
    async file(content) {
      const file = path.join(scratch, `file-${files++}`);
      await writeFile(file, content);
      return file;
    },
    contentOf: (file) => readFile(file),
  };
}

for (const pin of ["lease", "lifetime", "per-io"] as const) {
  transfers(ground(pin));
  submission(ground(pin));
  arenas(ground(pin));
  hazards(ground(pin));
  invalidations(ground(pin));
  notifier(ground(pin));
}
