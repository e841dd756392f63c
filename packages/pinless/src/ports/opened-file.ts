/** Port of an open file: its descriptors, its calls, and facts about it. */

import type { Direction } from "../protocol/direction.js";

/** Flags of open(2), the same on all architectures that Node supports. */
export const O_RDWR = 2;
export const O_CREAT = 0o100;

/** Path of a file, or an object with an open descriptor. */
export type FilePath = string | Uint8Array | URL | { readonly fd: number };

/** The part of Node's FileHandle that a File uses: all calls that aren't transfers. */
export interface NodeHandle {
  readonly fd: number;
  stat(options?: object): Promise<unknown>;
  truncate(length?: number): Promise<void>;
  sync(): Promise<void>;
  datasync(): Promise<void>;
  chmod(mode: string | number): Promise<void>;
  chown(uid: number, gid: number): Promise<void>;
  utimes(atime: string | number | Date, mtime: string | number | Date): Promise<void>;
  close(): Promise<void>;
}

/** Single system calls on a descriptor. */
export interface DescriptorCalls {
  /**
   * Makes one readv(2) or writev(2) call; with a position, preadv(2) or pwritev(2). Resolves to a byte count, which may
   * be short, or a negative errno. Without a position the call uses the open description's own and moves it atomically.
   * A bigint is for a read into one view at an offset that a number can't hold exactly. `flags` are RWF_… of how.ts.
   */
  transfer(
    direction: Direction,
    views: readonly Uint8Array[],
    position: number | bigint | null,
    flags: number,
  ): Promise<number>;
  /** The open description's position. */
  tell(): number;
  seek(position: number): void;
  /** The file's size, 0 for a device. */
  size(): number;
  /**
   * True if the page cache has all bytes of a part of the file. False if the kernel can't tell: before Linux 6.5, and
   * for other users' files. `size` is the file's, if it's known.
   */
  isCached(position: number, bytes: number, size?: number): boolean;
  /**
   * Reads what the page cache has, on this thread and without waiting, into memory that isn't an arena's, 32 KiB at the
   * most. Returns a byte count, which may be short, or a negative errno: EAGAIN unless the page cache has all bytes.
   */
  readCached(memory: Uint8Array, position: number): number;
  /**
   * Allocates memory for all of a file, in huge pages if it's large: the page faults of small pages take as long as the
   * copy itself.
   */
  memoryFor(bytes: number): ArrayBuffer;
}

/** Limits of atomic writes of a file, as statx(2) reports them. */
export interface AtomicLimits {
  /** Shortest atomic write, in bytes. */
  readonly unitMinBytes: number;
  /** Longest atomic write, in bytes. */
  readonly unitMaxBytes: number;
  /** Most pieces of memory of one atomic write. Here a write has one. */
  readonly segmentsMax: number;
}

/** A file as the operating system opened it. */
export interface OpenedFile {
  /** Handle of the descriptor that goes through the page cache. */
  readonly handle: NodeHandle;
  /** Calls on the same descriptor. */
  readonly calls: DescriptorCalls;
  readonly traits: FileTraits;
  /** A key that all openings of the same file share. */
  readonly identity: string;
  /** True if the file can be opened with O_DIRECT. */
  readonly direct: boolean;
  /** Alignment that O_DIRECT asks for, in bytes: of addresses, then of offsets and lengths. */
  readonly memoryAlign: number;
  readonly offsetAlign: number;
  /** Alignment of offsets and lengths of reads, which may be finer. */
  readonly readAlign: number;
  /** Limits of atomic writes; null if the file has none. */
  readonly atomic: AtomicLimits | null;
  /** Key of the mount that the file is on. */
  readonly mount: string;
  readonly socket: boolean;
  /** True if the file was opened for appending: all writes go to its end, whatever their position. */
  readonly append: boolean;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Opens the file a second time, with O_DIRECT, unless that was done before. Returns a descriptor or -errno. */
  openDirect(): number;
  closeDirect(): Promise<void>;
  /**
   * Called when a File was garbage-collected without close(); `closed` resolves once its descriptors are closed. It's
   * undefined where that isn't reported.
   */
  dropped?(closed: Promise<void>, closer: Closer): void;
}

/**
 * Closes a File at the latest: the program's engine when it closes; or only the program, if the File is one of the
 * default engine, which stays open as long as its files.
 */
export type Closer = "engine" | "program";

/** Traits of an open file. They don't follow from its type: linux/file-traits-of.ts finds them by system calls. */
export interface FileTraits {
  /** True if pread(2) works. It doesn't on a pipe. */
  readonly preads: boolean;
  /** True if pwrite(2) works. Many files of /proc are written at their own position only. */
  readonly pwrites: boolean;
  /** True if the open description, and so its position, may be shared: with a shell, a child, another descriptor. */
  readonly shared: boolean;
  /** True if a read is short only at the file's end, as from a disk. Devices and files of /proc may return less. */
  readonly ends: boolean;
  /** True if a transfer may wait for ever for the other end: on a pipe, a terminal or a socket. */
  readonly waits: boolean;
  /**
   * True if the kernel takes direct I/O without blocking the caller. On FUSE it blocks, until the filesystem answers.
   */
  readonly prompt: boolean;
}
