/**
 * Finds out if I/O with O_DIRECT really goes around the page cache, and its alignment. The open flag doesn't tell:
 * tmpfs accepts it but has nothing except page cache, and btrfs accepts it for compressed files, which it reads and
 * writes through the page cache.
 */

import { FIEMAP, FIEMAP_EXTENT, STATX_BUFFER } from "../abi/layouts.js";
import { FCNTL, FIEMAP_FLAGS, FS_IOC, MAGIC, STATX } from "../abi/numbers.js";
import { ioctl, statx } from "./libc.js";
import { addressOf } from "./libc-bindings.js";
import { mountsOf } from "./mounts.js";
import { readFileSync, statfs } from "./originals.js";

/**
 * Alignment assumed where the filesystem doesn't report one (statx before 6.1, btrfs): a page suits every device in
 * use.
 */
const DEFAULT_ALIGN = 4096;
/** Number of extents that are examined; the rest of the file is assumed to be like them. */
const EXTENTS = 64;

export interface Alignment {
  readonly memoryAlign: number;
  readonly offsetAlign: number;
}

const MEMORY_ONLY: readonly number[] = [MAGIC.TMPFS_MAGIC, MAGIC.RAMFS_MAGIC, MAGIC.HUGETLBFS_MAGIC];

/** Filesystems whose direct I/O is known not to block the submitting thread. All of them report an alignment. */
const PROMPT: readonly number[] = [
  MAGIC.EXT4_SUPER_MAGIC,
  MAGIC.XFS_SUPER_MAGIC,
  MAGIC.BTRFS_SUPER_MAGIC,
  MAGIC.F2FS_SUPER_MAGIC,
];

export interface DirectWay extends Alignment {
  readonly prompt: boolean;
  /** True if the filesystem has reported that it supports O_DIRECT; otherwise only an open can tell. */
  readonly sure: boolean;
}

/**
 * Alignment for direct I/O on a regular file or block device; null if it doesn't exist. Questions to the filesystem
 * don't block this thread.
 */
export async function directWay(fd: number, isDevice: boolean, writable: boolean): Promise<DirectWay | null> {
  const { words, reported } = statxOf(fd);
  if ((words[STATX_BUFFER.fields.stx_attributes / 4]! & STATX.STATX_ATTR_COMPRESSED) !== 0) return null;
  if (reported !== null) return reported.offsetAlign > 0 ? { ...reported, prompt: true, sure: true } : null;
  const magic = await filesystemOf(fd);
  const prompt = isDevice || PROMPT.includes(magic);
  const otherwise = { memoryAlign: DEFAULT_ALIGN, offsetAlign: DEFAULT_ALIGN, prompt, sure: false };
  if (MEMORY_ONLY.includes(magic)) return null;
  const isBtrfs = magic === MAGIC.BTRFS_SUPER_MAGIC;
  if (!isBtrfs && magic !== MAGIC.OVERLAYFS_SUPER_MAGIC) return otherwise;
  // An overlay answers for the filesystem below. Of those that report no alignment, tmpfs has no extents either.
  const compressed = hasEncodedExtents(fd);
  if (compressed === null || compressed) return null;
  return isBtrfs && writable && compressesNewData(fd, words) ? null : otherwise;
}

/**
 * Alignment that statx reports for an open file; null if kernel or filesystem don't report it. 0 means that the file
 * supports no direct I/O (for instance if it's encrypted).
 */
export function reportedAlignment(fd: number): Alignment | null {
  return statxOf(fd).reported;
}

function statxOf(fd: number): { words: Uint32Array; reported: Alignment | null } {
  const buffer = new Uint8Array(STATX_BUFFER.size);
  const words = new Uint32Array(buffer.buffer);
  const { stx_mask, stx_dio_mem_align, stx_dio_offset_align } = STATX_BUFFER.fields;
  // With DONT_SYNC the answer comes from the kernel's own knowledge, not from the server of a network or user-space
  // filesystem.
  const flags = FCNTL.AT_EMPTY_PATH | FCNTL.AT_STATX_DONT_SYNC;
  const failed = statx(fd, flags, STATX.STATX_DIOALIGN | STATX.STATX_MNT_ID, buffer) < 0;
  const says = !failed && (words[stx_mask / 4]! & STATX.STATX_DIOALIGN) !== 0;
  const reported = { memoryAlign: words[stx_dio_mem_align / 4]!, offsetAlign: words[stx_dio_offset_align / 4]! };
  return { words, reported: says ? reported : null };
}

/** Magic number of the filesystem, 0 if unknown. */
function filesystemOf(fd: number): Promise<number> {
  return new Promise((resolve) => {
    statfs(`/proc/self/fd/${fd}`, (error, stats) => resolve(error === null ? stats.type : 0));
  });
}

/**
 * True if extents on disk are encoded (compressed, encrypted), so that they aren't the file's bytes; null if the
 * filesystem has no extents.
 */
function hasEncodedExtents(fd: number): boolean | null {
  // It's larger than what V8 keeps on its heap, where memory moves.
  const words = new Uint32Array(new ArrayBuffer(FIEMAP.size + EXTENTS * FIEMAP_EXTENT.size));
  const { fm_length, fm_extent_count, fm_mapped_extents } = FIEMAP.fields;
  words.fill(0xffffffff, fm_length / 4, fm_length / 4 + 2);
  words[fm_extent_count / 4] = EXTENTS;
  if (ioctl(fd, FS_IOC.FS_IOC_FIEMAP, addressOf(words.buffer)) < 0) return null;
  for (let i = 0; i < words[fm_mapped_extents / 4]!; i++) {
    const flags = words[(FIEMAP.size + i * FIEMAP_EXTENT.size + FIEMAP_EXTENT.fields.fe_flags) / 4]!;
    if ((flags & FIEMAP_FLAGS.FIEMAP_EXTENT_ENCODED) !== 0) return true;
  }
  return false;
}

/** True if btrfs compresses new data of this file: by its mount options, unless the file is excluded. */
function compressesNewData(fd: number, words: Uint32Array): boolean {
  const flags = new Uint32Array(new ArrayBuffer(1024));
  const asked = ioctl(fd, FS_IOC.FS_IOC_GETFLAGS, addressOf(flags.buffer)) >= 0;
  if (asked && (flags[0]! & (FS_IOC.FS_NOCOMP_FL | FS_IOC.FS_NOCOW_FL)) !== 0) return false;
  const id = words[STATX_BUFFER.fields.stx_mnt_id / 4]!;
  try {
    const mount = mountsOf(readFileSync("/proc/self/mountinfo", "utf8")).find((each) => each.id === id);
    return mount?.options.some((option) => option.startsWith("compress")) ?? false;
  } catch {
    // Without /proc there is no way to know.
    return false;
  }
}
