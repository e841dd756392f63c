/** The operations on memory that is a mapping of a file. */

import { fstatSync, ftruncateSync } from "node:fs";
import { ERRNO, FALLOC, MMAN } from "../abi/numbers.js";
import { fallocate, madvise, mapOver, msync } from "../linux/libc.js";
import type { MemoryRequest, MemoryResult } from "../ports/memory.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { inOne } from "./operation-pieces.js";

const READ_WRITE = MMAN.PROT_READ | MMAN.PROT_WRITE;

/**
 * With room on the device, where the filesystem can promise that: a store that finds none ends the process. Where there isn't room for all
 * of it the file is as long as before, and what was found for it is free again.
 */
export function extendFile(range: Range, { file }: MemoryRequest): MemoryResult {
  const { fd, position } = file!;
  const { size } = fstatSync(fd);
  const end = position + range.end - range.start;
  if (size >= end) return inOne(range, 0);
  // First the room and then the length, so that a file that somebody else makes longer meanwhile isn't taken for ours.
  const allocated = fallocate(fd, FALLOC.FALLOC_FL_KEEP_SIZE, size, end - size);
  if (allocated === 0) return inOne(range, fallocate(fd, 0, size, end - size));
  if (allocated === -ERRNO.EOPNOTSUPP) return inOne(range, extendWithoutRoom(fd, size, end));
  if (fstatSync(fd).size === size) cutOff(fd, size);
  return inOne(range, allocated);
}

/** Cuts a file off at a size, which frees what lies behind. Its caller has an error already, and that's the one that counts. */
function cutOff(fd: number, size: number): void {
  try {
    ftruncateSync(fd, size);
  } catch {
    // Read-only descriptors and sealed files refuse this as they refused the room: nothing lies behind their end.
  }
}

/** Some filesystems promise room only with the length (NFS), others not at all. */
function extendWithoutRoom(fd: number, size: number, end: number): number {
  const allocated = fallocate(fd, 0, size, end - size);
  if (allocated === 0) return 0;
  if (allocated === -ERRNO.EOPNOTSUPP) ftruncateSync(fd, end);
  else if (fstatSync(fd).size <= end) cutOff(fd, size);
  return allocated === -ERRNO.EOPNOTSUPP ? 0 : allocated;
}

/** Nothing of it is read before it's used. */
export function mapFile(range: Range, { file, inherit }: MemoryRequest): MemoryResult {
  const { fd, position } = file!;
  const bytes = range.end - range.start;
  const mapped = mapOver(range.start, bytes, READ_WRITE, MMAN.MAP_SHARED, fd, position);
  if (mapped < 0 || inherit === true) return inOne(range, mapped);
  return inOne(range, madvise(range.start, bytes, MMAN.MADV_DONTFORK));
}

/** As a new arena is before anything has been written to it; no access of a stale view ends the process. */
export function mapZeros(range: Range): MemoryResult {
  const flags = MMAN.MAP_PRIVATE | MMAN.MAP_ANONYMOUS | MMAN.MAP_NORESERVE;
  return inOne(range, mapOver(range.start, range.end - range.start, READ_WRITE, flags, -1, 0));
}

export function writeback(range: Range): MemoryResult {
  return inOne(range, msync(range.start, range.end - range.start, MMAN.MS_SYNC));
}
