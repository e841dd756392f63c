/** Which memory cgroups this process is in, and where they say what happens in them. */

export interface Limit {
  readonly directory: string;
  /** Where it's counted how often the cgroup met its limit; the first group of each match is a number. */
  readonly hits: { readonly file: string; readonly pattern: RegExp };
  readonly ooms: string;
  readonly usage: string;
  /** The lines of memory.stat that make up the page cache that can be reclaimed. Not "cache": that counts shared memory too. */
  readonly cache: RegExp;
}

export interface Cgroups {
  /** The cgroup's PSI of memory. Not the root's: that's the host's. */
  readonly stalls: readonly string[];
  /** The process's own cgroup, and those above it that had a limit when this was asked. */
  readonly limits: readonly Limit[];
}

interface Mount {
  /** What of the hierarchy is mounted. */
  readonly root: string;
  readonly at: string;
}

/** `cgroup` and `mountinfo`: the texts of these files in /proc/self. */
export function cgroupsOf(cgroup: string, mountinfo: string, read: (file: string) => string | null): Cgroups {
  const v2 = directories(
    /^0::(.*)$/m.exec(cgroup)?.[1],
    mountOf(mountinfo, "cgroup2", () => true),
  );
  const v1 = directories(
    /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(cgroup)?.[1],
    mountOf(mountinfo, "cgroup", (options) => options.includes("memory")),
  );
  const isLimited = (...files: string[]): boolean =>
    files.some((file) => {
      const text = read(file)?.trim() ?? "max";
      // v1 has no word for "none": a number that no machine's memory reaches.
      return text !== "max" && Number(text) < 2 ** 62;
    });
  const limits: Limit[] = [];
  for (const [i, directory] of v2.entries()) {
    if (i > 0 && !isLimited(`${directory}/memory.max`, `${directory}/memory.high`)) continue;
    // "local": its own limit, not that of one below it.
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
  // Only the root has no type.
  const own = v2.slice(0, 1).filter((directory) => read(`${directory}/cgroup.type`) !== null);
  return { stalls: own.map((directory) => `${directory}/memory.pressure`), limits };
}

/** The cgroup's directory, and those above it. */
function directories(group: string | undefined, mount: Mount | undefined): string[] {
  if (group === undefined || mount === undefined) return [];
  const root = mount.root === "/" ? "" : mount.root;
  // Outside of what is mounted here, or of this namespace ("/../x").
  if (group !== root && !group.startsWith(`${root}/`)) return [];
  const parts = group
    .slice(root.length)
    .split("/")
    .filter((part) => part !== "");
  if (parts.includes("..")) return [];
  const found: string[] = [];
  for (let depth = parts.length; depth > 0; depth--) found.push([mount.at, ...parts.slice(0, depth)].join("/"));
  // In a container the root of what is mounted, or of the namespace, is a cgroup with limits.
  found.push(mount.at);
  return found;
}

/** Of mountinfo: ID parent major:minor root mountpoint options optional… - type source superoptions. */
function mountOf(mountinfo: string, type: string, fits: (options: string[]) => boolean): Mount | undefined {
  for (const line of mountinfo.split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , root, at] = before.split(" ");
    const [found, , options = ""] = after.split(" ");
    if (found === type && root !== undefined && at !== undefined && fits(options.split(",")))
      return { root: unescaped(root), at: unescaped(at) };
  }
  return undefined;
}

/** Blanks and the like are written in octal there. */
function unescaped(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
