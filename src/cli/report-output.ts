/** Where reports go: the terminal that there is, or a file of JSON. */

import { writeFileSync } from "node:fs";
import type { Style } from "../bench/report/grid.js";

export function terminal(): Style {
  const { columns = 80, isTTY = false } = process.stdout;
  return { columns, colors: isTTY && process.stdout.hasColors(), charts: isTTY };
}

/** False: it went to the standard output, where nothing else goes then. A file that can't be written fails the command. */
export function writeJson(command: string, value: unknown, json: string | undefined): boolean {
  if (json === undefined) return true;
  const text = `${JSON.stringify(value, null, 2)}\n`;
  if (json === "-") {
    process.stdout.write(text);
    return false;
  }
  try {
    writeFileSync(json, text);
  } catch (error) {
    process.stderr.write(`pinless ${command}: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
  return true;
}
