/** Lines of checksums, written and read as by sha256sum of coreutils. */

import type { Algorithm } from "./algorithms.js";

export interface LineStyle {
  readonly tag: boolean;
  readonly zero: boolean;
  readonly binary: boolean;
}

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r" };
const UNESCAPES: Readonly<Record<string, string>> = { "\\\\": "\\", "\\n": "\n", "\\r": "\r" };

/** Escapes a name, so that it's one line. */
export function escapedName(name: string): string {
  return name.replace(/[\\\n\r]/g, (character) => ESCAPES[character]!);
}

/** Renders a line, with its end. A line with an escaped name begins with a backslash. */
export function sumLine({ tag }: Algorithm, hex: string, name: string, style: LineStyle): string {
  const shown = style.zero ? name : escapedName(name);
  const mark = shown === name ? "" : "\\";
  const end = style.zero ? "\0" : "\n";
  return style.tag
    ? `${mark}${tag} (${shown}) = ${hex}${end}`
    : `${mark}${hex} ${style.binary ? "*" : " "}${shown}${end}`;
}

interface Listed {
  readonly hex: string;
  readonly name: string;
}

/** Reads the lines of one list: all of them are GNU's with two separators, or all BSD's with one. */
export class SumLineReader {
  readonly #tag: string;
  readonly #untagged: RegExp;
  readonly #tagged: RegExp;
  /** Number of separators between checksum and name; 0 until a line has shown it. */
  #separators: 0 | 1 | 2 = 0;

  constructor({ tag, hexDigits }: Algorithm) {
    this.#tag = tag;
    this.#untagged = new RegExp(`^([0-9A-Fa-f]{${hexDigits}})[ \\t](.+)$`, "s");
    this.#tagged = new RegExp(`^ ?\\((.*)\\)[ \\t]*=[ \\t]*([0-9A-Fa-f]{${hexDigits}})$`, "s");
  }

  /** Reads a line without its end; null if it isn't one of a checksum. */
  read(line: string): Listed | null {
    const [, mark = "", rest = ""] = /^[ \t]*(\\?)(.*)$/s.exec(line) ?? [];
    const listed = rest.startsWith(this.#tag)
      ? this.#readTagged(rest.slice(this.#tag.length))
      : this.#readUntagged(rest);
    if (listed === null || mark === "") return listed;
    const name = unescapedName(listed.name);
    return name === null ? null : { ...listed, name };
  }

  #readTagged(text: string): Listed | null {
    const [, name, hex] = this.#tagged.exec(text) ?? [];
    return name === undefined || hex === undefined ? null : { hex, name };
  }

  #readUntagged(text: string): Listed | null {
    const [, hex, name] = this.#untagged.exec(text) ?? [];
    if (hex === undefined || name === undefined) return null;
    if (name.length === 1 || !/^[ *]/.test(name)) {
      if (this.#separators === 2) return null;
      this.#separators = 1;
    } else if (this.#separators !== 1) this.#separators = 2;
    return { hex, name: this.#separators === 2 ? name.slice(1) : name };
  }
}

/** Undoes the escapes of a name; null if a backslash isn't part of one, or the name has a zero byte. */
function unescapedName(name: string): string | null {
  if (/\0/.test(name) || /\\(?![\\nr])/.test(name.replaceAll("\\\\", ""))) return null;
  return name.replace(/\\[\\nr]/g, (sequence) => UNESCAPES[sequence]!);
}
