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
