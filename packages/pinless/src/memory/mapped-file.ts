/** Operations on memory that is a file mapping. */

import { fstatSync, ftruncateSync } from "node:fs";
import { ERRNO, FALLOC, MMAN } from "../abi/numbers.js";
import { fallocate, madvise, mapOver, msync } from "../linux/libc.js";
import type { MemoryRequest, MemoryResult } from "../ports/memory.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { inOne } from "./operation-pieces.js";

const READ_WRITE = MMAN.PROT_READ | MMAN.PROT_WRITE;

/**
 * Extends the file, with blocks allocated if the filesystem can, because a store that finds no space kills the process.
 * On failure the file's length and its free space are as before.
 */
export function extendFile(range: Range, { file }: MemoryRequest): MemoryResult {
  const { fd, position } = file!;
  const { size } = fstatSync(fd);
  const end = position + range.end - range.start;
  if (size >= end) return inOne(range, 0);
  // Blocks are allocated before the length is set, so that an extension by another process meanwhile isn't mistaken for
  // ours.
  const allocated = fallocate(fd, FALLOC.FALLOC_FL_KEEP_SIZE, size, end - size);
  if (allocated === 0) return inOne(range, fallocate(fd, 0, size, end - size));
  if (allocated === -ERRNO.EOPNOTSUPP) return inOne(range, extendWithoutRoom(fd, size, end));
  if (fstatSync(fd).size === size) cutOff(fd, size);
  return inOne(range, allocated);
}

/** Truncates a file to free the blocks beyond `size`. Errors are ignored: the caller reports the first one. */
function cutOff(fd: number, size: number): void {
  try {
    ftruncateSync(fd, size);
  } catch {
    // Read-only descriptors and sealed files refuse this as they refused to allocate, so that nothing is left to free.
  }
}

/** Extends a file where the filesystem allocates only together with the length (NFS), or not at all. */
function extendWithoutRoom(fd: number, size: number, end: number): number {
  const allocated = fallocate(fd, 0, size, end - size);
  if (allocated === 0) return 0;
  if (allocated === -ERRNO.EOPNOTSUPP) ftruncateSync(fd, end);
  else if (fstatSync(fd).size <= end) cutOff(fd, size);
  return allocated === -ERRNO.EOPNOTSUPP ? 0 : allocated;
}

/** Maps the file. Nothing is read until it's used. */
export function mapFile(range: Range, { file, inherit }: MemoryRequest): MemoryResult {
  const { fd, position } = file!;
  const bytes = range.end - range.start;
  const mapped = mapOver(range.start, bytes, READ_WRITE, MMAN.MAP_SHARED, fd, position);
  if (mapped < 0 || inherit === true) return inOne(range, mapped);
  return inOne(range, madvise(range.start, bytes, MMAN.MADV_DONTFORK));
}

/** Maps zeroed pages, as in a new arena; access through a stale view stays harmless. */
export function mapZeros(range: Range): MemoryResult {
  const flags = MMAN.MAP_PRIVATE | MMAN.MAP_ANONYMOUS | MMAN.MAP_NORESERVE;
  return inOne(range, mapOver(range.start, range.end - range.start, READ_WRITE, flags, -1, 0));
}

export function writeback(range: Range): MemoryResult {
  return inOne(range, msync(range.start, range.end - range.start, MMAN.MS_SYNC));
}
