/** Facts about the machine for the report. */

import { readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { probe } from "pinless";
import type { MachineFacts } from "./report-schema.js";
import type { Scratch } from "./scratch.js";
import { meminfoBytes } from "./vmstat.js";

export async function describeMachine(scratch: Scratch): Promise<MachineFacts> {
  const { kernel, arch, node, memlockBytes, ioUringDisabled, hugePages, numaNodes } = await probe(scratch.target.path);
  return {
    kernel,
    arch,
    node,
    cpu: cpus()[0]?.model ?? "unknown",
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    memoryAvailableBytes: availableMemoryBytes(),
    user: process.geteuid?.() ?? -1,
    // JSON has no Infinity.
    memlockBytes: Number.isFinite(memlockBytes) ? memlockBytes : null,
    ioUringDisabled,
    hugePages,
    numaNodes,
    swap: scratch.swap,
    swapReason: scratch.noSwap,
  };
}

/** Memory that can be used without displacing others'; in a container, what its limit leaves. */
export function availableMemoryBytes(): number {
  const available = meminfoBytes("MemAvailable");
  // Node has it from 20.13 on; @types/node doesn't declare it yet.
  const { availableMemory } = process as { availableMemory?: () => number };
  return Math.min(available, availableMemory?.call(process) ?? available);
}

/** NUMA nodes with memory that this process may use, not always 0, 1, 2 … */
export function usableNodes(): readonly number[] {
  const allowed = /^Mems_allowed_list:\s*(\S+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  try {
    const there = new Set(listOf(readFileSync("/sys/devices/system/node/has_memory", "utf8").trim()));
    return listOf(allowed).filter((node) => there.has(node));
  } catch {
    // The kernel has no NUMA.
    return [0];
  }
}

/** Parses a list of the kernel's such as "0", "0-1" or "0,2-3". */
function listOf(text: string): readonly number[] {
  return text.split(",").flatMap((part) => {
    const [first = 0, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}
