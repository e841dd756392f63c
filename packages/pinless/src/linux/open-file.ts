/**
 * Opens a file through the page cache by Node, whose errors and flags are what a caller expects, and a second time around it: where the
 * filesystem has said that it can, when that is first needed.
 */

import type { BigIntStats } from "node:fs";
import { isatty } from "node:tty";
import { getSystemErrorMap } from "node:util";
import { ERRNO, FCNTL, openDirectFlag } from "../abi/numbers.js";
import type { FilePath, OpenedFile } from "../ports/opened-file.js";
import { argumentError, systemError } from "../protocol/errors.js";
import { descriptorCalls } from "./descriptor-calls.js";
import { DescriptorHandle } from "./descriptor-handle.js";
import { directWay } from "./direct-alignment.js";
import { traitsOf } from "./file-traits-of.js";
import { faccessat, fcntl } from "./libc.js";
import { loop } from "./loop.js";
import { close, fstatSync, open, openHandle, openSync } from "./originals.js";

export async function openFile(path: FilePath, flags: string | number = "r", mode?: number): Promise<OpenedFile> {
  const isDescriptor = typeof path === "object" && path !== null && "fd" in path;
  const handle = isDescriptor ? duplicate(path.fd) : await openHandle(path as string, flags, mode);
  try {
    const stat = (await handle.stat({ bigint: true })) as BigIntStats;
    const hasBlocks = stat.isFile() || stat.isBlockDevice();
    const status = fcntl(handle.fd, FCNTL.F_GETFL);
    const writable = (status & FCNTL.O_ACCMODE) !== FCNTL.O_RDONLY;
    const maybe = hasBlocks && status >= 0 ? await directWay(handle.fd, stat.isBlockDevice(), writable) : null;
    let directFd = maybe?.sure === false ? await openDirect(handle.fd, status) : -1;
    const way = directFd >= 0 || (maybe?.sure === true && mayReopen(handle.fd, status)) ? maybe : null;
    const { memoryAlign, offsetAlign, prompt } = way ?? { memoryAlign: 1, offsetAlign: 1, prompt: true };
    return {
      handle,
      calls: descriptorCalls(handle.fd),
      traits: traitsOf(handle.fd, stat, isDescriptor, prompt),
      identity: `${stat.dev}:${stat.ino}`,
      direct: way !== null,
      memoryAlign,
      offsetAlign,
      socket: stat.isSocket(),
      append: (status & FCNTL.O_APPEND) !== 0,
      readable: (status & FCNTL.O_ACCMODE) !== FCNTL.O_WRONLY,
      writable,
      openDirect: () => {
        if (directFd < 0) directFd = openDirectNow(handle.fd, status);
        return directFd;
      },
      closeDirect: () => closeDirect(directFd),
      dropped: isError
        ? (closed) => throwForDropped(isDescriptor ? `${handle.fd}` : `${handle.fd} (${path})`, closed)
        : (closed) => warnOfDropped(handle.fd, closed),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** From Node 25 on, a FileHandle that was never closed is an error once it's collected as garbage. */
const isError = Number.parseInt(process.versions.node, 10) >= 25;

/** Throws to the process what Node throws for a FileHandle. */
function throwForDropped(descriptor: string, closed: Promise<void>): void {
  const error = new Error(
    `A File was closed on garbage collection, which is an error from Node 25 on: close it by file.close(). Its descriptor was ${descriptor}`,
  );
  const thrown = Object.assign(error, { code: "ERR_INVALID_STATE" });
  closed
    .catch((cause) => {
      error.cause = cause;
    })
    .finally(() => loop.uncaught(thrown));
}

let deprecated = false;

/** Warns as Node does of a FileHandle. */
function warnOfDropped(fd: number, closed: Promise<void>): void {
  process.emitWarning(`Closing file descriptor ${fd} on garbage collection`);
  closed.catch((error) => process.emitWarning(`Closing file descriptor ${fd} on garbage collection failed: ${error}`));
  if (deprecated) return;
  deprecated = true;
  process.emitWarning(
    "Closing a FileHandle object on garbage collection is deprecated. Please close FileHandle objects explicitly using " +
      "FileHandle.prototype.close(). In the future, an error will be thrown if a file descriptor is closed during " +
      "garbage collection.",
    "DeprecationWarning",
    "DEP0137",
  );
}

/** Throws EBADF for what isn't a descriptor. */
function duplicate(fd: number): DescriptorHandle {
  if (!Number.isInteger(fd)) throw argumentError("ERR_INVALID_ARG_TYPE", `fd must be a descriptor. Received ${fd}`);
  const own = fcntl(fd, FCNTL.F_DUPFD_CLOEXEC);
  if (own < 0) throw systemError((errno) => getSystemErrorMap().get(errno)!, own, "dup");
  return new DescriptorHandle(own);
}

/** Whether the same file can be opened again: not without /proc, nor without permission any more (an owner's 0444). */
function mayReopen(fd: number, status: number): boolean {
  const access = status & FCNTL.O_ACCMODE;
  const mode = (access === FCNTL.O_WRONLY ? 0 : FCNTL.R_OK) | (access === FCNTL.O_RDONLY ? 0 : FCNTL.W_OK);
  return faccessat(`/proc/self/fd/${fd}`, mode, FCNTL.AT_EACCESS) === 0;
}

function directFlags(status: number): number {
  const kept = status & (FCNTL.O_ACCMODE | FCNTL.O_APPEND | FCNTL.O_SYNC | FCNTL.O_DSYNC);
  return kept | openDirectFlag(process.arch);
}

/** The same file again with O_DIRECT, or -1: no such thing on this filesystem, no /proc, or no permission. */
function openDirect(fd: number, status: number): Promise<number> {
  return new Promise((resolve) => {
    open(`/proc/self/fd/${fd}`, directFlags(status), (error, opened) => resolve(error === null ? opened : -1));
  });
}

/** The same where the filesystem keeps nobody waiting: a descriptor, or -errno. */
function openDirectNow(fd: number, status: number): number {
  try {
    return openSync(`/proc/self/fd/${fd}`, directFlags(status));
  } catch (error) {
    // Without an errno it's Node's permission model that forbids it.
    return (error as NodeJS.ErrnoException).errno ?? -ERRNO.EACCES;
  }
}

/** A filesystem may take its time also for that. */
function closeDirect(fd: number): Promise<void> {
  if (fd < 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    close(fd, (error) => (error == null ? resolve() : reject(error)));
  });
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
