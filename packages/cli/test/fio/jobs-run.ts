/** Runs jobs by pinless, and compares their reports with those of fio. */

import { spawnSync } from "node:child_process";
import path from "node:path";

const MAIN = path.resolve(import.meta.dirname, "../../dist/main.js");

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Figures {
  readonly io_bytes: number;
  readonly total_ios: number;
  readonly short_ios: number;
}

export interface JobFigures {
  readonly jobname: string;
  readonly groupid: number;
  readonly error: number;
  readonly read: Figures;
  readonly write: Figures;
  readonly pinless?: { readonly threads: readonly { readonly way: string }[] };
}

export interface Report {
  readonly jobs: readonly JobFigures[];
}

export function byPinless(words: readonly string[], cwd: string): Ran {
  const options = { cwd, encoding: "utf8", maxBuffer: 64 << 20 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, "bench", ...words], options);
  return { code: status, stdout, stderr };
}

/** The JSON of an output; fio may print notes before it. */
export function reportIn({ code, stdout, stderr }: Ran): Report {
  const at = stdout.indexOf("{");
  if (at < 0) throw new Error(`no JSON; exit code ${code}: ${stdout}${stderr}`);
  return JSON.parse(stdout.slice(at)) as Report;
}

/** Paths of all keys, with their types, without what only pinless has. */
export function keysOf(value: unknown, at = ""): string[] {
  if (typeof value !== "object" || value === null) return [`${at}: ${typeof value}`];
  return Object.entries(value).flatMap(([key, inner]) => (key === "pinless" ? [] : keysOf(inner, `${at}/${key}`)));
}

/** Counts that fio and pinless have to agree on. */
export function countsOf({ jobs }: Report): unknown {
  const counts = ({ io_bytes, total_ios, short_ios }: Figures) => ({ io_bytes, total_ios, short_ios });
  return jobs.map(({ jobname, groupid, error, read, write }) => ({
    jobname,
    groupid,
    error,
    read: counts(read),
    write: counts(write),
  }));
}
