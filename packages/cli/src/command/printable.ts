/** Makes text from elsewhere (other processes, reports, file names) harmless for a terminal. */

/**
 * Control characters (C0, DEL, C1), invisible and bidirectional formatting characters, line and paragraph separators,
 * and lone surrogates.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Replaces every such character by its number: `\x1b`, `\u202e`. */
export function printable(text: string): string {
  return text.replace(UNSAFE, escaped);
}

/** The same for text of several lines, which stay lines. */
export function printableLines(text: string): string {
  return text.replace(UNSAFE, (character) => (character === "\n" ? character : escaped(character)));
}

/** JSON that ends with a newline and is harmless for a terminal; parsing it gives the original value. */
export function jsonText(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, null, indent);
  return `${text.replace(UNSAFE, (character) => (character === "\n" ? character : inJson(character)))}\n`;
}

/** The same value with all its text made printable, including property names. */
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

/** JSON escape of a character; above 0xffff it takes two. */
function inJson(character: string): string {
  return Array.from({ length: character.length }, (_, i) => `\\u${hex(character.charCodeAt(i), 4)}`).join("");
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}
