/**
 * Open files of the simulated program: by path, flags and descriptor, with the calls of a FileHandle that aren't
 * transfers.
 */

import {
  type DescribeErrno,
  type DescriptorCalls,
  EAGAIN,
  EBADF,
  ENOENT,
  type NodeHandle,
  O_CREAT,
  O_RDWR,
  type OpenedFile,
  PAGE_BYTES,
  systemError,
  WRITE,
} from "pinless/portable";
import type { Descriptor, ModelFile, ModelFiles } from "../model/files.js";
import type { Flusher } from "../model/flusher.js";
import type { Machine } from "../model/machine.js";
import { WAIT } from "../model/page-tables.js";
import { ATOMIC_LIMITS, type RequestFlags } from "../model/request-flags.js";

const SELF_MEMORY = "/proc/self/mem";
/** Interval in which a call that waits for I/O is retried. */
const AGAIN_MS = 0.1;

const NAMES: Record<number, readonly [string, string]> = {
  2: ["ENOENT", "no such file or directory"],
  4: ["EINTR", "interrupted system call"],
  5: ["EIO", "i/o error"],
  9: ["EBADF", "bad file descriptor"],
  11: ["EAGAIN", "resource temporarily unavailable"],
  12: ["ENOMEM", "not enough memory"],
  13: ["EACCES", "permission denied"],
  14: ["EFAULT", "bad address in system call argument"],
  22: ["EINVAL", "invalid argument"],
  27: ["EFBIG", "file too large"],
  28: ["ENOSPC", "no space left on device"],
  95: ["ENOTSUP", "operation not supported on socket"],
  125: ["ECANCELED", "operation canceled"],
};

export const describe: DescribeErrno = (errno) => NAMES[-errno] ?? [`errno ${-errno}`, "unknown error"];

/** Meaning of an open's flags. */
interface Access {
  readonly readable: boolean;
  readonly writable: boolean;
  readonly append: boolean;
  readonly creates: boolean;
  readonly empties: boolean;
}

const READ_WRITE: Access = { readable: true, writable: true, append: false, creates: false, empties: false };
const ACCESS: Record<string | number, Access> = {
  r: { ...READ_WRITE, writable: false },
  "r+": READ_WRITE,
  w: { ...READ_WRITE, readable: false, creates: true, empties: true },
  a: { ...READ_WRITE, readable: false, creates: true, append: true },
  [O_RDWR | O_CREAT]: { ...READ_WRITE, creates: true },
};

export class OpenFiles {
  readonly #machine: Machine;
  readonly #files: ModelFiles;
  readonly #flusher: Flusher;
  readonly #flags: RequestFlags;
  readonly #open = new Map<number, Descriptor>();
  #nextFd = 3;

  constructor(machine: Machine, files: ModelFiles, flusher: Flusher, flags: RequestFlags) {
    this.#machine = machine;
    this.#files = files;
    this.#flusher = flusher;
    this.#flags = flags;
  }

  readonly descriptorOf = (fd: number): Descriptor | undefined => this.#open.get(fd);

  async open(path: string, flags: string | number): Promise<OpenedFile> {
    const access = ACCESS[flags];
    if (access === undefined) throw new Error(`the model's files aren't opened with "${flags}"`);
    const { readable, writable, append } = access;
    const file = path === SELF_MEMORY ? null : this.#find(path, access);
    const opened = this.#opened(path, { file, readable, writable, append });
    if (access.empties) await opened.handle.truncate(0);
    return opened;
  }

  /** Duplicates a descriptor, as dup(2), with a direct descriptor of its own. */
  duplicate(fd: number): OpenedFile {
    const descriptor = this.#open.get(fd);
    if (descriptor === undefined) throw systemError(describe, -EBADF, "dup");
    return this.#opened(SELF_MEMORY, descriptor);
  }

