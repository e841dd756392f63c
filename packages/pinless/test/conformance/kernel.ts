/** The real kernel as a ground for the conformance suites. */

import { mkdtempSync, rmSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after } from "node:test";
import { Engine, type PinMode, type SchemeName } from "../../dist/index.js";
import { addressOf } from "../support/proc.js";
import type { Ground } from "./ground.js";
import { kernelAround } from "./kernel-around.js";

const scratch = mkdtempSync(path.join(os.tmpdir(), "pinless-test-"));
after(() => rmSync(scratch, { recursive: true }));
let files = 0;

export function kernelGround(scheme: SchemeName, pin: PinMode): Ground {
  return {
    name: `${scheme}, ${pin}`,
    pin,
    harmed: pin === "lifetime",
    // What else runs here may make memory short; leases then go for that.
    open: (options) => Engine.open({ ...options, events: { pressure: false, ...options?.events }, scheme, pin }),
    addressOf,
    async file(content) {
      const file = path.join(scratch, `file-${files++}`);
      await writeFile(file, content);
      return file;
    },
    device: "/dev/zero",
    contentOf: (file) => readFile(file),
    around: kernelAround(scheme, pin),
  };
}
