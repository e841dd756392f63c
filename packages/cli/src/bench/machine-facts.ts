/** Facts about the machine for the report. */

import { availableParallelism, cpus, totalmem } from "node:os";
import { probe } from "pinless";
import { meminfoBytes } from "pinless/internal";
import type { MachineFacts } from "./report-schema.js";
import type { Scratch } from "./scratch.js";

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
