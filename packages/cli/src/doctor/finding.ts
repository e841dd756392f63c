/** A finding about the machine: a verdict, a sentence, and remedies if something is missing. */

import { getSystemErrorMap } from "node:util";

export type Verdict = "ok" | "degraded" | "missing";

export interface Finding {
  readonly verdict: Verdict;
  readonly found: string;
  /** Remedies, a sentence each; empty if nothing is missing or nothing can be done. */
  readonly remedies: readonly string[];
}

/** A finding with its facts. An unknown fact is null. */
export type Found<Facts> = Finding & Facts;

export const ok = (found: string): Finding => ({ verdict: "ok", found, remedies: [] });

export const degraded = (found: string, ...remedies: string[]): Finding => ({ verdict: "degraded", found, remedies });

export const missing = (found: string, ...remedies: string[]): Finding => ({ verdict: "missing", found, remedies });

/** Name of a negative errno, e.g. "EPERM". */
export function errnoName(errno: number): string {
  return getSystemErrorMap().get(errno)?.[0] ?? `errno ${-errno}`;
}

export function bytesText(value: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const power = value === 0 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const shown = value / 1024 ** power;
  return `${shown.toFixed(Number.isInteger(shown) ? 0 : 1)} ${units[power]}`;
}

export function countText(value: number): string {
  return value.toLocaleString("en-US");
}
