/** Text that came from elsewhere (other processes, reports, names of files), made harmless for a terminal. */

/** Controls (C0, DEL, C1), what turns the direction of text or isn't seen, separators of lines and paragraphs, and halves of characters. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Every character in it that does more than being seen is written as its number: `\x1b`, `\u202e`. */
export function printable(text: string): string {
  return text.replace(UNSAFE, escaped);
}

/** Text of several lines, which stay lines; everything else as `printable` has it. */
export function printableLines(text: string): string {
  return text.replace(UNSAFE, (character) => (character === "\n" ? character : escaped(character)));
}

/** JSON that ends with a newline and may go to a terminal as it is; whoever reads it gets the value unchanged. */
export function jsonText(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, null, indent);
  return `${text.replace(UNSAFE, (character) => (character === "\n" ? character : inJson(character)))}\n`;
}

/** The same value with all text in it printable, names of properties included. */
export function printableValue(value: unknown): unknown {
  if (typeof value === "string") return printable(value);
  if (Array.isArray(value)) return value.map(printableValue);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [printable(key), printableValue(each)]));
}

function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  return code < 0x100 ? `\\x${hex(code, 2)}` : code < 0x10000 ? `\\u${hex(code, 4)}` : `\\u{${hex(code, 1)}}`;
}

/** JSON knows no numbers above 0xffff: such a character is two. */
function inJson(character: string): string {
  return Array.from({ length: character.length }, (_, i) => `\\u${hex(character.charCodeAt(i), 4)}`).join("");
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}
