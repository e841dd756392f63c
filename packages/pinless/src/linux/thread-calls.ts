/**
 * Lists the memory calls that threads of this process are blocked in, with their arguments, from /proc. A process needs
 * no privileges for its own threads, and looking doesn't disturb them.
 */

import { closeSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { MMAN, memorySyscalls } from "../abi/numbers.js";
import { type Caller, type ThreadCalls, UNSEEN } from "../protocol/monitor/caller-tracking.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { threadCpuMs } from "./libc.js";

const NR = memorySyscalls(process.arch);
const TASKS = "/proc/self/task";
const IOVEC_BYTES = 16;
/** Maximum number of ranges of process_madvise (UIO_MAXIOV). */
const MAX_PIECES = 1024;
const DISCARDS: readonly number[] = [MMAN.MADV_DONTNEED, MMAN.MADV_DONTNEED_LOCKED, MMAN.MADV_FREE, MMAN.MADV_REMOVE];

/**
 * Threads that wait for a userfaultfd event to be read. Threads that can't be examined are missing: if there is no free
 * descriptor, or no /proc.
 */
function callers(): Caller[] {
  const found: Caller[] = [];
  for (const tid of tids()) {
    const call = callOf(tid);
    if (call === null || call === UNSEEN) continue;
    const meant = meaning(call);
    if (meant !== null && waitsForReader(tid) !== false) found.push({ tid, call, ...meant });
  }
  return found;
}

function tids(): number[] {
  try {
    return readdirSync(TASKS).map(Number);
  } catch {
    return [];
  }
}

const line = Buffer.alloc(512);

/** Contents of a thread's `syscall` file. The kernel writes "running" for a thread that isn't blocked. */
function callOf(tid: number): string | null {
  try {
    const fd = openSync(`${TASKS}/${tid}/syscall`, "r");
    try {
      return line.toString("latin1", 0, readSync(fd, line, 0, line.length, 0)).trimEnd();
    } finally {
      closeSync(fd);
    }
  } catch {
    // The file is gone, or can't be opened; the thread's CPU clock tells which.
    return threadCpuMs(tid) < 0 ? null : UNSEEN;
  }
}

/** True if a blocked thread waits for a userfaultfd; null if the kernel doesn't tell. */
function waitsForReader(tid: number): boolean | null {
  try {
    const where = readFileSync(`${TASKS}/${tid}/wchan`, "latin1");
    return where === "" || where === "0" ? null : where.includes("userfaultfd");
  } catch {
    return null;
  }
}

function meaning(call: string): Pick<Caller, "kind" | "ranges"> | null {
  const [nr, ...words] = call.split(" ");
  const [a = 0, b = 0, c = 0, d = 0, e = 0] = words.map(Number);
  switch (Number(nr)) {
    case NR.__NR_madvise:
      return DISCARDS.includes(c) ? { kind: "remove", ranges: [range(a, b)] } : null;
    case NR.__NR_process_madvise:
      return DISCARDS.includes(d) ? { kind: "remove", ranges: pieces(b, c) } : null;
    case NR.__NR_munmap:
      return { kind: "unmap", ranges: [range(a, b)] };
    case NR.__NR_mmap:
      return (d & MMAN.MAP_FIXED) !== 0 ? { kind: "unmap", ranges: [range(a, b)] } : null;
    case NR.__NR_mremap:
      return { kind: "unmap", ranges: (d & MMAN.MREMAP_FIXED) !== 0 ? [range(a, b), range(e, c)] : [range(a, b)] };
    default:
      return null;
  }
}

/** Range of a call; the kernel rounds lengths up to whole pages. */
function range(start: number, bytes: number): Range {
  return { start, end: start + Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES };
}

/** Ranges that a call passes as a list in its own memory. */
function pieces(list: number, count: number): Range[] {
  const bytes = Buffer.alloc(Math.min(count, MAX_PIECES) * IOVEC_BYTES);
  try {
    const fd = openSync("/proc/self/mem", "r");
    try {
      readSync(fd, bytes, 0, bytes.length, list);
    } finally {
      closeSync(fd);
    }
  } catch {
    return [];
  }
  const quad = (at: number): number => Number(bytes.readBigUInt64LE(at));
  return Array.from({ length: bytes.length / IOVEC_BYTES }, (_, i) =>
    range(quad(i * IOVEC_BYTES), quad(i * IOVEC_BYTES + 8)),
  );
}

export const threadCalls: ThreadCalls = { callers, callOf, waitsForReader, cpuMs: threadCpuMs };
