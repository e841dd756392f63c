/** Checks the JavaScript runtime, and what Node's permission model hides. */

import { PinlessError } from "../protocol/errors.js";

/**
 * Throws `ERR_PINLESS_UNSUPPORTED` in Bun (1.4): its sockets don't poll a descriptor that they're given, so that no
 * completion would ever be noticed, and its WebAssembly memory isn't aligned to 64 KiB. Deno works.
 */
export function assertRuntime(): void {
  const { bun } = process.versions;
  if (bun === undefined) return;
  throw new PinlessError(
    "ERR_PINLESS_UNSUPPORTED",
    `pinless doesn't run in Bun (this is ${bun}), whose net.Socket can't poll a given descriptor: run it ` +
      "with Node or Deno",
  );
}

/** The used part of `process.permission`, which exists only if Node's permission model is on. */
interface Permission {
  has(scope: string, path?: string): boolean;
}
const { permission } = process as { permission?: Permission };

/** Sentence that says that Node's permission model forbids reading a file; null if it doesn't. */
export function whyHidden(path: string): string | null {
  if (permission === undefined || permission.has("fs.read", path)) return null;
  return `Node's permission model hides ${path}: start node with --allow-fs-read=/proc/* (and /sys/*)`;
}

/**
 * Sentence that says that Node's permission model forbids sockets (from Node 25 on), which the wake-up needs; null if
 * it doesn't.
 */
export function whyNoSocket(): string | null {
  if (permission === undefined || permission.has("net")) return null;
  if (!process.allowedNodeEnvironmentFlags.has("--allow-net")) return null;
  return "Node's permission model forbids the socket that wakes Node's loop: start node with --allow-net";
}
