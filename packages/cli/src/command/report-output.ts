/** Writes reports as JSON, to a file or to the standard output. */

import { writeFileSync } from "node:fs";
import type { Style } from "./grid.js";
import { complain, printJson } from "./output.js";
import { jsonText } from "./printable.js";

export function terminal(): Style {
  const { columns = 80, isTTY = false } = process.stdout;
  return { columns, colors: isTTY && process.stdout.hasColors(), charts: isTTY };
}

/**
 * Writes the report; false if it went to the standard output, which then must get nothing else. A file that can't be
 * written fails the command.
 */
export function writeJson(program: string, value: unknown, json: string | undefined): boolean {
  if (json === undefined) return true;
  if (json === "-") {
    printJson(value, 2);
    return false;
  }
  try {
    writeFileSync(json, jsonText(value, 2));
  } catch (error) {
    complain(program, `the report can't be written: ${(error as Error).message}`);
    process.exitCode = 1;
  }
  return true;
}
