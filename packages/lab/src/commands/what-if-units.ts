/** Formats figures for people. */

import { sizeOf } from "../what-if/fields.js";

/** Formats a swept value as shortly as possible. */
export function shortly(field: string, value: number | string | boolean): string {
  if (typeof value !== "number") return String(value);
  if (field.toLowerCase().endsWith("bytes")) return sizeOf(value);
  return field === "events.times" ? `×${count(value)}` : count(value);
}

export function count(value: number): string {
  const size = Math.abs(value);
  const digits = Number.isInteger(value) || size >= 10 ? 0 : size >= 0.1 ? 1 : 4;
  return value.toLocaleString("en-US", { maximumFractionDigits: digits });
}

export function duration(us: number): string {
  if (us === 0) return "0 µs";
  if (us < 1000) return `${us < 10 ? us.toFixed(1) : Math.round(us)} µs`;
  if (us < 1e6) return `${us < 1e4 ? (us / 1000).toFixed(1) : Math.round(us / 1000)} ms`;
  return `${(us / 1e6).toFixed(1)} s`;
}
