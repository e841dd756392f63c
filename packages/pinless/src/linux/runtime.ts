/** Which JavaScript runtimes can run this, and what their permissions hide. */

import { PinlessError } from "../errors.js";

/**
 * Throws `ERR_PINLESS_UNSUPPORTED` in Bun (1.4): its sockets don't listen to a descriptor that they're given, so no end of a request would
 * ever be heard of; and its WebAssembly memory begins on any page. Deno has both.
 */
export function assertRuntime(): void {
  const { bun } = process.versions;
  if (bun === undefined) return;
  throw new PinlessError(
    "ERR_PINLESS_UNSUPPORTED",
    `pinless doesn't run in Bun (this is ${bun}), whose net.Socket doesn't listen to a descriptor that it's given: run it with Node or Deno`,
  );
}

/** Why a file can't be read, if it's Node's permission model that keeps this process from it; else null. */
export function whyHidden(path: string): string | null {
  const { permission } = process as { permission?: { has(scope: string, path: string): boolean } };
  if (permission === undefined || permission.has("fs.read", path)) return null;
  return `Node's permission model hides ${path}: start node with --allow-fs-read=/proc/* (and /sys/*)`;
}
