/** The world as the engine sees it: the ports of core, and what is outside of the protocol. `index.ts` hands over the real one. */

import type { DescribeErrno } from "./errors.js";
import type { FileTraits } from "./file-traits.js";
import type { EngineSettings } from "./options.js";
import type { Follower, Loop, Memory, PinMode, PressureSource, Scheme, SchemeName, Watchdog } from "./ports.js";
import type { ForeignCalls } from "./protocol/foreign-calls.js";

export interface Host {
  readonly memory: Memory;
  /** For a few MiB of the engine's own, which nobody else knows of. Absent: as all memory. */
  readonly ownMemory?: Memory;
  readonly loop: Loop;
  readonly describe: DescribeErrno;
  waitHistogram(): WaitHistogram;
  /** What this process may pin at most, in bytes. */
  memlockBytes(): number;
  /** A scheme, or one sentence that says why not and what to change. */
  startScheme(name: SchemeName, settings: EngineSettings, bufferSlots: number): StartedScheme | string;
  openFollower(calls: ForeignCalls, ended: MonitorEnded): Follower;
  /** The word that followers raise (announcements.ts). */
  readonly reading?: Int32Array;
  /** Who says whether memory is short. `missing`: what is left out, and why, a sentence each. Absent: memory is never short. */
  openPressure?(): { readonly source: PressureSource | null; readonly missing: readonly string[] };
  openFile(path: FilePath, flags?: string | number, mode?: number): Promise<OpenedFile>;
}

/** Path of a file, or `{ fd }` of what is open already. */
export type FilePath = string | Uint8Array | URL | { readonly fd: number };

/** A distribution of milliseconds. */
export interface WaitHistogram {
  record(ms: number): void;
  summary(): { count: number; p50Ms: number; p99Ms: number; maxMs: number };
}

/**
 * Called each time that the monitor has ended by itself. `whenAgain` calls back, now or later, with "" once it was started again and follows
 * all that it did before, or with why it doesn't.
 */
export type MonitorEnded = (whenAgain: (run: (why: string) => void) => void) => void;

/** A scheme that runs, and the pin mode that it can really give. */
export interface StartedScheme {
  readonly scheme: Scheme;
  readonly pin: PinMode;
  readonly degraded: string[];
  onWoken(run: () => void): void;
  openWatchdog(ended: MonitorEnded): Watchdog;
}

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
