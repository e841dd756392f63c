/**
 * Transfers by single calls of node:fs. Without a position they use and move the open description's own, atomically for
 * all its users.
 */

import { STATX_BUFFER } from "../abi/layouts.js";
import { FCNTL, MMAN, SEEK, STATX } from "../abi/numbers.js";
import type { DescriptorCalls } from "../ports/opened-file.js";
import { WRITE } from "../protocol/direction.js";
import { EIO } from "../protocol/errno.js";
import { alignDown, alignUp } from "../protocol/ranges/ranges.js";
import { cachestat, lseek, madvise, statx } from "./libc.js";
import { addressOf } from "./libc-bindings.js";
import { read, readv, writev } from "./originals.js";

const PAGE_BYTES = 4096;
/** Two huge pages: memory of this size contains one wherever it begins. */
const LARGE_BYTES = 4 << 20;

export function descriptorCalls(fd: number): DescriptorCalls {
  return {
    transfer: (direction, views, position) =>
      new Promise((resolve) => {
        const done = (error: NodeJS.ErrnoException | null, bytes: number): void =>
          resolve(error === null ? bytes : (error.errno ?? -EIO));
        // Without a number, node:fs calls read(2) or write(2), which use the own position.
        if (typeof position !== "bigint") (direction === WRITE ? writev : readv)(fd, views, position as number, done);
        else read(fd, views[0]!, 0, views[0]!.byteLength, position, done);
      }),
    tell: () => lseek(fd, 0, SEEK.SEEK_CUR),
    seek: (position) => void lseek(fd, position, SEEK.SEEK_SET),
    size: () => sizeOf(fd),
    isCached: (position, bytes, size) => isCached(fd, position, bytes, size ?? sizeOf(fd)),
    memoryFor,
  };
}

/** Size of a file as the kernel knows it, without asking a network or user-space filesystem. */
function sizeOf(fd: number): number {
  const buffer = new Uint8Array(STATX_BUFFER.size);
  statx(fd, FCNTL.AT_EMPTY_PATH | FCNTL.AT_STATX_DONT_SYNC, STATX.STATX_SIZE, buffer);
  return Number(new BigUint64Array(buffer.buffer)[STATX_BUFFER.fields.stx_size / 8]);
}

function isCached(fd: number, position: number, bytes: number, size: number): boolean {
  const end = Math.min(position + bytes, size);
  const pages = Math.ceil(end / PAGE_BYTES) - Math.floor(position / PAGE_BYTES);
  return pages > 0 && cachestat(fd, position, end - position) >= pages;
}

function memoryFor(bytes: number): ArrayBuffer {
  const memory = Buffer.allocUnsafeSlow(bytes).buffer;
  if (bytes < LARGE_BYTES) return memory;
  const address = addressOf(memory);
  const start = alignUp(address, PAGE_BYTES);
  // A kernel without huge pages answers EINVAL, and small ones do as well.
  madvise(start, alignDown(address + bytes, PAGE_BYTES) - start, MMAN.MADV_HUGEPAGE);
  return memory;
}
