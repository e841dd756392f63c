/** Extends a file with space allocated for it. */

import { fstatSync, ftruncateSync } from "node:fs";
import { FALLOC } from "../abi/numbers.js";
import { fallocate } from "../linux/libc.js";
import { EOPNOTSUPP } from "../protocol/errno.js";

/**
 * Extends a file that is shorter than `end`, with blocks allocated if the filesystem can, because a store that finds no
 * space kills the process. On failure the file's length and its free space are as before.
 */
export function extendFile(fd: number, end: number): number {
  const { size } = fstatSync(fd);
  if (size >= end) return 0;
  // Blocks are allocated before the length is set, so that an extension by another process meanwhile isn't mistaken for
  // ours.
  const allocated = fallocate(fd, FALLOC.FALLOC_FL_KEEP_SIZE, size, end - size);
  if (allocated === 0) return fallocate(fd, 0, size, end - size);
  if (allocated === -EOPNOTSUPP) return extendWithoutRoom(fd, size, end);
  if (fstatSync(fd).size === size) cutOff(fd, size);
  return allocated;
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
  if (allocated === -EOPNOTSUPP) ftruncateSync(fd, end);
  else if (fstatSync(fd).size <= end) cutOff(fd, size);
  return allocated === -EOPNOTSUPP ? 0 : allocated;
}
