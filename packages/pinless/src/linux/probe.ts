/** Reports what this kernel, filesystem and their limits allow. */

import { statfsSync } from "node:fs";
import { release } from "node:os";
import { getSystemErrorMap } from "node:util";
import { RESOURCE } from "../abi/numbers.js";
import { NO_ROOM_FOR_RING } from "../ports/host.js";
import { EACCES, EAGAIN, EINVAL, EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM } from "../protocol/errno.js";
import { lack } from "./lacks.js";
import { geteuid, getrlimit } from "./libc.js";
import { loadLibc } from "./libc-bindings.js";
import { readFileSync } from "./originals.js";

/** Bytes that this process may pin: without CAP_IPC_LOCK, RLIMIT_MEMLOCK, which all processes of the user share. */
export function memlockBytes(): number {
  const CAP_IPC_LOCK = 14;
  const effective = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(readText("/proc/self/status") ?? "")?.[1] ?? "0"}`);
  if ((effective >> BigInt(CAP_IPC_LOCK)) & 1n && inFirstUserNamespace()) return Number.POSITIVE_INFINITY;
  const limit = getrlimit(RESOURCE.RLIMIT_MEMLOCK);
  return limit < 0 ? 0 : limit;
}

/**
 * True in the initial user namespace, whose uid map is the identity. Capabilities in any other (a rootless container)
 * don't lift a user's limits.
 */
function inFirstUserNamespace(): boolean {
  const map = readText("/proc/self/uid_map");
  return map === null || /^\s*0\s+0\s+4294967295\s*$/.test(map);
}

export const RING_CALLS = "io_uring_setup, io_uring_enter, io_uring_register";
export const AIO_CALLS = "io_setup, io_submit, io_getevents, io_cancel, io_destroy";

/** Sentence that says why a ring couldn't be set up and used, and what to change. */
export function explainNoRing(errno: number): string {
  const disabled = readText("/proc/sys/kernel/io_uring_disabled")?.trim() ?? "0";
  const allowed = disabled === "0" || (disabled === "1" && geteuid() === 0);
  switch (-errno) {
    case ENOSYS:
      return `this kernel has no io_uring, or a seccomp filter hides it (containers: allow ${RING_CALLS}).`;
    case EPERM:
    case EACCES:
      return allowed
        ? `io_uring is forbidden here, by a seccomp filter or a security module (containers: allow ${RING_CALLS}).`
        : `io_uring is switched off: sysctl kernel.io_uring_disabled is ${disabled}; 0 allows it.`;
    case ENOMEM:
      return memlockBytes() === Number.POSITIVE_INFINITY
        ? "there is no memory for a ring: free some, raise the memory cgroup's limit, or choose a smaller depth."
        : NO_ROOM_FOR_RING;
    case EINVAL:
      return `this kernel (${release()}) is too old for the ring that pinless needs: 5.19 or later.`;
    default:
      return `io_uring can't be used: ${errnoText(errno)}.`;
  }
}

/** Sentence that says why an AIO context couldn't be set up and used, and what to change. */
export function explainNoAio(errno: number): string {
  const setting = (name: string): string => readText(`/proc/sys/fs/${name}`)?.trim() ?? "?";
  switch (-errno) {
    case ENOSYS:
      return `this kernel has no Linux AIO, or a seccomp filter hides it (containers: allow ${AIO_CALLS}).`;
    case EPERM:
    case EACCES:
      return `Linux AIO is forbidden here, by a seccomp filter or a security module (containers: allow ${AIO_CALLS}).`;
    case EAGAIN:
      return (
        `Linux AIO has no room for this depth: sysctl fs.aio-max-nr is ${setting("aio-max-nr")}, of which ` +
        `${setting("aio-nr")} (fs.aio-nr) are in use: raise it, or choose a smaller depth.`
      );
    default:
      return `Linux AIO can't be used: ${errnoText(errno)}.`;
  }
}

/** Name and description of a negative errno. */
export function errnoText(errno: number): string {
  const [name, text] = getSystemErrorMap().get(errno) ?? [`errno ${-errno}`, "unknown error"];
  return `${name}, ${text}`;
}

