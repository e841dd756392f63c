/** Processes that pin memory, by their VmPin, and the pins of the whole host. */

import { readdirSync, readFileSync } from "node:fs";
import { RegisteredBuffers, Ring, readText } from "pinless/internal";
import { bytesText, countText } from "../command/figures.js";
import { degraded, type Found, ok } from "./finding.js";
import { field, mounts } from "./kernel-files.js";

export interface PinningProcess {
  readonly pid: number;
  readonly name: string;
  /** Real user id. */
  readonly uid: number;
  /** Name in /etc/passwd, or null. */
  readonly user: string | null;
  readonly pinnedBytes: number;
}

export interface PinFacts {
  /** Processes, those that pin most first. */
  readonly processes: readonly PinningProcess[];
  readonly seenProcesses: number;
  readonly unreadableProcesses: number;
  /** Mount option of /proc that hides other users' processes ("invisible", "2"), or null. */
  readonly hidepid: string | null;
  /**
   * nr_foll_pin_acquired - nr_foll_pin_released of the whole host, in which a huge page may count once; null on kernels
   * without them.
   */
  readonly hostPinCount: number | null;
  /** False on kernels that don't charge root for registrations, so that its VmPin doesn't show them. */
  readonly countsRoot: boolean;
}

/** `canTry` is true if the kernel can be asked, for which libc has to be loaded. */
export function examinePins({ canTry }: { readonly canTry: boolean }): Found<PinFacts> {
  const names = userNames();
  const processes: PinningProcess[] = [];
  let seenProcesses = 0;
  let unreadableProcesses = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const status = statusOf(pid);
    if (status === "gone") continue;
    if (status === "unreadable") {
      unreadableProcesses++;
      continue;
    }
    seenProcesses++;
    const pinnedBytes = Number.parseInt(field(status, "VmPin") ?? "0", 10) * 1024;
    if (pinnedBytes === 0) continue;
    const uid = Number.parseInt(field(status, "Uid") ?? "-1", 10);
    const name = field(status, "Name") ?? "?";
    processes.push({ pid: Number(pid), name, uid, user: names.get(uid) ?? null, pinnedBytes });
  }
  processes.sort((a, b) => b.pinnedBytes - a.pinnedBytes || a.pid - b.pid);
  const facts = {
    processes,
    seenProcesses,
    unreadableProcesses,
    hidepid: hidepid(),
    hostPinCount: hostPinCount(),
    countsRoot: !canTry || countsRoot(),
  };
  return { ...judge(facts), ...facts };
}

function judge({ processes, seenProcesses, unreadableProcesses, hidepid, hostPinCount, countsRoot }: PinFacts) {
  const parts: string[] = [];
  if (processes.length === 0) parts.push(`none of ${countText(seenProcesses)} processes pins memory`);
  else {
    const bytes = processes.reduce((sum, { pinnedBytes }) => sum + pinnedBytes, 0);
    parts.push(`${bytesText(bytes)} by ${countText(processes.length)} of ${countText(seenProcesses)} processes`);
  }
  if (unreadableProcesses > 0) parts.push(`${countText(unreadableProcesses)} can't be read`);
  if (hidepid !== null) parts.push(`/proc hides other users' processes (hidepid=${hidepid})`);
  // The counters are per processor and lag, so a negative difference means 0.
  if (hostPinCount !== null)
    parts.push(`host-wide ${countText(Math.max(0, hostPinCount))} pins (it lags until vm.stat_refresh)`);
  if (!countsRoot) parts.push("what root registers isn't in a process's VmPin on this kernel (Linux 7.2 and later)");
  const found = parts.join("; ");
  const remedies: string[] = [];
  if (processes.length > 0)
    remedies.push("What is pinned can't be moved, swapped or collapsed until its process unregisters it or ends.");
  if (unreadableProcesses > 0 || hidepid !== null) remedies.push("Root sees every process.");
  return remedies.length === 0 ? ok(found) : degraded(found, ...remedies);
}

function statusOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ENOENT" || code === "ESRCH" ? "gone" : "unreadable";
  }
}

function userNames(): ReadonlyMap<number, string> {
  const lines = (readText("/etc/passwd") ?? "").split("\n").map((line) => line.split(":"));
  return new Map(lines.flatMap(([name = "", , uid]) => (uid === undefined ? [] : [[Number(uid), name] as const])));
}

function hidepid(): string | null {
  const options = mounts().findLast(({ at, type }) => at === "/proc" && type === "proc")?.options ?? [];
  const value = options.find((option) => option.startsWith("hidepid="))?.slice("hidepid=".length);
  return value === undefined || value === "0" || value === "off" ? null : value;
}

function hostPinCount(): number | null {
  const text = readText("/proc/vmstat") ?? "";
  const [acquired, released] = ["acquired", "released"].map(
    (what) => new RegExp(`^nr_foll_pin_${what} (\\d+)$`, "m").exec(text)?.[1],
  );
  return acquired === undefined || released === undefined ? null : Number(acquired) - Number(released);
}

/** The release that accounts huge pages without comparing segments charges root no more. */
function countsRoot(): boolean {
  let ring: Ring | number = 0;
  try {
    ring = Ring.open({ entries: 4 });
    const buffers = typeof ring === "number" ? ring : RegisteredBuffers.open(ring, 1, 0);
    return typeof buffers === "number" || buffers.comparesSegments;
  } catch {
    // The finding on io_uring says why there's no ring.
    return true;
  } finally {
    if (typeof ring === "object") ring.close();
  }
}
