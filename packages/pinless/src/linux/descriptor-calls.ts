/**
 * Transfers by single calls of node:fs. Without a position they use and move the open description's own, atomically for
 * all its users.
 */

import { IOVEC, STATX_BUFFER } from "../abi/layouts.js";
import { FCNTL, MMAN, SEEK, STATX } from "../abi/numbers.js";
import type { DescriptorCalls } from "../ports/opened-file.js";
import { WRITE } from "../protocol/direction.js";
import { EAGAIN, EIO } from "../protocol/errno.js";
import { alignDown, alignUp } from "../protocol/ranges/ranges.js";
import { transferWithFlags } from "./flagged-transfers.js";
import { cachestat, lseek, madvise, readNow, statx } from "./libc.js";
import { addressOf } from "./libc-bindings.js";
import { read, readv, writev } from "./originals.js";

const PAGE_BYTES = 4096;
const CACHED_READ_BYTES = 32 << 10;
/** Two huge pages: memory of this size contains one wherever it begins. */
const LARGE_BYTES = 4 << 20;

export function descriptorCalls(fd: number): DescriptorCalls {
  return {
    transfer: (direction, views, position, flags) =>
      new Promise((resolve) => {
        if (flags !== 0) {
          transferWithFlags(direction, fd, views, position, flags, resolve);
          return;
        }
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
    readCached: (memory, position) => readCached(fd, memory, position),
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

/** Memory of cached reads, behind its struct iovec; null before the first. A caller's memory may move. */
let readMemory: { readonly address: number; readonly vector: BigUint64Array; readonly bytes: Uint8Array } | null = null;

function readCached(fd: number, memory: Uint8Array, position: number): number {
  const { byteLength } = memory;
  const pages = Math.ceil((position + byteLength) / PAGE_BYTES) - Math.floor(position / PAGE_BYTES);
  // A read that doesn't wait would read ahead for pages that aren't there, and that may wait.
  const cached = cachestat(fd, position, byteLength);
  if (cached < pages) return cached < 0 ? cached : -EAGAIN;
  readMemory ??= newReadMemory();
  readMemory.vector[IOVEC.fields.iov_len / 8] = BigInt(Math.min(byteLength, CACHED_READ_BYTES));
  const bytes = readNow(fd, readMemory.address, position);
  if (bytes > 0) memory.set(readMemory.bytes.subarray(0, bytes));
  return bytes;
}

function newReadMemory(): NonNullable<typeof readMemory> {
  const buffer = new ArrayBuffer(IOVEC.size + CACHED_READ_BYTES);
  const address = addressOf(buffer);
  const vector = new BigUint64Array(buffer, 0, IOVEC.size / 8);
  vector[IOVEC.fields.iov_base / 8] = BigInt(address + IOVEC.size);
  return { address, vector, bytes: new Uint8Array(buffer, IOVEC.size) };
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
