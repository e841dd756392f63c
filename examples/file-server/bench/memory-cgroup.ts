/** A memory cgroup for a server, of version 1 or 2. Root only. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

export interface MemoryUse {
  /** Everything that is charged: memory of processes, page cache, the kernel's own. */
  readonly used: number;
  readonly peak: number;
  readonly anonymous: number;
  readonly cache: number;
}

export interface MemoryCgroup {
  /** Beginning of a command that runs the rest of it in the cgroup. */
  readonly enter: readonly string[];
  use(): MemoryUse;
  remove(): Promise<void>;
}

interface Hierarchy {
  readonly at: string;
  readonly limit: string;
  readonly used: string;
  readonly peak: string;
  readonly anonymous: string;
  readonly cache: string;
}

function hierarchy(): Hierarchy | null {
  const mounts = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "));
  const v1 = mounts.find(([, , type, options = ""]) => type === "cgroup" && options.split(",").includes("memory"));
  if (v1 !== undefined) {
    const [limit, used, peak] = ["limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes"].map(
      (end) => `memory.${end}`,
    );
    return { at: v1[1]!, limit: limit!, used: used!, peak: peak!, anonymous: "rss", cache: "cache" };
  }
  const at = mounts.find(([, , type]) => type === "cgroup2")?.[1];
  if (at === undefined || !readFileSync(`${at}/cgroup.subtree_control`, "utf8").includes("memory")) return null;
  return {
    ...{ at, limit: "memory.max", used: "memory.current", peak: "memory.peak" },
    ...{ anonymous: "anon", cache: "file" },
  };
}

const found = hierarchy();

/** The reason why there are no such cgroups here, if there are none. */
export const noMemoryCgroups: string | false =
  process.getuid!() !== 0 ? "needs root" : found === null && "machine: no memory cgroups";

let made = 0;

/** Makes a cgroup, which is removed, with all that runs in it, also if this process dies. */
export function memoryCgroup(bytes: number): MemoryCgroup {
  const { at, limit, used, peak, anonymous, cache } = found!;
  const directory = path.join(at, `file-server-${process.pid}-${made++}`);
  const kill = `for pid in $(cat ${directory}/cgroup.procs); do kill -9 $pid; done`;
  const removal = `read -r _; for i in $(seq 100); do ${kill}; rmdir ${directory} && exit 0; sleep 0.1; done; exit 1`;
  const shell = spawn("sh", ["-c", removal], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  shell.unref();
  mkdirSync(directory);
  writeFileSync(path.join(directory, limit), String(bytes));
  const read = (file: string): string => readFileSync(path.join(directory, file), "utf8");
  return {
    enter: ["sh", "-c", `echo $$ > ${directory}/cgroup.procs; exec "$0" "$@"`],
    use() {
      const stat = read("memory.stat");
      const of = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(stat)![1]);
      return { used: Number(read(used)), peak: Number(read(peak)), anonymous: of(anonymous), cache: of(cache) };
    },
    async remove() {
      const ended = once(shell, "exit");
      shell.ref();
      shell.stdin.end();
      const [code] = await ended;
      if (code !== 0) throw new Error(`${directory} can't be removed`);
    },
  };
}
