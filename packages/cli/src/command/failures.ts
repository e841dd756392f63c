/** Exit codes of commands that fail, and the error that means that the user has to change something. */

import { getSystemErrorMap } from "node:util";
import { complain } from "./output.js";

export const FAILED = 1;
export const USAGE = 2;

/** A request of the user that can't be met. The message is one line for the user, who has no use for a stack. */
export class UsageError extends Error {
  override readonly name: string = "UsageError";
}

/**
 * Runs the work of a command. An error of the given classes is written to the standard error as one line, and ends the
 * command with `exitCode`.
 */
export async function explaining(
  program: string,
  exitCode: number,
  errors: readonly (new (...given: never[]) => Error)[],
  work: () => void | Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!errors.some((each) => error instanceof each)) throw error;
    complain(program, (error as Error).message);
    process.exitCode = exitCode;
  }
}

/** Text of a failed system call: Node's description of its errno, and its code; of other errors, the message. */
export function systemReason(error: unknown): string {
  const { code, errno, message } = error as NodeJS.ErrnoException;
  const known = getSystemErrorMap().get(errno ?? 0);
  return known === undefined ? message : `${known[1]} (${code ?? known[0]})`;
}
