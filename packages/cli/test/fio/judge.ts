/** fio, as the judge of what pinless makes of its jobs. */

import { spawnSync } from "node:child_process";

/** Reason to skip what needs fio, or false. */
export const NO_FIO = spawnSync("fio", ["--version"]).error === undefined ? false : "machine: no fio";

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function byFio(words: readonly string[], cwd: string): Ran {
  return ran("fio", words, cwd);
}

function ran(program: string, words: readonly string[], cwd: string): Ran {
  const { status, stdout, stderr } = spawnSync(program, words, { cwd, encoding: "utf8", maxBuffer: 64 << 20 });
  return { code: status, stdout, stderr };
}
