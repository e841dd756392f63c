/** Finds and reads what-if files. */

import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { InputError, type InputSource } from "../simulate/input-error.js";
import { readJson } from "./json-input.js";

const MAX_BYTES = 1 << 20;
/** Directory of the plans that come with pinless. */
const SHIPPED = fileURLToPath(new URL("../../plans/", import.meta.url));

/** Path of a file, or of a shipped plan of that name. Throws `InputError` if there is neither. */
export function whatIfFile(name: string): string {
  const shipped = path.join(SHIPPED, `${path.basename(name, ".json")}.json`);
  // A name with a slash is a path: if there is no such file, reading it reports that.
  if (name.includes("/") || existsSync(name)) return name;
  if (existsSync(shipped)) return shipped;
  const names = readdirSync(SHIPPED).filter((file) => file.endsWith(".json"));
  throw new InputError(
    `there's no such file: give one of your own (plans/README.md has the format), or one of ${names.join(", ")}`,
    name,
  );
}

/** Throws `UsageError` or `InputError`, as `readJson` does. */
export function readWhatIf(file: string): InputSource {
  return readJson(file, MAX_BYTES);
}
