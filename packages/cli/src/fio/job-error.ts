/** The error of a job that can't be run as it's written. */

import { UsageError } from "../command/failures.js";
import type { SourcePlace } from "./job.js";

export class JobError extends UsageError {
  override readonly name = "JobError";
}

/** Runs `work`; what it complains of gets the place before it. */
export function locating<Result>(place: SourcePlace, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof JobError)) throw error;
    throw new JobError(`${shownPlace(place)}: ${error.message}`);
  }
}

export function shownPlace({ file, line }: SourcePlace): string {
  return line === 0 ? file : `${file}:${line}`;
}
