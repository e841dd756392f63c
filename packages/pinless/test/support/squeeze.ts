/** A memory cgroup that this process can be put into for a while, to have the kernel reclaim its memory. Root only. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import { undoing, undoingByShell } from "./undo.js";

export interface Squeezer {
  /** Moves this process into the cgroup, so that its further memory is charged there. */
  enter(): void;
  leave(): void;
  /**
   * Limits the group to this number of bytes less than it has, so that the kernel reclaims them, and lifts the limit.
   * Under a limit that stayed, the kernel would soon find nothing to reclaim and end the process.
   */
  squeeze(bytes: number): Promise<unknown>;
}

interface Surroundings {
  /** True for cgroups of version 1. */
  readonly first: boolean;
  readonly parent: string;
  readonly own: string;
  readonly used: string;
  readonly limit: string;
  readonly none: string;
}

/** Cgroup of this process, and the names of a cgroup's files. */
function surroundings(): Surroundings | null {
  const lines = readFileSync("/proc/self/cgroup", "utf8").split("\n");
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const old = lines.find((line) => line.split(":")[1]?.split(",").includes("memory"));
  const first = old !== undefined;
  const pattern = first ? / - cgroup .*\bmemory\b/ : / - cgroup2 /;
  const mount = mounts.find((line) => pattern.test(line))?.split(" ")[4];
  const inside = (old ?? lines.find((line) => line.startsWith("0::")))?.replace(/^\d+:[^:]*:/, "");
  if (mount === undefined || inside === undefined) return null;
  const own = path.join(mount, inside);
  if (first)
    return { first, parent: own, own, used: "memory.usage_in_bytes", limit: "memory.limit_in_bytes", none: "-1" };
  // Of the second version, only the root has processes and children with limits.
  const parent = inside === "/" ? own : path.dirname(own);
  // Not memory.max: a process that can't be made smaller would be ended.
  return { first, parent, own, used: "memory.current", limit: "memory.high", none: "max" };
}

/** Gone when the test ends. Where there can't be one: a sentence, for the test to be skipped with. */
export function squeezer(t: TestContext): Squeezer | string {
  const missing = "machine: no memory cgroup can be made here";
  const found = surroundings();
  if (found === null) return missing;
  const { first, parent, own, used, limit, none } = found;
  const directory = path.join(parent, `pinless-squeezed-${process.pid}`);
  // Once the last process has left it, which takes the kernel a moment.
  const removed = `[ ! -d '${directory}' ] || rmdir '${directory}'`;
  undoingByShell(t, `for i in $(seq 100); do ${removed} && exit; sleep 0.1; done; exit 1`);
  try {
    mkdirSync(directory);
    if (!existsSync(path.join(directory, limit))) writeFileSync(path.join(parent, "cgroup.subtree_control"), "+memory");
    readFileSync(path.join(directory, limit));
    // A process that needs memory under the limit waits until it's lifted, instead of being killed.
    if (first) writeFileSync(path.join(directory, "memory.oom_control"), "1");
  } catch {
    return missing;
  }
  // The shell stays outside of the group: a member may have to wait for memory under the limit.
  const shell = spawn("sh", ["-c", SQUEEZE, "sh", directory, used, limit, none], { stdio: ["pipe", "pipe", "ignore"] });
  const gone = once(shell, "exit");
  const move = (to: string): void => writeFileSync(path.join(to, "cgroup.procs"), String(process.pid));
  const leave = (): void => move(own);
  undoing(t, async () => {
    leave();
    shell.stdin.end();
    await gone;
  });
  let last: Promise<unknown> = Promise.resolve();
  return {
    enter: () => move(directory),
    leave,
    squeeze(bytes) {
      last = last.then(() => {
        const done = once(shell.stdout, "data");
        shell.stdin.write(`${bytes}\n`);
        return done;
      });
      return last;
    },
  };
}

/** Takes bytes away for each line. What can't be taken away is refused, and that's no failure. */
const SQUEEZE = `
  while read -r bytes; do
    to=$(($(cat "$1/$2") - bytes))
    [ $to -gt 1048576 ] || to=1048576
    echo $to > "$1/$3"
    echo $4 > "$1/$3"
    echo done
  done`;
