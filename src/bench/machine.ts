/** The machine, as a report says it. */

import { readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { probe } from "../index.js";
import type { Machine } from "./figures.js";
import type { Scratch } from "./scratch.js";

export async function describeMachine(scratch: Scratch): Promise<Machine> {
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

/** What can be taken without pushing anybody else's memory out; inside a container, what its limit leaves. */
export function availableMemoryBytes(): number {
  const text = readFileSync("/proc/meminfo", "utf8");
  const available = Number(/^MemAvailable:\s*(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
  // @types/node doesn't know it yet; Node 20.13 does.
  const { availableMemory } = process as { availableMemory?: () => number };
  return Math.min(available, availableMemory?.call(process) ?? available);
}
