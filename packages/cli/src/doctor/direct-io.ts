/** Tests O_DIRECT at a path by reading the file itself, or an unnamed scratch file there. */

import { closeSync, constants, openSync, readSync, type Stats, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import {
  type Alignment,
  FCNTL,
  fixedMemory,
  openDirectFlag,
  reportedAlignment,
  temporaryFileFlag,
} from "pinless/internal";
import { degraded, type Finding, type Found, missing, ok } from "./finding.js";
import { look } from "./kernel-files.js";

/** Larger than any alignment that is tried. */
const READ_BYTES = 4096;
const OFFSET_ALIGNS = [512, 1024, 2048, READ_BYTES];
const MEMORY_ALIGNS = [4, 512, READ_BYTES];
const PATTERN = 0xa5;
const EMPTY = "nothing is there to be read";

export interface DirectIoFacts {
  readonly kind: "file" | "directory" | "block device" | "other";
  readonly filesystem: string | null;
  readonly mountPoint: string | null;
  readonly readOnly: boolean | null;
  /** True if O_DIRECT is accepted; and whether what it reads is correct. */
  readonly opens: boolean | null;
  readonly reads: boolean | null;
  readonly memoryAlignBytes: number | null;
  readonly offsetAlignBytes: number | null;
  readonly alignmentBy: "statx" | "trial" | null;
}

/** Tests a path. Throws as node:fs does if there is none. */
export function directIoFacts(path: string): DirectIoFacts {
  const { stat, mount } = look(path);
  return {
    kind: kindOf(stat),
    filesystem: mount?.type ?? null,
    mountPoint: mount?.at ?? null,
    readOnly: mount?.options.includes("ro") ?? null,
    opens: null,
    reads: null,
    memoryAlignBytes: null,
    offsetAlignBytes: null,
    alignmentBy: null,
  };
}

function kindOf(stat: Stats): DirectIoFacts["kind"] {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  return stat.isBlockDevice() ? "block device" : "other";
}

export function examineDirectIo(path: string, before: DirectIoFacts): Found<DirectIoFacts> {
  const filesystem = before.filesystem ?? "an unknown filesystem";
  const place = before.kind === "block device" ? before.kind : filesystem;
  const where = before.readOnly === true ? `${place}, read-only` : place;
  if (before.kind === "other")
    return { ...missing(`${path} is neither file nor directory: it has no direct I/O`), ...before };
  let fd: number;
  try {
    fd = before.kind === "directory" ? scratchFile(path) : openSync(path, FCNTL.O_RDONLY | FCNTL.O_NONBLOCK);
  } catch (error) {
    const { code = "?" } = error as NodeJS.ErrnoException;
    const isFile = before.kind !== "directory";
    const found = `${where}: not tried, ${isFile ? "the file can't be read" : "no file can be written here"} (${code})`;
    const remedy = isFile
      ? "Name a file that you can read."
      : "Name a file there that you can read, or a directory that you can write.";
    return { ...degraded(found, remedy), ...before };
  }
  try {
    return readDirectly(fd, where, before);
  } finally {
    closeSync(fd);
  }
}

function readDirectly(fd: number, where: string, before: DirectIoFacts): Found<DirectIoFacts> {
  let direct: number;
  try {
    direct = openSync(`/proc/self/fd/${fd}`, FCNTL.O_RDONLY | openDirectFlag(process.arch));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return { ...cached(`${where}: O_DIRECT is refused (${code})`), ...before, opens: false };
  }
  try {
    const memory = fixedMemory(3 * READ_BYTES);
    const reported = reportedAlignment(direct);
    const alignment = reported ?? triedAlignment(direct, memory);
    if (alignment === null || alignment.offsetAlign === 0)
      return {
        ...cached(`${where}: O_DIRECT opens, but nothing can be read by it`),
        ...before,
        opens: true,
        reads: false,
      };
    const { memoryAlign, offsetAlign } = alignment;
    const facts = {
      ...before,
      opens: true,
      memoryAlignBytes: memoryAlign,
      offsetAlignBytes: offsetAlign,
      alignmentBy: reported === null ? ("trial" as const) : ("statx" as const),
    };
    const aligned = `memory aligned to ${memoryAlign}, offsets to ${offsetAlign}`;
    const wrong = wrongRead(direct, fd, memory, offsetAlign);
    if (wrong === EMPTY)
      return { ...ok(`${where}: O_DIRECT opens, ${aligned}; the file is empty, so nothing was read`), ...facts };
    if (wrong !== null) return { ...cached(`${where}: O_DIRECT opens, but ${wrong}`), ...facts, reads: false };
    if (before.filesystem === "tmpfs" || before.filesystem === "ramfs")
      return {
        ...degraded(
          `${where}: O_DIRECT is accepted, but its files are in memory: there is no device to read from`,
          "Try a path on a disk.",
        ),
        ...facts,
        reads: true,
      };
    return { ...ok(`${where}: reads work, ${aligned}`), ...facts, reads: true };
  } finally {
    closeSync(direct);
  }
}

function cached(found: string): Finding {
  return degraded(found, "I/O there goes through the page cache. Try a path on ext4, xfs, btrfs or a block device.");
}

/** Compares a direct read with the page cache; returns null if they are the same. */
function wrongRead(direct: number, fd: number, memory: ArrayBuffer, offsetAlign: number): string | null {
  const bytes = Math.max(READ_BYTES, offsetAlign);
  const memoryBytes = memory.byteLength >= bytes ? memory : fixedMemory(bytes);
  try {
    const read = new Uint8Array(memoryBytes, 0, bytes);
    const expected = Buffer.alloc(bytes);
    const got = readSync(direct, read, 0, bytes, 0);
    const expectedBytes = readSync(fd, expected, 0, bytes, 0);
    if (got === 0 && expectedBytes === 0) return EMPTY;
    if (got !== expectedBytes) return `a read gave ${got} of ${expectedBytes} bytes`;
    return expected.equals(read) ? null : "a read gave other bytes than the page cache";
  } catch (error) {
    return `a read fails (${(error as NodeJS.ErrnoException).code})`;
  }
}

/** Smallest alignment that reads; null if none does. */
function triedAlignment(direct: number, memory: ArrayBuffer): Alignment | null {
  const reads = (offset: number, bytes: number): boolean => {
    try {
      readSync(direct, new Uint8Array(memory, offset, bytes), 0, bytes, 0);
      return true;
    } catch {
      return false;
    }
  };
  const offsetAlign = OFFSET_ALIGNS.find((bytes) => reads(0, bytes));
  if (offsetAlign === undefined) return null;
  const memoryAlign = MEMORY_ALIGNS.find((offset) => reads(offset, offsetAlign));
  return memoryAlign === undefined ? null : { memoryAlign, offsetAlign, readAlign: offsetAlign };
}

/** Creates a file that is removed with its descriptor. Throws as node:fs does. */
export function scratchFile(directory: string): number {
  let fd: number;
  try {
    fd = openSync(directory, FCNTL.O_CLOEXEC | constants.O_RDWR | temporaryFileFlag(process.arch), 0o600);
  } catch (error) {
    // Not every filesystem supports O_TMPFILE.
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!["EOPNOTSUPP", "ENOTSUP", "EISDIR", "EINVAL", "ENOENT"].includes(code)) throw error;
    const path = join(directory, `.pinless-doctor-${process.pid}`);
    fd = openSync(path, "wx+", 0o600);
    unlinkSync(path);
  }
  try {
    writeSync(fd, new Uint8Array(2 * READ_BYTES).fill(PATTERN), 0, 2 * READ_BYTES, 0);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
