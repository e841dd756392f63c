/**
 * Tells whether I/O with O_DIRECT really goes around the page cache, and what it asks for. The flag alone doesn't say so: tmpfs takes it, which
 * is nothing but page cache, and btrfs takes it of files that it compresses, which it reads and writes through the page cache all the same.
 */

import { FIEMAP, FIEMAP_EXTENT, STATX_BUFFER } from "../abi/layouts.js";
import { FCNTL, FIEMAP_FLAGS, FS_IOC, MAGIC, STATX } from "../abi/numbers.js";
import { addressOf, ioctl, statx } from "./libc.js";
import { readFileSync, statfs } from "./originals.js";

/** What O_DIRECT asks for where the filesystem doesn't say (statx before 6.1, btrfs): a page suits every device in use. */
const DEFAULT_ALIGN = 4096;
/** A file is taken to be all like its first extents. */
const EXTENTS = 64;

export interface Alignment {
  readonly memoryAlign: number;
  readonly offsetAlign: number;
}

const MEMORY_ONLY: readonly number[] = [MAGIC.TMPFS_MAGIC, MAGIC.RAMFS_MAGIC, MAGIC.HUGETLBFS_MAGIC];

/** Those whose direct I/O is known not to keep whoever hands it over waiting. All that report an alignment are of this kind. */
const PROMPT: readonly number[] = [
  MAGIC.EXT4_SUPER_MAGIC,
  MAGIC.XFS_SUPER_MAGIC,
  MAGIC.BTRFS_SUPER_MAGIC,
  MAGIC.F2FS_SUPER_MAGIC,
];

export interface DirectWay extends Alignment {
  readonly prompt: boolean;
  /** The filesystem has said that it takes O_DIRECT; else only opening tells. */
  readonly sure: boolean;
}

/** Null: there's no way around the page cache. Asks the filesystem, of a regular file or a block device, without waiting for it here. */
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
  // An overlay says what the filesystem below says: of those that don't speak of alignment, tmpfs has no extents to speak of either.
  const compressed = hasEncodedExtents(fd);
  if (compressed === null || compressed) return null;
  return isBtrfs && writable && compressesNewData(fd, words) ? null : otherwise;
}

/** What statx says of an open file; null where kernel or filesystem don't. Alignments of 0: it takes no direct I/O (encrypted, say). */
export function reportedAlignment(fd: number): Alignment | null {
  return statxOf(fd).reported;
}

function statxOf(fd: number): { words: Uint32Array; reported: Alignment | null } {
  const buffer = new Uint8Array(STATX_BUFFER.size);
  const words = new Uint32Array(buffer.buffer);
  const { stx_mask, stx_dio_mem_align, stx_dio_offset_align } = STATX_BUFFER.fields;
  // What is asked for is known without a question to whoever serves a filesystem of the network, or of user space.
  const flags = FCNTL.AT_EMPTY_PATH | FCNTL.AT_STATX_DONT_SYNC;
  const failed = statx(fd, flags, STATX.STATX_DIOALIGN | STATX.STATX_MNT_ID, buffer) < 0;
  const says = !failed && (words[stx_mask / 4]! & STATX.STATX_DIOALIGN) !== 0;
  const reported = { memoryAlign: words[stx_dio_mem_align / 4]!, offsetAlign: words[stx_dio_offset_align / 4]! };
  return { words, reported: says ? reported : null };
}

/** 0: nobody says. */
function filesystemOf(fd: number): Promise<number> {
  return new Promise((resolve) => {
    statfs(`/proc/self/fd/${fd}`, (error, stats) => resolve(error === null ? stats.type : 0));
  });
}

/** Whether what is on the disk isn't the file's bytes as they are; null: the filesystem has no extents. */
function hasEncodedExtents(fd: number): boolean | null {
  // Not on V8's heap, which moves: larger than what it keeps there.
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

/** Whether btrfs is mounted to compress what is written, and this file isn't spared. */
function compressesNewData(fd: number, words: Uint32Array): boolean {
  const flags = new Uint32Array(new ArrayBuffer(1024));
  const asked = ioctl(fd, FS_IOC.FS_IOC_GETFLAGS, addressOf(flags.buffer)) >= 0;
  if (asked && (flags[0]! & (FS_IOC.FS_NOCOMP_FL | FS_IOC.FS_NOCOW_FL)) !== 0) return false;
  const id = words[STATX_BUFFER.fields.stx_mnt_id / 4]!;
  try {
    const line = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .find((each) => each.startsWith(`${id} `));
    return /[ ,]compress/.test(line?.split(" - ")[1] ?? "");
  } catch {
    // Without /proc nobody knows.
    return false;
  }
}