/** Type of the filesystem that holds `path`, e.g. "ext4". */
function filesystemOf(path: string): string {
  const NAMES: Record<number, string> = {
    61267: "ext4",
    1481003842: "xfs",
    2435016766: "btrfs",
    16914836: "tmpfs",
    2035054128: "overlayfs",
    26985: "nfs",
    801189825: "zfs",
    4076150800: "f2fs",
  };
  const { type } = statfsSync(path);
  return NAMES[type] ?? `0x${type.toString(16)}`;
}

/** Facts about this machine, as {@link probe} found them. */
export interface Probe {
  /** Release of the kernel. */
  readonly kernel: string;
  /** Processor architecture, as `process.arch`. */
  readonly arch: string;
  /** Version of Node. */
  readonly node: string;
  /** Type of the filesystem that holds the path. */
  readonly filesystem: string;
  /** Bytes that this process may pin; Infinity for root and with CAP_IPC_LOCK. */
  readonly memlockBytes: number;
  /** Bytes that this process has pinned now (VmPin). */
  readonly pinnedBytes: number;
  /** The sysctl kernel.io_uring_disabled; null on kernels without it. */
  readonly ioUringDisabled: number | null;
  /** True if swap is active. */
  readonly swapActive: boolean;
  /** The setting /sys/kernel/mm/transparent_hugepage/enabled: "always", "madvise" or "never"; null without it. */
  readonly hugePages: string | null;
  /** NUMA nodes with memory. */
  readonly numaNodes: number;
}

/** Reports what this machine offers and what this process uses of it. `path` selects the filesystem. */
export async function probe(path = "."): Promise<Probe> {
  await loadLibc();
  const disabled = readText("/proc/sys/kernel/io_uring_disabled");
  return {
    kernel: release(),
    arch: process.arch,
    node: process.version,
    filesystem: filesystemOf(path),
    memlockBytes: memlockBytes(),
    pinnedBytes: Number(/^VmPin:\s*(\d+) kB/m.exec(readText("/proc/self/status") ?? "")?.[1] ?? 0) * 1024,
    ioUringDisabled: disabled === null ? null : Number(disabled),
    swapActive: hasSwap(),
    hugePages: /\[(\w+)\]/.exec(readText("/sys/kernel/mm/transparent_hugepage/enabled") ?? "")?.[1] ?? null,
    numaNodes: countNumaNodes(),
  };
}

/** Memory and swap that can be allocated, by the kernel's own estimate. */
export function availableBytes(): number {
  return meminfoBytes("MemAvailable") + availableSwapBytes();
}

export function availableSwapBytes(): number {
  return meminfoBytes("SwapFree");
}

/** Field of /proc/meminfo in bytes; Infinity if it can't be read. */
export function meminfoBytes(name: string): number {
  const text = readText("/proc/meminfo");
  if (text === null) return Number.POSITIVE_INFINITY;
  return Number(new RegExp(`^${name}:\\s*(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
}

/** Memory of the machine in bytes; Infinity if unknown. */
export function machineBytes(): number {
  return meminfoBytes("MemTotal");
}

export function hasSwap(): boolean {
  return (readText("/proc/swaps") ?? "").trim().split("\n").length > 1;
}

export function countNumaNodes(): number {
  return numbersOf(readText("/sys/devices/system/node/online") ?? "0").length;
}

/** Parses a list of the kernel's such as "0", "0-1" or "0,2-3". */
export function numbersOf(list: string): number[] {
  return list
    .trim()
    .split(",")
    .flatMap((part) => {
      const [first = 0, last = first] = part.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });
}

/**
 * Contents of a file in /proc or /sys; null if it doesn't exist or isn't readable. Throws if no descriptor is left to
 * open it.
 */
export function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throwIfNoDescriptor((error as NodeJS.ErrnoException).errno ?? 0, `${path} can't be read`, error);
    return null;
  }
}

/**
 * Throws EMFILE or ENFILE, with what to change. The shortage passes, so an engine mustn't decide anything for its life
 * by it.
 */
export function throwIfNoDescriptor(errno: number, what: string, cause?: unknown): void {
  if (errno === -EMFILE) throw lack("EMFILE", what, cause);
  if (errno === -ENFILE) throw lack("ENFILE", what, cause);
}
