/** Errors of the bench that callers tell apart. */

import { UsageError } from "../command/failures.js";

/** A report that can't be compared. */
export class ReportError extends UsageError {
  override readonly name = "ReportError";
  readonly code: "ERR_BENCH_UNREADABLE" | "ERR_BENCH_NOT_A_REPORT" | "ERR_BENCH_FORMAT";

  constructor(code: ReportError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** Something this machine doesn't have: a part is skipped, and the run hasn't failed. */
export class Unavailable extends Error {
  override readonly name = "Unavailable";
}

/** True if something is absent, rather than broken. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof Unavailable || (error as { code?: unknown } | null)?.code === "ERR_PINLESS_UNSUPPORTED";
}
