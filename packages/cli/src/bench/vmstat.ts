/** Counters of the whole host. */

import { readFileSync } from "node:fs";

export type VmstatCounters = ReadonlyMap<string, number>;

export function vmstat(): VmstatCounters {
  const lines = readFileSync("/proc/vmstat", "utf8").trim().split("\n");
  return new Map(
    lines.map((line) => {
      const [name = "", value = ""] = line.split(" ");
      return [name, Number(value)];
    }),
  );
}

/** Increase of a counter; 0 if the kernel doesn't have it. */
export function went(name: string, from: VmstatCounters, to: VmstatCounters): number {
  return (to.get(name) ?? 0) - (from.get(name) ?? 0);
}
