/** Starts worker threads of the engine, with errors that say what to change. */

import { existsSync } from "node:fs";
import type { Worker } from "node:worker_threads";
import { PinlessError } from "../protocol/errors.js";
import { lack, lackOf } from "./lacks.js";

/** Starts a worker. Throws what `threadError` makes of a failure. */
export function startThread(name: string, start: () => Worker): Worker {
  try {
    return start();
  } catch (error) {
    throw threadError(name, error);
  }
}

/**
 * Explains why a thread couldn't be started or has ended by itself, with `EAGAIN`, `EMFILE` and the like for a resource
 * that is short for the moment.
 */
export function threadError(name: string, error: unknown): Error {
  const what = `the thread "${name}" can't be started`;
  const missing = lackOf(error);
  if (missing !== null) return lack(missing, what, error);
  const { code, message } = error as { code?: string; message: string };
  switch (code) {
    case "ERR_ACCESS_DENIED":
      return unsupported(`${what}: under Node's permission model start node with --allow-worker`, error);
    case "ERR_MODULE_NOT_FOUND":
    case "MODULE_NOT_FOUND":
      return unsupported(`${what}, because a file of pinless is missing (install it again): ${message}`, error);
    default:
      return new Error(`${what}: ${message}`, { cause: error });
  }
}

/**
 * Throws `ERR_PINLESS_UNSUPPORTED` if the file of a thread isn't beside the module that names it, because a bundler has
 * moved it.
 */
export function assertUnbundled(files: readonly string[], base: string | undefined): void {
  for (const file of files) {
    try {
      if (existsSync(new URL(file, base))) continue;
    } catch {
      // A CommonJS bundle has no import.meta.url.
    }
    throw unsupported(
      `${file}, which a thread of pinless runs, isn't beside ${base ?? "the program"}: ` +
        "pinless can't be bundled. Leave it in " +
        "node_modules (esbuild: --external:pinless; rollup and vite: external: ['pinless']; webpack: externals)",
    );
  }
}

function unsupported(message: string, cause?: unknown): PinlessError {
  const error = new PinlessError("ERR_PINLESS_UNSUPPORTED", message);
  if (cause !== undefined) error.cause = cause;
  return error;
}
