/** koffi, the add-on that system calls go through. */

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type koffiModule from "koffi";
import { PinlessError } from "../protocol/errors.js";
import { lack, lackOf } from "./lacks.js";

export type Koffi = typeof koffiModule;

/** Throws `ERR_PINLESS_UNSUPPORTED` where Node may not load add-ons; what is missing for a moment only, as `EMFILE` and the like. */
export async function importKoffi(): Promise<Koffi> {
  try {
    return (await import("koffi")).default;
  } catch (cause) {
    // An import that failed fails for ever; what require() failed to load is loaded again the next time.
    const again = requireKoffi();
    if (again !== null) return again;
    const missing = lackOf(cause);
    if (missing !== null) throw lack(missing, "koffi, the add-on that system calls go through, can't be loaded", cause);
    const error = new PinlessError(
      "ERR_PINLESS_UNSUPPORTED",
      `koffi, the add-on that system calls go through, can't be loaded: ${(cause as Error).message}. ` +
        "Under Node's permission model start node with --allow-addons; otherwise install pinless again on this machine.",
    );
    error.cause = cause;
    throw error;
  }
}

/** By its file: its name may have been resolved without a look at its package.json, and is for ever then. */
function requireKoffi(): Koffi | null {
  try {
    const file = new URL("./index.cjs", import.meta.resolve("koffi"));
    return createRequire(import.meta.url)(fileURLToPath(file)) as Koffi;
  } catch {
    return null;
  }
}
