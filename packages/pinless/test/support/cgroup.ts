/** Cgroups of a test's own. Root only. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import { needsRoot } from "./disks.js";
import { undoingByShell } from "./undo.js";

const [v1, v2] = ["cgroup", "cgroup2"].map((type) =>
  readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .find(
      ([, , found, options = ""]) => found === type && (type === "cgroup2" || options.split(",").includes("memory")),
    )
    ?.at(1),
);
/**
 * The hierarchy that limits memory here: v1's, or v2's where that is switched on below the root already. A test doesn't
 * switch it on. A controller that v1 has isn't in v2.
 */
const limits =
  v2 !== undefined && readFileSync(`${v2}/cgroup.subtree_control`, "utf8").split(/\s+/).includes("memory")
    ? { at: v2, limit: "memory.max", used: "memory.current", hits: "memory.events", ooms: "memory.events" }
    : {
        at: v1,
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        hits: "memory.failcnt",
        ooms: "memory.oom_control",
      };

/** For a test's `skip`. */
export const needsMemoryCgroups: string | false =
  needsRoot ||
  (limits.at === undefined || v2 === undefined || !existsSync(`${v2}/memory.pressure`)
    ? "machine: no memory cgroups, or no PSI in them"
    : false);

export interface MemoryCgroup {
  /** A command that moves itself there and goes on as what follows it; a shell's. */
  readonly wrapper: readonly string[];
  readonly usage: string;
  readonly stat: string;
  /** Number of times that its limit was met. */
  limitHits(): number;
  /** Number of its processes that the OOM killer has killed. */
  oomKills(): number;
}

/**
 * The hierarchy that limits the number of processes and threads: v1's, or v2's where it's switched on below the root.
 */
const pids =
  readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .find(([, , found, options = ""]) => found === "cgroup" && options.split(",").includes("pids"))
    ?.at(1) ??
  (v2 !== undefined && readFileSync(`${v2}/cgroup.subtree_control`, "utf8").split(/\s+/).includes("pids") ? v2 : null);

/** For a test's `skip`. */
export const needsPidsCgroups: string | false = needsRoot || (pids === null && "machine: no pids cgroups");

/**
 * A cgroup that limits processes and threads. `enter`: a command that moves itself there and then executes what follows
 * it. `limit`: the file with the limit.
 */
export function pidsCgroup(t: TestContext): { readonly enter: readonly string[]; readonly limit: string } {
  const directory = path.join(pids!, `pinless-test-pids-${process.pid}`);
  undoingByShell(t, `for i in $(seq 100); do rmdir ${directory} && exit 0; sleep 0.1; done; exit 1`);
  mkdirSync(directory);
  return {
    enter: ["sh", "-c", `echo $$ > ${directory}/cgroup.procs; exec "$0" "$@"`],
    limit: path.join(directory, "pids.max"),
  };
}

export function memoryCgroup(t: TestContext, bytes: number): MemoryCgroup {
  const name = `pinless-test-${process.pid}`;
  const limited = path.join(limits.at!, name);
  const stalls = path.join(v2!, name);
  const directories = [...new Set([limited, stalls])];
  for (const directory of directories) {
    // Processes still in the group are killed first; the group is empty a moment later.
    const kill = `for pid in $(cat ${directory}/cgroup.procs); do kill -9 $pid; done`;
    undoingByShell(t, `for i in $(seq 100); do ${kill}; rmdir ${directory} && exit 0; sleep 0.1; done; exit 1`);
    mkdirSync(directory);
  }
  writeFileSync(path.join(limited, limits.limit), String(bytes));
  const enter = directories.map((directory) => `echo $$ > ${directory}/cgroup.procs`).join("; ");
  const number = (file: string, pattern: RegExp): number => Number(pattern.exec(readFileSync(file, "utf8"))![1]);
  return {
    wrapper: ["sh", "-c", `${enter}; exec "$0" "$@"`],
    usage: path.join(limited, limits.used),
    stat: path.join(limited, "memory.stat"),
    limitHits: () => number(path.join(limited, limits.hits), /^(?:max )?(\d+)$/m),
    oomKills: () => number(path.join(limited, limits.ooms), /^oom_kill (\d+)$/m),
  };
}
