/**
 * Checks an allocation against the limits of this process's memory cgroups, beyond which the kernel kills processes
 * without warning.
 */

import { cgroupsOf } from "../linux/cgroups.js";
import { availableSwapBytes, readText } from "../linux/probe.js";

/** Returns a sentence that names the limit which an allocation of `bytes` would exceed; null if it fits. */
export function explainMemoryLimit(
  bytes: number,
  read: (file: string) => string | null = readText,
  swapBytes = availableSwapBytes(),
): string | null {
  const { limits } = cgroupsOf(read("/proc/self/cgroup") ?? "", read("/proc/self/mountinfo") ?? "", read);
  for (const { directory, usage, cache } of limits) {
    const number = (file: string): number => numberOf(read(file));
    const v2 = read(`${directory}/memory.max`) !== null;
    const file = `${directory}/${v2 ? "memory.max" : "memory.limit_in_bytes"}`;
    const limit = number(file);
    // At the limit the kernel first reclaims page cache and swaps out.
    const reclaimable = sumOf(cache, read(`${directory}/memory.stat`) ?? "");
    const swap = v2
      ? number(`${directory}/memory.swap.max`) - zeroIfNone(number(`${directory}/memory.swap.current`))
      : number(`${directory}/memory.memsw.limit_in_bytes`) -
        zeroIfNone(number(`${directory}/memory.memsw.usage_in_bytes`));
    const room = limit - zeroIfNone(number(usage)) + reclaimable;
    // This limit of v1 is for memory and swap together.
    const withSwap = v2
      ? room + Math.min(swapBytes, Math.max(0, swap))
      : Math.min(room + swapBytes, swap + reclaimable);
    if (bytes > withSwap)
      return (
        `an arena of ${bytes} bytes doesn't fit: the memory cgroup has ${Math.max(0, Math.floor(withSwap))} ` +
        `bytes left of its limit (${file} is ${limit})`
      );
  }
  return null;
}

/** Parses a limit; "max" or a missing file means none. */
function numberOf(text: string | null): number {
  const value = text === null || text.trim() === "max" ? Number.POSITIVE_INFINITY : Number(text);
  return Number.isNaN(value) ? Number.POSITIVE_INFINITY : value;
}

function zeroIfNone(value: number): number {
  return Number.isFinite(value) ? value : 0;
}

function sumOf(pattern: RegExp, text: string): number {
  return [...text.matchAll(pattern)].reduce((sum, [, value]) => sum + Number(value), 0);
}
