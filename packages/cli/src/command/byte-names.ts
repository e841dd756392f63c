/**
 * File names as text that keeps every byte. Linux's names are bytes, mostly UTF-8. A byte that isn't part of UTF-8
 * becomes a lone surrogate, U+DC80 to U+DCFF, as in Python; such characters don't come from UTF-8.
 */

import { readFileSync } from "node:fs";

const SURROGATES = 0xdc00;
const UNDECODED = /[\udc80-\udcff]/;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes a name. */
export function nameOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return nameOfOtherBytes(bytes);
  }
}

function nameOfOtherBytes(bytes: Uint8Array): string {
  let name = "";
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at]!;
    const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    try {
      name += decoder.decode(bytes.subarray(at, at + length));
      at += length;
    } catch {
      name += String.fromCharCode(SURROGATES + first);
      at++;
    }
  }
  return name;
}

/** Encodes a name, or text with names in it, as the bytes that it was decoded from. */
export function bytesOf(name: string): Buffer {
  if (!UNDECODED.test(name)) return Buffer.from(name);
  const parts = [...name].map((character) =>
    UNDECODED.test(character) ? Buffer.of(character.charCodeAt(0) - SURROGATES) : Buffer.from(character),
  );
  return Buffer.concat(parts);
}

/** The arguments of this program. Node's `process.argv` has lost the bytes that aren't UTF-8. */
export function programArguments(): readonly string[] {
  // Text that node was given by --eval has no file name before its arguments.
  const known = process.argv.slice(process.execArgv.includes("--eval") ? 1 : 2);
  const own = argumentBytes().slice(-known.length);
  // Where the process has changed its title, the kernel shows something else.
  const isSame = own.length === known.length && own.every((bytes, i) => bytes.toString() === known[i]);
  return isSame ? own.map(nameOf) : known;
}

function argumentBytes(): readonly Buffer[] {
  try {
    const line = readFileSync("/proc/self/cmdline", "latin1");
    return line
      .split("\0")
      .slice(0, -1)
      .map((each) => Buffer.from(each, "latin1"));
  } catch {
    return [];
  }
}
