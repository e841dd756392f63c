/** The traits of an open file, found by asking the kernel (linux/file-traits.ts): types don't tell them. */

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
