/** A file as the operating system opened it, as the engine needs it. */

import type { Direction } from "../protocol/direction.js";

/** Flags of open(2), the same on all architectures that Node supports. */
export const O_RDWR = 2;
export const O_CREAT = 0o100;

/** Path of a file, or `{ fd }` of what is open already. */
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
   * One readv(2) or writev(2), or, with a position, preadv(2) or pwritev(2). Resolves to a byte count, which may be
   * short, or a negative errno. Without a position the call is at the open description's, and moves it in the same
   * step. A bigint is for a read into one view at an offset that a number can't hold exactly.
   */
  transfer(direction: Direction, views: readonly Uint8Array[], position: number | bigint | null): Promise<number>;
  /** The open description's position. */
  tell(): number;
  seek(position: number): void;
  /** The file's size, 0 for a device. */
  size(): number;
  /**
   * True if the page cache has all of a part of the file. False where the kernel doesn't say: before Linux 6.5, and of
   * other users' files.
   */
  isCached(position: number, bytes: number): boolean;
  /**
   * Makes memory for all of a file, in huge pages if it's large: the first touches of small ones take as long as the
   * copy itself.
   */
  memoryFor(bytes: number): ArrayBuffer;
}

/** A file as the operating system opened it. */
export interface OpenedFile {
  /** Through the page cache. */
  readonly handle: NodeHandle;
  /** On the same descriptor. */
  readonly calls: DescriptorCalls;
  readonly traits: FileTraits;
  /** A key that all openings of the same file share. */
  readonly identity: string;
  /** True if the file can be opened with O_DIRECT. */
  readonly direct: boolean;
  /** Alignment that O_DIRECT asks for, in bytes: of addresses, then of offsets and lengths. */
  readonly memoryAlign: number;
  readonly offsetAlign: number;
  readonly socket: boolean;
  /** Opened for appending: writes go to the end, whatever their position. */
  readonly append: boolean;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Opens the file a second time, with O_DIRECT, unless it is open so: a descriptor, or a negative errno. */
  openDirect(): number;
  closeDirect(): Promise<void>;
  /**
   * Called when a File was garbage-collected without close(); `closed` resolves once its descriptors are closed.
   * Absent: nobody wants to know.
   */
  dropped?(closed: Promise<void>): void;
}

/** The traits of an open file, found by asking the kernel (linux/file-traits-of.ts); its type doesn't tell them. */
export interface FileTraits {
  /** pread(2) works. It doesn't on a pipe. */
  readonly preads: boolean;
  /** pwrite(2) works. Many files of /proc are written at their own position only. */
  readonly pwrites: boolean;
  /** The open description, and so its position, may be shared: with a shell, a child, another descriptor. */
  readonly shared: boolean;
  /** A read is short only at the end, as from a disk. Devices and files of /proc give as much as they like. */
  readonly ends: boolean;
  /** A transfer may wait without a bound for the other end. */
  readonly waits: boolean;
  /**
   * The kernel takes direct I/O without keeping its caller waiting. It does keep it waiting on FUSE, for the
   * filesystem's answer.
   */
  readonly prompt: boolean;
}
