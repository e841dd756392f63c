/** Preconditions of memory operations: huge pages, swap, NUMA nodes, and signs of memory pressure. */

import { closeSync, openSync, writeSync } from "node:fs";
import { release } from "node:os";
import { addressOf, alignUp, countNumaNodes, EINVAL, fixedMemory, MMAN, madvise, readText } from "pinless/internal";
import { bytesText } from "../command/figures.js";
import { degraded, errnoName, type Found, missing, ok } from "./finding.js";
import { readChoice, readNumber } from "./kernel-files.js";

const THP = "/sys/kernel/mm/transparent_hugepage";

export interface HugePageFacts {
  /** transparent_hugepage/enabled, defrag and shmem_enabled; null on kernels without them. */
  readonly enabled: string | null;
  readonly defrag: string | null;
  readonly shmemEnabled: string | null;
  readonly hugePageBytes: number | null;
  /** True if MADV_COLLAPSE made a huge page; and why it didn't. */
  readonly collapses: boolean | null;
  readonly collapseErrno: string | null;
}

export const NO_HUGE_PAGE_FACTS: HugePageFacts = {
  enabled: null,
  defrag: null,
  shmemEnabled: null,
  hugePageBytes: null,
  collapses: null,
  collapseErrno: null,
};

export function examineHugePages(): Found<HugePageFacts> {
  const enabled = readChoice(`${THP}/enabled`);
  const hugePageBytes = readNumber(`${THP}/hpage_pmd_size`);
  if (enabled === null || hugePageBytes === null)
    return {
      ...missing(
        "this kernel has no transparent huge pages",
        "A lease of 2 MiB is made of 512 pages then, and slower.",
      ),
      ...NO_HUGE_PAGE_FACTS,
    };
  const collapsed = tryCollapse(hugePageBytes);
  const facts = {
    enabled,
    defrag: readChoice(`${THP}/defrag`),
    shmemEnabled: readChoice(`${THP}/shmem_enabled`),
    hugePageBytes,
    collapses: collapsed === 0,
    collapseErrno: collapsed === 0 ? null : errnoName(collapsed),
  };
  const said = `${bytesText(hugePageBytes)}, enabled: ${enabled}, defrag: ${facts.defrag}`;
  const remedies: string[] = [];
  if (enabled === "never") remedies.push(`Arenas ask for huge pages: echo madvise > ${THP}/enabled allows it.`);
  if (collapsed === -EINVAL) remedies.push("MADV_COLLAPSE needs Linux 6.1 or later.");
  else if (collapsed !== 0) remedies.push("Free memory is scattered: echo 1 > /proc/sys/vm/compact_memory helps.");
  const collapse = collapsed === 0 ? "MADV_COLLAPSE works" : `MADV_COLLAPSE fails (${facts.collapseErrno})`;
  const found = `${said}; ${collapse}`;
  return { ...(remedies.length === 0 ? ok(found) : degraded(found, ...remedies)), ...facts };
}

/** Returns 0 or -errno. It's tried twice, because pages touched just now may still be held for a moment. */
function tryCollapse(hugePageBytes: number): number {
  const memory = fixedMemory(2 * hugePageBytes);
  const address = addressOf(memory);
  const start = alignUp(address, hugePageBytes);
  new Uint8Array(memory, start - address, hugePageBytes).fill(1);
  const first = madvise(start, hugePageBytes, MMAN.MADV_COLLAPSE);
  return first === 0 ? first : madvise(start, hugePageBytes, MMAN.MADV_COLLAPSE);
}

export interface SwapArea {
  readonly path: string;
  readonly kind: "zram" | "partition" | "file";
  readonly totalBytes: number;
  readonly usedBytes: number;
}

export interface SwapFacts {
  readonly areas: readonly SwapArea[];
  readonly freeBytes: number;
  readonly zswap: boolean;
  /** Swap limit of this process's memory cgroup; null for none. */
  readonly cgroupLimitBytes: number | null;
}

