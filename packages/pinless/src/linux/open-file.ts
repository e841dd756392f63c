/**
 * Opens a file twice: through the page cache by Node, which gives the flags and errors that a caller expects; and with
 * O_DIRECT, when that is first needed if the filesystem has reported that it can.
 */

import type { BigIntStats } from "node:fs";
import { isatty } from "node:tty";
import { getSystemErrorMap } from "node:util";
import { FCNTL, openDirectFlag } from "../abi/numbers.js";
import type { Closer, FilePath, OpenedFile } from "../ports/opened-file.js";
import { EACCES } from "../protocol/errno.js";
import { argumentError, systemError } from "../protocol/errors.js";
import { descriptorCalls } from "./descriptor-calls.js";
import { DescriptorHandle } from "./descriptor-handle.js";
import { directWay, reportOf } from "./direct-alignment.js";
import { traitsOf } from "./file-traits-of.js";
import { faccessat, fcntl } from "./libc.js";
import { loop } from "./loop.js";
import { close, fstatSync, open, openHandle, openSync } from "./originals.js";

const NOT_DIRECT = { memoryAlign: 1, offsetAlign: 1, readAlign: 1, prompt: true };

export async function openFile(path: FilePath, flags: string | number = "r", mode?: number): Promise<OpenedFile> {
  const isDescriptor = typeof path === "object" && path !== null && "fd" in path;
  const handle = isDescriptor ? duplicate(path.fd) : await openHandle(path as string, flags, mode);
  try {
    const stat = (await handle.stat({ bigint: true })) as BigIntStats;
    const hasBlocks = stat.isFile() || stat.isBlockDevice();
    const status = fcntl(handle.fd, FCNTL.F_GETFL);
    const writable = (status & FCNTL.O_ACCMODE) !== FCNTL.O_RDONLY;
    const report = reportOf(handle.fd);
    const maybe = hasBlocks && status >= 0 ? await directWay(handle.fd, report, stat.isBlockDevice(), writable) : null;
    let directFd = maybe?.sure === false ? await openDirect(handle.fd, status) : -1;
    const way = directFd >= 0 || (maybe?.sure === true && mayReopen(handle.fd, status)) ? maybe : null;
    const { memoryAlign, offsetAlign, readAlign, prompt } = way ?? NOT_DIRECT;
    return {
      handle,
      calls: descriptorCalls(handle.fd),
      traits: traitsOf(handle.fd, stat, isDescriptor, prompt),
      identity: `${stat.dev}:${stat.ino}`,
      direct: way !== null,
      memoryAlign,
      offsetAlign,
      readAlign,
      atomic: way === null ? null : report.atomic,
      mount: report.mount > 0 ? `mount ${report.mount}` : `device ${stat.dev}`,
      socket: stat.isSocket(),
      append: (status & FCNTL.O_APPEND) !== 0,
      readable: (status & FCNTL.O_ACCMODE) !== FCNTL.O_WRONLY,
      writable,
      openDirect: () => {
        if (directFd < 0) directFd = openDirectNow(handle.fd, status);
        return directFd;
      },
      closeDirect: () => closeDirect(directFd),
      dropped: (closed, closer) => {
        if (closer === "engine" || !isError) warnOfDropped(handle.fd, closed, closer);
        else throwForDropped(isDescriptor ? `${handle.fd}` : `${handle.fd} (${path})`, closed);
      },
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** True from Node 25 on, where garbage collection of an open FileHandle is an error. */
const isError = Number.parseInt(process.versions.node, 10) >= 25;

/** Throws the error that Node throws for an open FileHandle that was garbage-collected. */
function throwForDropped(descriptor: string, closed: Promise<void>): void {
  const error = new Error(
    "A File was closed on garbage collection, which is an error from Node 25 on: close it by file.close(). Its " +
      `descriptor was ${descriptor}`,
  );
  const thrown = Object.assign(error, { code: "ERR_INVALID_STATE" });
  closed
    .catch((cause) => {
      error.cause = cause;
    })
    .finally(() => loop.uncaught(thrown));
}

let deprecated = false;

/**
 * Emits the warnings that Node emits for an open FileHandle that was garbage-collected. The one that foretells an error
 * isn't true of files that an engine closes.
 */
function warnOfDropped(fd: number, closed: Promise<void>, closer: Closer): void {
  process.emitWarning(`Closing file descriptor ${fd} on garbage collection`);
  closed.catch((error) => process.emitWarning(`Closing file descriptor ${fd} on garbage collection failed: ${error}`));
  if (deprecated || closer === "engine") return;
  deprecated = true;
  process.emitWarning(
    "Closing a FileHandle object on garbage collection is deprecated. Please close FileHandle objects " +
      "explicitly using " +
      "FileHandle.prototype.close(). In the future, an error will be thrown if a file descriptor is closed during " +
      "garbage collection.",
    "DeprecationWarning",
    "DEP0137",
  );
}

/** Duplicates a descriptor. Throws EBADF if it isn't one. */
function duplicate(fd: number): DescriptorHandle {
  if (!Number.isInteger(fd))
    throw argumentError("ERR_INVALID_ARG_TYPE", `fd must be an open file descriptor. Received ${fd}`);
  const own = fcntl(fd, FCNTL.F_DUPFD_CLOEXEC);
  if (own < 0) throw systemError((errno) => getSystemErrorMap().get(errno)!, own, "dup");
  return new DescriptorHandle(own);
}

/** True if the same file can be opened again: not without /proc, nor after permission was lost (the owner's 0444). */
function mayReopen(fd: number, status: number): boolean {
  const access = status & FCNTL.O_ACCMODE;
  const mode = (access === FCNTL.O_WRONLY ? 0 : FCNTL.R_OK) | (access === FCNTL.O_RDONLY ? 0 : FCNTL.W_OK);
  return faccessat(`/proc/self/fd/${fd}`, mode, FCNTL.AT_EACCESS) === 0;
}

function directFlags(status: number): number {
  const kept = status & (FCNTL.O_ACCMODE | FCNTL.O_APPEND | FCNTL.O_SYNC | FCNTL.O_DSYNC);
  return kept | openDirectFlag(process.arch);
}

/** Opens the same file with O_DIRECT; -1 if the filesystem, /proc or permissions don't allow it. */
function openDirect(fd: number, status: number): Promise<number> {
  return new Promise((resolve) => {
    open(`/proc/self/fd/${fd}`, directFlags(status), (error, opened) => resolve(error === null ? opened : -1));
  });
}

/** Opens it synchronously, on filesystems whose open doesn't block. Returns a descriptor or -errno. */
function openDirectNow(fd: number, status: number): number {
  try {
    return openSync(`/proc/self/fd/${fd}`, directFlags(status));
  } catch (error) {
    // An error without an errno comes from Node's permission model.
    return (error as NodeJS.ErrnoException).errno ?? -EACCES;
  }
}

/** Closes a descriptor on the thread pool, because a filesystem may block in close too. */
function closeDirect(fd: number): Promise<void> {
  if (fd < 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    close(fd, (error) => (error == null ? resolve() : reject(error)));
  });
}

/** Device number of /dev/ptmx: opening it again gives a different terminal. */
const PTMX = (5 << 8) | 2;

/**
 * Opens the same pipe or terminal with O_NONBLOCK, leaving the flags of the caller's description alone. Returns -1 for
 * other files, and if it can't be opened (no reader any more, no /proc).
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
