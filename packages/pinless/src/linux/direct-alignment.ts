/**
 * Finds out if I/O with O_DIRECT really goes around the page cache, and its alignment. The open flag doesn't tell:
 * tmpfs accepts it but has nothing except page cache, and btrfs accepts it for compressed files, which it reads and
 * writes through the page cache.
 */

import { FIEMAP, FIEMAP_EXTENT, STATX_BUFFER } from "../abi/layouts.js";
import { FCNTL, FIEMAP_FLAGS, FS_IOC, MAGIC, STATX } from "../abi/numbers.js";
import type { AtomicLimits } from "../ports/opened-file.js";
import { ioctl, statx } from "./libc.js";
import { addressOf } from "./libc-bindings.js";
import { mountsOf } from "./mounts.js";
import { readFileSync, statfs } from "./originals.js";

/**
 * Alignment assumed where the filesystem doesn't report one (statx before 6.1, btrfs): a page suits every device in
 * use.
 */
const DEFAULT_ALIGNMENT: Alignment = { memoryAlign: 4096, offsetAlign: 4096, readAlign: 4096 };
/** Number of extents that are examined; the rest of the file is assumed to be like them. */
const EXTENTS = 64;

export interface Alignment {
  readonly memoryAlign: number;
  readonly offsetAlign: number;
  /** Alignment of reads, which may be finer: on XFS, where files share blocks (Linux 6.14). */
  readonly readAlign: number;
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
export async function directWay(
  fd: number,
  { words, reported }: FileReport,
  isDevice: boolean,
  writable: boolean,
): Promise<DirectWay | null> {
  if ((words[STATX_BUFFER.fields.stx_attributes / 4]! & STATX.STATX_ATTR_COMPRESSED) !== 0) return null;
  if (reported !== null) return reported.offsetAlign > 0 ? { ...reported, prompt: true, sure: true } : null;
  const magic = await filesystemOf(fd);
  const prompt = isDevice || PROMPT.includes(magic);
  const otherwise = { ...DEFAULT_ALIGNMENT, prompt, sure: false };
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
  return reportOf(fd).reported;
}

/** The part of statx(2)'s answer that direct and atomic I/O need. */
export interface FileReport {
  readonly words: Uint32Array;
  readonly reported: Alignment | null;
  readonly atomic: AtomicLimits | null;
  /** Number of the mount; 0 if the kernel doesn't tell. */
  readonly mount: number;
}

export function reportOf(fd: number): FileReport {
  const buffer = new Uint8Array(STATX_BUFFER.size);
  const words = new Uint32Array(buffer.buffer);
  const { STATX_DIOALIGN, STATX_DIO_READ_ALIGN, STATX_WRITE_ATOMIC, STATX_MNT_ID } = STATX;
  const wanted = STATX_DIOALIGN | STATX_DIO_READ_ALIGN | STATX_WRITE_ATOMIC | STATX_MNT_ID;
  // With DONT_SYNC the answer comes from the kernel's own knowledge, not from the server of a network or user-space
  // filesystem.
  const failed = statx(fd, FCNTL.AT_EMPTY_PATH | FCNTL.AT_STATX_DONT_SYNC, wanted, buffer) < 0;
  const value = (field: keyof typeof STATX_BUFFER.fields): number => words[STATX_BUFFER.fields[field] / 4]!;
  const says = (what: number): boolean => !failed && (value("stx_mask") & what) !== 0;
  const memoryAlign = value("stx_dio_mem_align");
  const offsetAlign = value("stx_dio_offset_align");
  const readAlign = value("stx_dio_read_offset_align");
  const unitMaxBytes = value("stx_atomic_write_unit_max");
  return {
    words,
    reported: says(STATX_DIOALIGN)
      ? { memoryAlign, offsetAlign, readAlign: says(STATX_DIO_READ_ALIGN) && readAlign > 0 ? readAlign : offsetAlign }
      : null,
    atomic:
      says(STATX_WRITE_ATOMIC) && unitMaxBytes > 0
        ? {
            unitMinBytes: value("stx_atomic_write_unit_min"),
            unitMaxBytes,
            segmentsMax: value("stx_atomic_write_segments_max"),
          }
        : null,
    mount: says(STATX_MNT_ID) ? value("stx_mnt_id") : 0,
  };
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