export function examineSwap(cgroupLimitBytes: number | null): Found<SwapFacts> {
  const areas = swapAreas();
  const freeBytes = areas.reduce((sum, { totalBytes, usedBytes }) => sum + totalBytes - usedBytes, 0);
  const zswap = readText("/sys/module/zswap/parameters/enabled")?.startsWith("Y") ?? false;
  const facts = { areas, freeBytes, zswap, cgroupLimitBytes };
  if (areas.length === 0)
    return {
      ...missing("no swap is active", "pageOut() of anonymous memory needs it: mkswap and swapon a file or zram."),
      ...facts,
    };
  const kinds = [...new Set(areas.map(({ kind }) => kind))].join(", ");
  const found = `${bytesText(freeBytes)} free on ${kinds}${zswap ? ", zswap in front" : ""}`;
  if (cgroupLimitBytes === 0)
    return {
      ...degraded(`${found}, none of it for this cgroup`, "Allow swap in the container (memory.swap.max)."),
      ...facts,
    };
  if (freeBytes === 0) return { ...degraded(found, "It's full: activate more with swapon."), ...facts };
  return { ...ok(found), ...facts };
}

/** Parses lines of Filename, Type, Size, Used, Priority; sizes are in KiB. */
function swapAreas(): readonly SwapArea[] {
  const lines = (readText("/proc/swaps") ?? "").trim().split("\n").slice(1);
  return lines.map((line) => {
    const [, path = "", type, total, used] = /^(.*?)\s+(file|partition)\s+(\d+)\s+(\d+)/.exec(line) ?? [];
    const kind = /^\/dev\/zram/.test(path) ? "zram" : type === "file" ? "file" : "partition";
    return { path, kind, totalBytes: Number(total) * 1024, usedBytes: Number(used) * 1024 };
  });
}

export interface NumaFacts {
  readonly nodes: number;
  /** The sysctl kernel.numa_balancing; null on kernels without it. */
  readonly balancing: number | null;
}

export function examineNuma(): Found<NumaFacts> {
  const nodes = countNumaNodes();
  const balancing = readNumber("/proc/sys/kernel/numa_balancing");
  const balanced =
    balancing === null ? "this kernel can't balance" : balancing === 0 ? "balancing off" : "balancing on";
  return { ...ok(nodes === 1 ? "one node" : `${nodes} nodes, ${balanced}`), nodes, balancing };
}

export interface PressureFacts {
  readonly readable: boolean;
  /** Percentage of the last 10 s in which some task waited for memory. */
  readonly someAvg10Percent: number | null;
  /** True if this user can set PSI triggers; and why not. */
  readonly trigger: boolean;
  readonly triggerErrno: string | null;
}

const PRESSURE = "/proc/pressure/memory";
/** 150 ms in 2 s: ordinary users need windows that are multiples of 2 s. */
const TRIGGER = "some 150000 2000000\0";

export function examinePressure(): Found<PressureFacts> {
  const text = readText(PRESSURE);
  if (text === null)
    return {
      ...missing(`${PRESSURE} can't be read on Linux ${release()}`, "Boot with psi=1, on a kernel with CONFIG_PSI."),
      readable: false,
      someAvg10Percent: null,
      trigger: false,
      triggerErrno: null,
    };
  const avg10 = /^some avg10=([\d.]+)/m.exec(text)?.[1];
  const someAvg10Percent = avg10 === undefined ? null : Number(avg10);
  const triggerErrno = trySettingTrigger();
  const facts = { readable: true, someAvg10Percent, trigger: triggerErrno === null, triggerErrno };
  const said = `some avg10 ${avg10 ?? "?"} %`;
  if (triggerErrno === null) return { ...ok(`${said}; triggers can be set`), ...facts };
  const found = `${said}; a trigger is refused (${triggerErrno})`;
  // Errors other than the kernel's own come from Node's permission model.
  if (!["EPERM", "EACCES", "EINVAL"].includes(triggerErrno)) return { ...degraded(found), ...facts };
  const remedy = "Pressure can be sampled, not waited for: older kernels give triggers to CAP_SYS_RESOURCE only.";
  return { ...degraded(found, remedy), ...facts };
}

/** Returns null if it was set; it's removed with its descriptor. */
function trySettingTrigger(): string | null {
  try {
    const fd = openSync(PRESSURE, "r+");
    try {
      writeSync(fd, TRIGGER);
      return null;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "?";
  }
}
