/** Checks that this machine can do an operation, before any I/O waits for it. */

import type { Memory } from "../ports/memory.js";
import { checkOptions } from "../ports/option-checks.js";
import { argumentError, PinlessError, type PinlessErrorCode } from "../protocol/errors.js";

/** Throws an error with the code if there is a reason. */
export function refuseIf(code: PinlessErrorCode, why: string | null): void {
  if (why !== null) throw new PinlessError(code, why);
}

/** Returns the node of `arena.migrate`'s options. Throws if it isn't one, or pages can't be migrated there. */
export function nodeToMigrateTo(options: { node: number }, memory: Memory): number {
  checkOptions("arena.migrate", options, ["node"]);
  const { node } = options;
  if (!Number.isSafeInteger(node) || node < 0)
    throw argumentError("ERR_OUT_OF_RANGE", `options.node must be a non-negative integer. Received ${String(node)}`);
  refuseIf("ERR_PINLESS_UNSUPPORTED", memory.explainNoMigration());
  const nodes = memory.nodes();
  const none = `node ${node} has no memory that this process may use: choose one of ${nodes.join(", ")}`;
  refuseIf("ERR_PINLESS_NO_NODE", nodes.includes(node) ? null : none);
  return node;
}
