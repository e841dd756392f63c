/** A limit on memory for a process: a memory cgroup of its own. Root only. */

import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface MemoryLimit {
  /** Arguments before a command that is to have the limit. */
  readonly prefix: readonly string[];
  /** Most bytes that were used, the page cache included. */
  peak(): number;
  remove(): void;
}

/** Makes a limit, or returns null where there can be none. */
export function limitMemory(bytes: number): MemoryLimit | null {
  const name = `pinless-vector-search-${process.pid}`;
  const first = existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  const group = join(first ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup", name);
  const [limit, peak] = first ? ["memory.limit_in_bytes", "memory.max_usage_in_bytes"] : ["memory.max", "memory.peak"];
  try {
    mkdirSync(group, { recursive: true });
    writeFileSync(join(group, limit), String(bytes));
  } catch {
    if (existsSync(group)) rmdirSync(group);
    return null;
  }
  return {
    prefix: ["sh", "-c", 'echo $$ > "$0" && exec "$@"', join(group, "cgroup.procs")],
    peak: () => Number(readFileSync(join(group, peak), "utf8")),
    remove: () => rmdirSync(group),
  };
}
