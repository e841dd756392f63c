/** `pinless bench JOB.fio…`: reads jobs, and shows what is understood of them. */

import { UsageError } from "../command/failures.js";
import { complain, print } from "../command/output.js";
import { commandLineOf, parseInvocation } from "./parse.js";

/** Resolves to the exit code. Throws `UsageError` for jobs that can't be understood. */
export async function benchJobs(words: readonly string[]): Promise<number> {
  const invocation = parseInvocation(words);
  for (const warning of invocation.warnings) complain("pinless bench", warning);
  if (invocation.showCommand) print(`${commandLineOf(invocation)}\n`);
  if (!invocation.parseOnly && !invocation.showCommand)
    throw new UsageError("jobs aren't run yet: --parse-only checks them, and --showcmd shows them");
  return 0;
}

/** True if words ask for jobs, rather than for pinless' own comparison. */
export function asksForJobs(words: readonly string[]): boolean {
  return words.some((word) => !word.startsWith("-") || /^--(name|section|showcmd|parse-only)\b/.test(word));
}
