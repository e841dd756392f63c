/** Finds the memory cgroups of this process, and the files that report on them. */

import { type Mount, mountsOf } from "./mounts.js";

export interface Limit {
  readonly directory: string;
  /** File that counts how often the cgroup met its limit; the first group of each match is a number. */
  readonly hits: { readonly file: string; readonly pattern: RegExp };
  readonly ooms: string;
  readonly usage: string;
  /**
   * Lines of memory.stat that make up the reclaimable page cache. "cache" isn't used, because it includes shared
   * memory.
   */
  readonly cache: RegExp;
}

export interface Cgroups {
  /** Files with the memory PSI of the cgroup, except the root's, which is the host's. */
  readonly stalls: readonly string[];
  /** The cgroup of the process and its ancestors, as far as they had a limit when this was read. */
  readonly limits: readonly Limit[];
}

/** Parses the contents of /proc/self/cgroup and /proc/self/mountinfo. */
export function cgroupsOf(cgroup: string, mountinfo: string, read: (file: string) => string | null): Cgroups {
  const mounts = mountsOf(mountinfo);
  const v2 = directories(
    /^0::(.*)$/m.exec(cgroup)?.[1],
    mounts.find(({ type }) => type === "cgroup2"),
  );
  const v1 = directories(
    /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(cgroup)?.[1],
    mounts.find(({ type, options }) => type === "cgroup" && options.includes("memory")),
  );
  const isLimited = (...files: string[]): boolean =>
    files.some((file) => {
      const text = read(file)?.trim() ?? "max";
      // v1 has no value for "none", only a number beyond any machine's memory.
      return text !== "max" && Number(text) < 2 ** 62;
    });
  const limits: Limit[] = [];
  for (const [i, directory] of v2.entries()) {
    if (i > 0 && !isLimited(`${directory}/memory.max`, `${directory}/memory.high`)) continue;
    // "local" counts the cgroup's own limit, without its descendants'.
    const events = `${directory}/memory.events.local`;
    if (read(events) === null) continue;
    limits.push({
      directory,
      hits: { file: events, pattern: /^(?:high|max) (\d+)$/gm },
      ooms: events,
      usage: `${directory}/memory.current`,
      cache: /^(?:in)?active_file (\d+)$/gm,
    });
  }
  for (const [i, directory] of v1.entries()) {
    if (i > 0 && !isLimited(`${directory}/memory.limit_in_bytes`)) continue;
    const failures = `${directory}/memory.failcnt`;
    if (read(failures) === null) continue;
    limits.push({
      directory,
      hits: { file: failures, pattern: /^(\d+)$/gm },
      ooms: `${directory}/memory.oom_control`,
      usage: `${directory}/memory.usage_in_bytes`,
      cache: /^total_(?:in)?active_file (\d+)$/gm,
    });
  }
  // Only the root cgroup has no cgroup.type.
  const own = v2.slice(0, 1).filter((directory) => read(`${directory}/cgroup.type`) !== null);
  return { stalls: own.map((directory) => `${directory}/memory.pressure`), limits };
}

/** Directory of the cgroup, and its ancestors. */
function directories(group: string | undefined, mount: Mount | undefined): string[] {
  if (group === undefined || mount === undefined) return [];
  const root = mount.root === "/" ? "" : mount.root;
  // The cgroup is outside of this mount, or of this namespace ("/../x").
  if (group !== root && !group.startsWith(`${root}/`)) return [];
  const parts = group
    .slice(root.length)
    .split("/")
    .filter((part) => part !== "");
  if (parts.includes("..")) return [];
  const found: string[] = [];
  for (let depth = parts.length; depth > 0; depth--) found.push([mount.at, ...parts.slice(0, depth)].join("/"));
  // In a container, the root of the mount or namespace is a cgroup with limits.
  found.push(mount.at);
  return found;
}
