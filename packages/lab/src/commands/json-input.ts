/** Reads JSON inputs so that an error in them can be reported with its line. */

import { JsonError, parseJson, readInputFile } from "@pinless/cli/command";
import { InputError, type InputSource } from "../simulate/input-error.js";

/** Throws `UsageError` for a file that can't be read, and `InputError` for one that isn't JSON. */
export function readJson(file: string, maxBytes: number): InputSource {
  const text = readInputFile(file, maxBytes);
  try {
    return { name: file, ...parseJson(text) };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new InputError(error.message, file, error.line);
  }
}
