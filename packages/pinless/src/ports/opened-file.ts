/** A file as the operating system opened it, as the engine needs it. */

/** Flags of open(2), which the architectures that Node knows agree on. */
export const O_RDWR = 2;

export const O_CREAT = 0o100;

/** Path of a file, or `{ fd }` of what is open already. */
export type FilePath = string | Uint8Array | URL | { readonly fd: number };

/** What is used of Node's FileHandle: everything that isn't a transfer is its business. */
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

/** Single calls of the kernel's on a descriptor. */
export interface DescriptorCalls {
  /**
   * One readv(2) or writev(2), or, with a position, preadv(2) or pwritev(2). Resolves to a byte count, which may be short, or a negative
   * errno. Without a position it's at the open description's, and moves that, which nobody who shares it can come between. A bigint: a read
   * into one view, farther than a number can say exactly.
   */
  transfer(write: boolean, views: readonly Uint8Array[], position: number | bigint | null): Promise<number>;
  /** The open description's position. */
  tell(): number;
  seek(position: number): void;
  /** The file's size, 0 for a device. */
  size(): number;
}

/** A file as the operating system opened it. */
export interface OpenedFile {
  /** Through the page cache. */
  readonly handle: NodeHandle;
  /** On the same descriptor. */
  readonly calls: DescriptorCalls;
  readonly traits: FileTraits;
  /** The same for every opening of the same file. */
  readonly identity: string;
  /** Whether there's a way around the page cache. */
  readonly direct: boolean;
  /** What O_DIRECT asks of addresses, and of offsets and lengths, in bytes. */
  readonly memoryAlign: number;
  readonly offsetAlign: number;
  readonly socket: boolean;
  /** Opened for appending: writes go to the end, whatever their position. */
  readonly append: boolean;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Opens the file a second time, around the page cache, if it isn't: a descriptor, or a negative errno. */
  openDirect(): number;
  closeDirect(): Promise<void>;
  /** Nobody has the file any more, and nobody has closed it: `closed` says when that's made good. Absent: that isn't looked for. */
  dropped?(closed: Promise<void>): void;
}

/** The traits of an open file, found by asking the kernel (linux/file-traits-of.ts): types don't tell them. */
export interface FileTraits {
  /** pread(2) works. Not on a pipe. */
  readonly preads: boolean;
  /** pwrite(2) works. Many files of /proc are written at their own position only. */
  readonly pwrites: boolean;
  /** The open description, and so the position, may be somebody else's too: a shell's, a child's, another descriptor's. */
  readonly shared: boolean;
  /** A read comes back short at the end only, as from a disk. A device, or what the kernel makes up (/proc), gives what it likes. */
  readonly ends: boolean;
  /** A transfer may wait for ever, for whoever is at the other end. */
  readonly waits: boolean;
  /** The kernel takes direct I/O without keeping its caller waiting. Not on FUSE: it waits there for the filesystem's answer. */
  readonly prompt: boolean;
}
