/** Types of the values of options: how each is called in the documentation, and how it's parsed. */

import type { PerDirection, Size, SizeRange } from "./job.js";
import { JobError } from "./job-error.js";
import { type KbBase, parseBytes, parseNumber, parseTimeUs } from "./quantities.js";

/** A type of values. `bare` is what an option without a value means; without it a value is needed. */
export interface OptionType<Value> {
  readonly name: string;
  /** @param before - The value so far, for a value that may be given in part. */
  read(text: string, kbBase: KbBase, before: Value): Value;
  readonly bare?: string;
}

function type<Value>(name: string, read: OptionType<Value>["read"], bare?: string): OptionType<Value> {
  return bare === undefined ? { name, read } : { name, read, bare };
}

export const TEXT = type<string>("text", (text) => text);
/** A name, or nothing: an empty name is taken from the job. */
export const LOG_NAME = type<string | null>("text, or bare", (text) => text, "");
export const BYTES = type<number>("size", (text, kbBase) => parseBytes(text, kbBase));
export const BOOLEAN = type<boolean>("0 or 1", (text) => readNumber(text, 0, 1) === 1, "1");
/** A flag whose name says the opposite of the value. */
export const INVERTED = type<boolean>("0 or 1", (text) => readNumber(text, 0, 1) === 0, "1");
export const PERCENTAGE = type<number>("0 to 100", (text) => readNumber(text.replace(/%$/, ""), 0, 100));

/** A whole number between two limits. */
export function whole(least: number, most = 2 ** 32 - 1): OptionType<number> {
  return type(`number from ${least}`, (text, kbBase) => inside(parseBytes(text, kbBase), least, most, text));
}

function readNumber(text: string, least: number, most: number): number {
  const value = parseNumber(text);
  if (!Number.isInteger(value)) throw new JobError(`a whole number is needed, not "${text}"`);
  return inside(value, least, most, text);
}

function inside(value: number, least: number, most: number, text: string): number {
  if (value >= least && value <= most) return value;
  throw new JobError(`a number from ${least} to ${most} is needed, not "${text}"`);
}

/** A time, kept in the unit of `keptUs` microseconds; a number without a unit is in `plainUs`. */
export function time(plainUs: number, keptUs = 1): OptionType<number> {
  const unit = plainUs === 1e6 ? "seconds" : plainUs === 1e3 ? "milliseconds" : "microseconds";
  return type(`time in ${unit}`, (text) => parseTimeUs(text, plainUs) / keptUs);
}

/** One of the given words. */
export function oneOf<const Word extends string>(...words: readonly Word[]): OptionType<Word> {
  return mapped(Object.fromEntries(words.map((word) => [word, word])) as Record<Word, Word>);
}

/** One of the keys, which stands for its value. `bare` is the key that's meant without a value. */
export function mapped<Value>(words: Readonly<Record<string, Value>>, bare?: string): OptionType<Value> {
  const names = Object.keys(words);
  return type(
    names.join(", "),
    (text) => {
      if (Object.hasOwn(words, text)) return words[text]!;
      throw new JobError(`one of ${names.join(", ")} is needed, not "${text}"`);
    },
    bare,
  );
}

/** Up to three values for reads, writes and trims. One is for all; two are for reads, and for writes and trims. */
export function each<Value>(one: OptionType<Value>): OptionType<PerDirection<Value>> {
  return type(`${one.name}; or read,write,trim`, (text, kbBase, before) => {
    const parts = text.split(",").map((part) => part.trim());
    if (parts.length > 3) throw new JobError(`at most three values are taken, for reads, writes and trims: "${text}"`);
    const [read, write, trim] = [parts[0]!, parts[1] ?? parts[0]!, parts[2] ?? parts[1] ?? parts[0]!];
    const value = (part: string, old: Value) => (part === "" ? old : one.read(part, kbBase, old));
    return { read: value(read, before.read), write: value(write, before.write), trim: value(trim, before.trim) };
  });
}

/** The same value for every direction. */
export function everyDirection<Value>(value: Value): PerDirection<Value> {
  return { read: value, write: value, trim: value };
}

/** A size, or a percentage of a whole, up to `most`. */
export function size(most: number): OptionType<Size> {
  return type("size or %", (text, kbBase) => {
    if (!text.endsWith("%")) return { bytes: positive(parseBytes(text, kbBase), text), percent: null };
    return { bytes: 0, percent: readNumber(text.slice(0, -1), 0, most) };
  });
}

/** A type whose values may be missing. */
export function optional<Value>({ name, read }: OptionType<Value>): OptionType<Value | null> {
  return type(name, (text, kbBase, before) => read(text, kbBase, before as Value));
}

function positive(bytes: number, text: string): number {
  if (bytes >= 0) return bytes;
  throw new JobError(`a size of at least 0 is needed, not "${text}"`);
}

/** A range such as `4k-64k`, or one size. */
export const RANGE = type<SizeRange>("size, or min-max", (text, kbBase) => {
  const [low = "", high = low, ...more] = text.split(/[-:](?=[^-:])/);
  if (more.length > 0) throw new JobError(`a range such as 4k-64k is needed, not "${text}"`);
  const [a, b] = [positive(parseBytes(low, kbBase), text), positive(parseBytes(high, kbBase), text)];
  return { min: Math.min(a, b), max: Math.max(a, b) };
});

/** A range of times in microseconds; a number without a unit is in seconds. */
export const TIME_RANGE = type<SizeRange>("time in seconds, or min-max", (text) => {
  const [low = "", high = low] = text.split("-");
  return { min: parseTimeUs(low, 1e6), max: parseTimeUs(high, 1e6) };
});

/** Numbers between colons. */
export const NUMBERS = type<readonly number[]>("numbers between colons", (text) => {
  const numbers = text.split(":").map(parseNumber);
  if (numbers.length > 20) throw new JobError(`at most 20 numbers are taken, not ${numbers.length}`);
  return numbers;
});

/** Paths between colons; a backslash takes a colon into a path. */
export const PATHS = type<readonly string[]>("paths between colons", (text) =>
  text
    .split(/(?<!\\):/)
    .map((path) => path.replaceAll("\\:", ":").trim())
    .filter((path) => path !== ""),
);