  #opened(path: string, descriptor: Descriptor): OpenedFile {
    const { file, readable, writable, append } = descriptor;
    const fd = this.#nextFd++;
    const directFd = file === null ? -1 : this.#nextFd++;
    this.#open.set(fd, descriptor);
    if (directFd >= 0) this.#open.set(directFd, descriptor);
    return {
      handle: file === null ? this.#handle(fd) : this.#handleOf(fd, file, writable),
      calls: this.#calls(descriptor),
      traits: { preads: true, pwrites: true, shared: false, ends: true, waits: false, prompt: true },
      identity: file === null ? path : String(file.number),
      direct: directFd >= 0,
      openDirect: () => directFd,
      memoryAlign: PAGE_BYTES,
      offsetAlign: PAGE_BYTES,
      readAlign: PAGE_BYTES,
      atomic: ATOMIC_LIMITS,
      mount: "the model's",
      socket: false,
      append,
      readable,
      writable,
      closeDirect: async () => void this.#open.delete(directFd),
    };
  }

  #find(path: string, { creates }: Access): ModelFile {
    const file = this.#files.get(path) ?? (creates ? this.#files.create(path) : undefined);
    if (file === undefined) throw systemError(describe, -ENOENT, "open", path);
    return file;
  }

  #calls({ file, append }: Descriptor): DescriptorCalls {
    let own = 0;
    const size = (): number => file?.bytes ?? 0;
    return {
      transfer: async (direction, views, position, flags) => {
        const refused = this.#flags.take(flags, 0, 0);
        if (refused < 0) return refused;
        const at = direction === WRITE && append ? size() : Number(position ?? own);
        const done = await this.#transfer(file, direction === WRITE, views, at);
        if (position === null && done > 0) own = at + done;
        return done;
      },
      tell: () => own,
      seek: (position) => {
        own = position;
      },
      size,
      isCached: () => false,
      readCached: (memory, position) => this.#readCached(file, memory, position),
      memoryFor: (bytes) => new ArrayBuffer(bytes),
    };
  }

  #readCached(file: ModelFile | null, memory: Uint8Array, position: number): number {
    if (file === null) return -EBADF;
    const last = file.inodePageAt(position + memory.byteLength - 1);
    for (let page = file.inodePageAt(position); page <= last; page++)
      if (this.#machine.cache.cachedIn(page) < 0) return -EAGAIN;
    const bytes = file.read(position, memory.byteLength);
    memory.set(bytes);
    return bytes.byteLength;
  }

  async #transfer(
    file: ModelFile | null,
    write: boolean,
    views: readonly Uint8Array[],
    position: number,
  ): Promise<number> {
    if (file === null) return -EBADF;
    let done = 0;
    for (const view of views) {
      if (write) {
        const errno = await this.#retried(() => file.write(position + done, view));
        if (errno < 0) return done > 0 ? done : errno;
        done += view.byteLength;
        continue;
      }
      const bytes = file.read(position + done, view.byteLength);
      view.set(bytes);
      done += bytes.byteLength;
      if (bytes.byteLength < view.byteLength) break;
    }
    return done;
  }

  #handle(fd: number): NodeHandle {
    return {
      fd,
      stat: async () => ({ size: 0, mode: 0o600, isFile: () => true }),
      truncate: async () => {},
      sync: async () => {},
      datasync: async () => {},
      chmod: async () => {},
      chown: async () => {},
      utimes: async () => {},
      close: async () => void this.#open.delete(fd),
    };
  }

  #handleOf(fd: number, file: ModelFile, writable: boolean): NodeHandle {
    const sync = async (): Promise<void> => {
      const errno = await new Promise<number>((done) => this.#flusher.sync(file.firstInodePage, file.pages, done));
      if (errno < 0) throw systemError(describe, errno, "fsync");
    };
    return {
      ...this.#handle(fd),
      stat: async () => ({ size: file.bytes, mode: file.mode, isFile: () => true }),
      truncate: async (length = 0) => {
        const errno = writable ? await this.#retried(() => file.truncate(length)) : -EBADF;
        if (errno < 0) throw systemError(describe, errno, "ftruncate");
      },
      sync,
      datasync: sync,
      chmod: async (mode) => {
        file.mode = Number(mode);
      },
    };
  }

  /** Retries a call that has to wait for I/O on the truncated part, or for a page under writeback. */
  async #retried(attempt: () => number): Promise<number> {
    for (;;) {
      const errno = attempt();
      if (errno !== WAIT) return errno;
      await new Promise<void>((resolve) => this.#machine.clock.after(AGAIN_MS, () => resolve()));
    }
  }
}
