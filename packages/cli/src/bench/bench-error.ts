/** A failure that says in one line what is wrong and what to change; no stack is of use. */
export class BenchError extends Error {
  override readonly name: string = "BenchError";
}

/** A file that can't be compared. */
export class ReportError extends BenchError {
  override readonly name = "ReportError";
  readonly code: "ERR_BENCH_UNREADABLE" | "ERR_BENCH_NOT_A_REPORT" | "ERR_BENCH_FORMAT";

  constructor(code: ReportError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** What this machine hasn't got: a reason to leave something out, and not a failure. */
export class Unavailable extends Error {
  override readonly name = "Unavailable";
}

/** Whether something isn't there, rather than broken. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof Unavailable || (error as { code?: unknown } | null)?.code === "ERR_PINLESS_UNSUPPORTED";
}
