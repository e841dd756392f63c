/** Memory available to this process and those that it shares it with: the machine's, or a memory cgroup's limit. */

import { cgroupsOf } from "./cgroups.js";
import { machineBytes, readText } from "./probe.js";

const LIMITS = ["memory.max", "memory.high", "memory.limit_in_bytes"];

/** Reads it anew each time, since a process can be moved to another cgroup, and limits change. */
export function memoryBytes(): number {
  const { limits } = cgroupsOf(readText("/proc/self/cgroup") ?? "", readText("/proc/self/mountinfo") ?? "", readText);
  const files = limits.flatMap(({ directory }) => LIMITS.map((name) => `${directory}/${name}`));
  return Math.min(machineBytes(), ...files.map(limitIn));
}

function limitIn(file: string): number {
  const text = readText(file)?.trim();
  return text === undefined || !/^\d+$/.test(text) ? Number.POSITIVE_INFINITY : Number(text);
}
