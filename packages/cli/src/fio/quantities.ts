/** Parses numbers with units, and arithmetic in parentheses, as fio does. */

import { JobError } from "./job-error.js";

/** Bytes of a `k`. */
export type KbBase = 1000 | 1024;

const POWERS = "kmgtp";
const TIMES_US: Readonly<Record<string, number>> = {
  us: 1,
  usec: 1,
  ms: 1e3,
  msec: 1e3,
  s: 1e6,
  sec: 1e6,
  m: 60e6,
  h: 3600e6,
  d: 86400e6,
};

/**
 * Factor of a unit of size. With a `k` of 1,024 bytes `kib` is 1,000, and the other way round: fio has swapped them for
 * the sake of jobs from before there were two.
 */
function sizeFactor(unit: string, kbBase: KbBase): number | null {
  if (unit === "" || unit === "b") return 1;
  const parts = /^([kmgtp])(ib|i|b)?$/.exec(unit);
  if (parts === null) return null;
  const base = parts[2] === "ib" ? 2024 - kbBase : kbBase;
  return base ** (POWERS.indexOf(parts[1]!) + 1);
}

/** Parses a size; also `0x…`, and an expression in parentheses. */
export function parseBytes(text: string, kbBase: KbBase): number {
  const value = parseQuantity(text, (unit) => sizeFactor(unit, kbBase));
  if (value === null) throw new JobError(`a size such as 4096, 4k or 1g is needed, not "${text}"`);
  return value;
}

/** Parses a time in microseconds; `plainUs` is the unit of a number without one. */
export function parseTimeUs(text: string, plainUs: number): number {
  const value = parseQuantity(text, (unit) => (unit === "" ? plainUs : (TIMES_US[unit] ?? null)));
  if (value === null || value < 0) throw new JobError(`a time such as 30, 30s or 100ms is needed, not "${text}"`);
  return value;
}

/** Parses a number without a unit; fractions too. */
export function parseNumber(text: string): number {
  const value = text.startsWith("(") ? parseQuantity(text, () => null) : decimal(text);
  if (value === null) throw new JobError(`a number is needed, not "${text}"`);
  return value;
}

function decimal(text: string): number | null {
  return /^-?(\d+(\.\d*)?|\.\d+)$/.test(text) ? Number(text) : null;
}

/** Value of an expression without units. */
export function evaluate(text: string): number {
  return Math.trunc(new Expression(text, () => null).value());
}

type Factor = (unit: string) => number | null;

function parseQuantity(text: string, factor: Factor): number | null {
  if (text.startsWith("(")) return checked(new Expression(text, factor).value());
  return checked(quantity(text, factor));
}

function checked(value: number | null): number | null {
  return value !== null && Math.abs(value) <= Number.MAX_SAFE_INTEGER ? Math.trunc(value) : null;
}

function quantity(text: string, factor: Factor): number | null {
  const parts = /^(-?)(0x[\da-f]+|\d+)([a-z]*)$/i.exec(text);
  if (parts === null) return null;
  const times = factor(parts[3]!.toLowerCase());
  return times === null ? null : (parts[1] === "-" ? -1 : 1) * Number(parts[2]) * times;
}

const TOKEN = /\s*(?:((?:0x[\da-f]+|\d+\.\d+|\d+))([a-z]*)|([-+*/%^()]))/iy;

/** Evaluates `+ - * / % ^` and parentheses by recursive descent. Numbers may have units. */
class Expression {
  readonly #text: string;
  readonly #factor: Factor;
  #at = 0;
  #token: string | number = "";

  constructor(text: string, factor: Factor) {
    this.#text = text;
    this.#factor = factor;
  }

  value(): number {
    this.#advance();
    const value = this.#sum();
    if (this.#token !== "") throw this.#error();
    return value;
  }

  #error(): JobError {
    return new JobError(`the expression "${this.#text}" isn't arithmetic`);
  }

  #advance(): void {
    TOKEN.lastIndex = this.#at;
    const found = TOKEN.exec(this.#text);
    if (found === null) {
      if (this.#text.slice(this.#at).trim() !== "") throw this.#error();
      this.#token = "";
      return;
    }
    this.#at = TOKEN.lastIndex;
    const times = found[3] === undefined && found[2] !== "" ? this.#factor(found[2]!.toLowerCase()) : 1;
    if (times === null) throw this.#error();
    this.#token = found[3] ?? Number(found[1]) * times;
  }

  #take(operators: string): string | null {
    const token = this.#token;
    if (typeof token !== "string" || token === "" || !operators.includes(token)) return null;
    this.#advance();
    return token;
  }

  #sum(): number {
    let value = this.#product();
    for (;;) {
      const operator = this.#take("+-");
      if (operator === null) return value;
      const right = this.#product();
      value = operator === "+" ? value + right : value - right;
    }
  }

  #product(): number {
    let value = this.#power();
    for (;;) {
      const operator = this.#take("*/%");
      if (operator === null) return value;
      const right = this.#power();
      if (operator !== "*" && right === 0) throw new JobError(`the expression "${this.#text}" divides by zero`);
      value = operator === "*" ? value * right : operator === "/" ? value / right : value % right;
    }
  }

  #power(): number {
    const base = this.#single();
    return this.#take("^") === null ? base : base ** this.#power();
  }

  #single(): number {
    if (this.#take("-") !== null) return -this.#single();
    if (this.#take("(") !== null) {
      const value = this.#sum();
      if (this.#take(")") === null) throw this.#error();
      return value;
    }
    const token = this.#token;
    if (typeof token !== "number") throw this.#error();
    this.#advance();
    return token;
  }
}
