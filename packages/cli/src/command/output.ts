/** Writes text of commands to the terminal, without control sequences, wherever the text came from. */

import { bytesOf } from "./byte-names.js";
import { jsonText, printable, printableLines } from "./printable.js";

/** The only control sequences of our own: bold, colours, and their ends. */
const OWN = new RegExp(`(${String.fromCharCode(27)}\\[(?:0|1|22|3[1-6]|39)m)`);

/** Writes lines to the standard output. Colours are kept only on a terminal that supports them. */
export function print(text: string): void {
  const isColoured = process.stdout.isTTY === true && process.stdout.hasColors();
  const parts = isColoured ? text.split(OWN) : [text];
  // Split by a capturing group, every second part is a separator.
  process.stdout.write(parts.map((part, i) => (i % 2 === 1 ? part : printableLines(part))).join(""));
}

/** Writes text whose file names keep every byte, for other programs; on a terminal without control sequences. */
export function printNames(text: string): void {
  process.stdout.write(process.stdout.isTTY === true ? printableLines(text) : bytesOf(text));
}

export function printJson(value: unknown, indent?: number): void {
  process.stdout.write(jsonText(value, indent));
}

/** Writes one line to the standard error: program and command, and what is wrong. */
export function complain(program: string, message: string): void {
  process.stderr.write(`${printable(`${program}: ${message}`)}\n`);
}
