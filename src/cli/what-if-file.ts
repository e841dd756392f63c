/** Reads a what-if file so that whatever is wrong with it can be said with its line. */

import { readFileSync } from "node:fs";
import { WhatIfError } from "../simulate/what-if/error.js";
import type { PlanSource } from "../simulate/what-if/plan.js";
import { JsonError, parseJson } from "./json-source.js";

/** Throws `WhatIfError`. */
export function readWhatIf(path: string): PlanSource {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new WhatIfError("ERR_WHAT_IF_UNREADABLE", (error as Error).message, null);
  }
  try {
    return parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new WhatIfError(
      error.reason === "twice" ? "ERR_WHAT_IF_WORD" : "ERR_WHAT_IF_JSON",
      error.message,
      error.line,
    );
  }
}
