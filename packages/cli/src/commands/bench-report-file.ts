/** Reads reports of `pinless bench --json` from files. */

import { ReportError } from "../bench/bench-error.js";
import type { ReportFile } from "../bench/report/comparison.js";
import { UsageError } from "../command/failures.js";
import { readInputFile } from "../command/input-file.js";
import { JsonError, parseJson } from "../command/json-source.js";
import { printableValue } from "../command/printable.js";

const MAX_BYTES = 16 << 20;

/** Reads a report. Throws `ReportError` if the file can't be read, or isn't JSON. */
export function readReportFile(path: string): ReportFile {
  try {
    return { path, value: printableValue(parseJson(readInputFile(path, MAX_BYTES)).value) };
  } catch (error) {
    if (error instanceof UsageError) throw new ReportError("ERR_BENCH_UNREADABLE", error.message);
    if (!(error instanceof JsonError)) throw error;
    throw new ReportError(
      "ERR_BENCH_NOT_A_REPORT",
      `${path}:${error.line ?? 1}: isn't JSON: ${error.message}; pinless bench --json writes what can be compared`,
    );
  }
}
