/** Opens a file twice: through the page cache by Node, whose errors and flags are what a caller expects, and around it. */

import type { BigIntStats } from "node:fs";
import { isatty } from "node:tty";
import { getSystemErrorMap } from "node:util";
import { STATX_BUFFER } from "../abi/layouts.js";
import { FCNTL, openDirectFlag, STATX } from "../abi/numbers.js";
import { argumentError, systemError } from "../core/errors.js";
import type { FilePath, OpenedFile } from "../core/host.js";
import { descriptorCalls } from "./descriptor-calls.js";
import { DescriptorHandle } from "./descriptor-handle.js";
import { traitsOf } from "./file-traits.js";
import { fcntl, statx } from "./libc.js";
import { closeSync, fstatSync, openHandle, openSync } from "./originals.js";

/** What O_DIRECT asks for where the filesystem doesn't say (statx before 6.1): a page suits every device in use. */
const DEFAULT_ALIGN = 4096;

export async function openFile(path: FilePath, flags: string | number = "r", mode?: number): Promise<OpenedFile> {
  const isDescriptor = typeof path === "object" && path !== null && "fd" in path;
  const handle = isDescriptor ? duplicate(path.fd) : await openHandle(path as string, flags, mode);
  try {
    const stat = (await handle.stat({ bigint: true })) as BigIntStats;
    const hasBlocks = stat.isFile() || stat.isBlockDevice();
    const status = fcntl(handle.fd, FCNTL.F_GETFL);
    const directFd = hasBlocks && status >= 0 ? openDirect(handle.fd, status) : -1;
    const { memoryAlign, offsetAlign } = directFd >= 0 ? alignmentOf(directFd) : { memoryAlign: 1, offsetAlign: 1 };
    const usable = offsetAlign > 0;
    if (directFd >= 0 && !usable) closeSync(directFd);
    return {
      handle,
      calls: descriptorCalls(handle.fd),
      traits: traitsOf(handle.fd, stat, isDescriptor),
      identity: `${stat.dev}:${stat.ino}`,
      directFd: usable ? directFd : -1,
      memoryAlign: Math.max(1, memoryAlign),
      offsetAlign: Math.max(1, offsetAlign),
      socket: stat.isSocket(),
      append: (status & FCNTL.O_APPEND) !== 0,
      readable: (status & FCNTL.O_ACCMODE) !== FCNTL.O_WRONLY,
      writable: (status & FCNTL.O_ACCMODE) !== FCNTL.O_RDONLY,
      closeDirect: () => {
        if (directFd >= 0 && usable) closeSync(directFd);
      },
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Throws EBADF for what isn't a descriptor. */
function duplicate(fd: number): DescriptorHandle {
  if (!Number.isInteger(fd)) throw argumentError("ERR_INVALID_ARG_TYPE", `fd must be a descriptor. Received ${fd}`);
  const own = fcntl(fd, FCNTL.F_DUPFD_CLOEXEC);
  if (own < 0) throw systemError((errno) => getSystemErrorMap().get(errno)!, own, "dup");
  return new DescriptorHandle(own);
}

/** The same file again with O_DIRECT, or -1: no such thing on this filesystem, no /proc, or no permission any more (an owner's 0444). */
function openDirect(fd: number, status: number): number {
  const kept = status & (FCNTL.O_ACCMODE | FCNTL.O_APPEND | FCNTL.O_SYNC | FCNTL.O_DSYNC);
  try {
    return openSync(`/proc/self/fd/${fd}`, kept | openDirectFlag(process.arch));
  } catch {
    return -1;
  }
}

/** The number of /dev/ptmx: whoever opens it again gets another terminal. */
const PTMX = (5 << 8) | 2;

/**
 * The same pipe or terminal once more, by a description that doesn't block: the flags of the caller's stay as they are. -1: it's neither,
 * or can't be opened again (no reader any more, no /proc).
 */
export function openNonBlocking(fd: number): number {
  const stat = fstatSync(fd);
  if (!stat.isFIFO() && !(isatty(fd) && stat.rdev !== PTMX)) return -1;
  const access = fcntl(fd, FCNTL.F_GETFL) & FCNTL.O_ACCMODE;
  try {
    return openSync(`/proc/self/fd/${fd}`, access | FCNTL.O_NONBLOCK | FCNTL.O_NOCTTY);
  } catch {
    return -1;
  }
}

/** Alignments in bytes; 0: the file takes no direct I/O (encrypted, say). */
function alignmentOf(fd: number): Alignment {
  return reportedAlignment(fd) ?? { memoryAlign: DEFAULT_ALIGN, offsetAlign: DEFAULT_ALIGN };
}

export interface Alignment {
  readonly memoryAlign: number;
  readonly offsetAlign: number;
}

/** What statx says of an open file; null where kernel or filesystem don't. */
export function reportedAlignment(fd: number): Alignment | null {
  const buffer = new Uint8Array(STATX_BUFFER.size);
  const words = new Uint32Array(buffer.buffer);
  const failed = statx(fd, FCNTL.AT_EMPTY_PATH, STATX.STATX_DIOALIGN, buffer) < 0;
  if (failed || (words[STATX_BUFFER.fields.stx_mask / 4]! & STATX.STATX_DIOALIGN) === 0) return null;
  return {
    memoryAlign: words[STATX_BUFFER.fields.stx_dio_mem_align / 4]!,
    offsetAlign: words[STATX_BUFFER.fields.stx_dio_offset_align / 4]!,
  };
}
