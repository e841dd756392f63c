/** Loads koffi, the add-on that makes system calls. */

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type koffiModule from "koffi";
import { PinlessError } from "../protocol/errors.js";
import { lack, lackOf } from "./lacks.js";

export type Koffi = typeof koffiModule;

/**
 * Imports koffi. Throws `ERR_PINLESS_UNSUPPORTED` where Node may not load add-ons, and `EMFILE` and the like where a
 * resource is missing for the moment.
 */
export async function importKoffi(): Promise<Koffi> {
  try {
    return (await import("koffi")).default;
  } catch (cause) {
    // Node caches a failed import for ever; require() loads again at the next call.
    const again = requireKoffi();
    if (again !== null) return again;
    const missing = lackOf(cause);
    if (missing !== null) throw lack(missing, "koffi, the add-on for system calls, can't be loaded", cause);
    const error = new PinlessError(
      "ERR_PINLESS_UNSUPPORTED",
      `koffi, the add-on for system calls, can't be loaded: ${(cause as Error).message}. ` +
        "Under Node's permission model start node with --allow-addons; " +
        "otherwise install pinless again on this machine.",
    );
    error.cause = cause;
    throw error;
  }
}

/**
 * Requires koffi by its file. Node may have resolved the name while package.json couldn't be read, and caches that for
 * ever.
 */
function requireKoffi(): Koffi | null {
  try {
    const file = new URL("./index.cjs", import.meta.resolve("koffi"));
    return createRequire(import.meta.url)(fileURLToPath(file)) as Koffi;
  } catch {
    return null;
  }
}
