/** What the memory cgroups of this process leave of their limits: whoever goes beyond is killed, without a word. */

import { availableSwapBytes, readText } from "../linux/probe.js";
import { cgroupsOf } from "./cgroups.js";

/** One sentence: which limit so many bytes more would go beyond; or null. */
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
    // A process goes on where it meets its limit as long as it has page cache to give up, or may swap.
    const reclaimable = sumOf(cache, read(`${directory}/memory.stat`) ?? "");
    const swap = v2
      ? number(`${directory}/memory.swap.max`) - zeroIfNone(number(`${directory}/memory.swap.current`))
      : number(`${directory}/memory.memsw.limit_in_bytes`) -
        zeroIfNone(number(`${directory}/memory.memsw.usage_in_bytes`));
    const room = limit - zeroIfNone(number(usage)) + reclaimable;
    // v1 counts memory and swap together there.
    const withSwap = v2
      ? room + Math.min(swapBytes, Math.max(0, swap))
      : Math.min(room + swapBytes, swap + reclaimable);
    if (bytes > withSwap)
      return `an arena of ${bytes} bytes: the memory cgroup has ${Math.max(0, Math.floor(withSwap))} left of its limit (${file} is ${limit})`;
  }
  return null;
}

/** "max", or no such file: no limit. */
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
