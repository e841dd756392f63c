/** Which JavaScript runtimes can run this, and what their permissions hide. */

import { PinlessError } from "../protocol/errors.js";

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

/** The part of `process.permission` that is asked. It's there only where Node's permission model is on. */
interface Permission {
  has(scope: string, path?: string): boolean;
}
const { permission } = process as { permission?: Permission };

/** Why a file can't be read, if it's Node's permission model that keeps this process from it; else null. */
export function whyHidden(path: string): string | null {
  if (permission === undefined || permission.has("fs.read", path)) return null;
  return `Node's permission model hides ${path}: start node with --allow-fs-read=/proc/* (and /sys/*)`;
}

/** Why Node's loop can't be woken by a descriptor, which takes a socket of Node's, if its permission model forbids that (from 25 on); else null. */
export function whyNoSocket(): string | null {
  if (permission === undefined || permission.has("net")) return null;
  if (!process.allowedNodeEnvironmentFlags.has("--allow-net")) return null;
  return "Node's permission model forbids the socket that wakes Node's loop: start node with --allow-net";
}
