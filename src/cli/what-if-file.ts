/** Reads a what-if file so that whatever is wrong with it can be said with its line. */

import { WhatIfError } from "../simulate/what-if/error.js";
import type { PlanSource } from "../simulate/what-if/plan.js";
import { InputFileError, readInputFile } from "./input-file.js";
import { JsonError, parseJson } from "./json-source.js";

const MAX_BYTES = 1 << 20;

/** Throws `WhatIfError`. */
export function readWhatIf(path: string): PlanSource {
  try {
    return parseJson(readInputFile(path, MAX_BYTES));
  } catch (error) {
    if (error instanceof InputFileError) throw new WhatIfError("ERR_WHAT_IF_UNREADABLE", error.message, null);
    if (!(error instanceof JsonError)) throw error;
    throw new WhatIfError(
      error.reason === "twice" ? "ERR_WHAT_IF_WORD" : "ERR_WHAT_IF_JSON",
      error.message,
      error.line,
    );
  }
}
