/** Reads a what-if file so that whatever is wrong with it can be said with its line. */

import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { JsonError, parseJson, readInputFile, UsageError } from "@pinless/cli/command";
import type { PlanSource } from "../what-if/plan.js";
import { WhatIfError } from "../what-if/what-if-error.js";

const MAX_BYTES = 1 << 20;
/** Those that come with pinless. */
const SHIPPED = fileURLToPath(new URL("../../plans/", import.meta.url));

/** A file, or the name of one that comes with pinless. Throws `WhatIfError`. */
export function whatIfFile(name: string): string {
  const shipped = path.join(SHIPPED, `${path.basename(name, ".json")}.json`);
  // What can only be a path is said to be none when it's read.
  if (name.includes("/") || existsSync(name)) return name;
  if (existsSync(shipped)) return shipped;
  const names = readdirSync(SHIPPED).filter((file) => file.endsWith(".json"));
  throw new WhatIfError(
    "ERR_WHAT_IF_UNREADABLE",
    `there's no such file: give one of your own (plans/README.md has the format), or one of ${names.join(", ")}`,
    null,
  );
}

/** Throws `WhatIfError`. */
export function readWhatIf(file: string): PlanSource {
  try {
    return parseJson(readInputFile(file, MAX_BYTES));
  } catch (error) {
    if (error instanceof UsageError) throw new WhatIfError("ERR_WHAT_IF_UNREADABLE", error.message, null);
    if (!(error instanceof JsonError)) throw error;
    throw new WhatIfError(
      error.reason === "twice" ? "ERR_WHAT_IF_WORD" : "ERR_WHAT_IF_JSON",
      error.message,
      error.line,
    );
  }
}
