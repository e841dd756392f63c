/** All that commands write to people: nothing in it, wherever it came from, tells the terminal what to do. */

import { jsonText, printable, printableLines } from "./printable.js";

/** The only sequences that output for people has: bold, the colours of marks and lines, and their ends. */
const OWN = new RegExp(`(${String.fromCharCode(27)}\\[(?:0|1|22|3[1-6]|39)m)`);

/** Writes lines to the standard output. Colours stay only where there's a terminal that has them. */
export function print(text: string): void {
  const isColoured = process.stdout.isTTY === true && process.stdout.hasColors();
  const parts = isColoured ? text.split(OWN) : [text];
  // What was split by stands at every second place.
  process.stdout.write(parts.map((part, i) => (i % 2 === 1 ? part : printableLines(part))).join(""));
}

export function printJson(value: unknown, indent?: number): void {
  process.stdout.write(jsonText(value, indent));
}

/** Writes one line to the standard error: the program with its command, and what was wrong. */
export function complain(program: string, message: string): void {
  process.stderr.write(`${program}: ${printable(message)}\n`);
}
