/** Exit codes of commands that fail, and the error that means that the user has to change something. */

export const FAILED = 1;
export const USAGE = 2;

/** A request of the user that can't be met. The message is one line for the user, who has no use for a stack. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
