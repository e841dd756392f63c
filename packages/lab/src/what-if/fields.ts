/** Types of values in a what-if file: how each is read, and the message for a wrong one. */

import { shown } from "../simulate/input-error.js";
import type { Quantiles } from "./distributions.js";

export interface Field<T> {
  readonly kind: string;
  readonly says: string;
  readonly otherwise: T;
  /** Returns the value, or the predicate of an error message, whose subject is the field. */
  read(value: unknown): { readonly ok: T } | { readonly wrong: string };
}

const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** A number of bytes, or a text such as "64 GiB", that is a multiple of `step`. */
export function bytes(otherwise: number, least: number, most: number, step: number, says: string): Field<number> {
  return {
    kind: `bytes, ${sizeOf(least)} to ${sizeOf(most)}, in steps of ${sizeOf(step)}`,
    says,
    otherwise,
    read: (value) => {
      const [, digits, unit] = typeof value === "string" ? (/^([\d.]+) ?([KMGT]iB|B)$/.exec(value) ?? []) : [];
      const found = digits === undefined ? value : Number(digits) * UNITS[unit!]!;
      if (typeof found !== "number" || Number.isNaN(found))
        return { wrong: `takes bytes: a number, or a text such as "64 GiB"; not ${shown(value)}` };
      if (found < least || found > most)
        return { wrong: `is from ${sizeOf(least)} to ${sizeOf(most)}, not ${sizeOf(found)}` };
      return found % step === 0 ? { ok: found } : { wrong: `is a multiple of ${sizeOf(step)}; ${shown(value)} isn't` };
    },
  };
}

export function whole(otherwise: number, least: number, most: number, says: string): Field<number> {
  return numeric(otherwise, least, most, `a whole number from ${least} to ${most}`, says, Number.isInteger);
}

export function number(otherwise: number, least: number, most: number, says: string): Field<number> {
  return numeric(otherwise, least, most, `a number from ${least} to ${most}`, says, Number.isFinite);
}

function numeric(
  otherwise: number,
  least: number,
  most: number,
  kind: string,
  says: string,
  isOne: (value: number) => boolean,
): Field<number> {
  return {
    kind,
    says,
    otherwise,
    read: (value) =>
      typeof value === "number" && isOne(value) && value >= least && value <= most
        ? { ok: value }
        : { wrong: `takes ${kind}, not ${shown(value)}` },
  };
}

export function word<W extends string>(otherwise: W, words: readonly W[], says: string): Field<W> {
  const kind = `one of ${words.map((w) => `"${w}"`).join(", ")}`;
  return {
    kind,
    says,
    otherwise,
    read: (value) =>
      words.includes(value as W) ? { ok: value as W } : { wrong: `takes ${kind}, not ${shown(value)}` },
  };
}

export function flag(otherwise: boolean, says: string): Field<boolean> {
  return {
    kind: "true or false",
    says,
    otherwise,
    read: (value) =>
      typeof value === "boolean" ? { ok: value } : { wrong: `takes true or false, not ${shown(value)}` },
  };
}

const PERCENTILES = 'microseconds: a number, or percentiles such as { "p0": 60, "p50": 80, "p99.9": 900 }';

/** A distribution of microseconds. All values lie between its first and its last percentile. */
export function distribution(otherwise: Quantiles, says: string): Field<Quantiles> {
  return {
    kind: PERCENTILES,
    says,
    otherwise,
    read: (value) => {
      const given = typeof value === "number" ? { p50: value } : value;
      if (typeof given !== "object" || given === null || Array.isArray(given) || Object.keys(given).length === 0)
        return { wrong: `takes ${PERCENTILES}; not ${shown(value)}` };
      const points: [share: number, us: number][] = [];
      for (const [name, us] of Object.entries(given as Record<string, unknown>)) {
        const percent = /^p(\d+(?:\.\d+)?)$/.exec(name)?.[1];
        if (percent === undefined || Number(percent) > 100)
          return { wrong: `has percentiles from p0 to p100, not "${name}"` };
        if (typeof us !== "number" || us < 0 || us > 1e7)
          return { wrong: `${name} takes microseconds from 0 to 10,000,000, not ${shown(us)}` };
        points.push([Number(percent) / 100, us]);
      }
      points.sort((a, b) => a[0] - b[0]);
      for (let i = 1; i < points.length; i++)
        if (points[i]![1] < points[i - 1]![1])
          return {
            wrong: `falls from ${points[i - 1]![1]} to ${points[i]![1]} with rising percentiles: give times that rise`,
          };
      if (points[0]![0] > 0) points.unshift([0, points[0]![1]]);
      if (points.at(-1)![0] < 1) points.push([1, points.at(-1)![1]]);
      return { ok: points };
    },
  };
}

export function sizeOf(bytes: number): string {
  const found = Object.entries(UNITS)
    .reverse()
    .find(([, unit]) => Math.abs(bytes) >= unit);
  if (found === undefined) return `${bytes} B`;
  return `${Number((bytes / found[1]).toFixed(2))} ${found[0]}`;
}
