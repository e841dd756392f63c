/** Pages of a file in the page cache. */

import { execFileSync } from "node:child_process";

export function cachedBytes(file: string): number {
  return Number(execFileSync("fincore", ["--bytes", "--noheadings", "--output", "RES", file], { encoding: "utf8" }));
}

/** Has the page cache forget a file, which is written back first. */
export function forget(file: string): void {
  execFileSync("sync", [file]);
  execFileSync("dd", ["status=none", `if=${file}`, "iflag=nocache", "count=0"]);
}
