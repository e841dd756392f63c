/**
 * The seam: what the engine needs of the world, handed over as parameters. The real kernel stands behind it (`index.ts` wires it), and
 * a simulated one can. Numbers are errno style: 0 or a count, or negative.
 */

import type { ChunkTable } from "./protocol/chunk-table.js";
import type { MmuEvent } from "./protocol/events.js";
import type { Range } from "./protocol/ranges/ranges.js";

/** The errno values that are spoken of above the schemes; the same on every Linux. */
export const EPERM = 1;
export const EINTR = 4;
export const EBADF = 9;
export const ENOMEM = 12;
export const ENFILE = 23;
export const EACCES = 13;
export const EMFILE = 24;
export const EFAULT = 14;
export const ESPIPE = 29;
export const EINVAL = 22;
export const EOPNOTSUPP = 95;
export const ECANCELED = 125;

/** Flags of open(2), which the architectures that Node knows agree on. */
export const O_RDWR = 2;
export const O_CREAT = 0o100;

/**
 * Way to hand direct I/O to the kernel: a ring of io_uring, a context of Linux AIO, or O_DIRECT calls on libuv's thread
 * pool (`"direct"`).
 */
export type SchemeName = "io_uring" | "aio" | "direct";
/**
 * How long pages stay pinned: while I/O needs them (`"lease"`), from the first use to the end (`"lifetime"`), or for
 * each request (`"per-io"`).
 */
export type PinMode = "lease" | "lifetime" | "per-io";
/** A read of a file into memory, or a write of a file from memory. */
export type Operation = "read" | "write";

/** Where a request's memory is: worked out once for a buffer that is used again and again. */
export interface RequestPlace {
  readonly buffer: ArrayBufferView;
  readonly address: number;
  /** The address in halves of 32 bits, as rings take it. */
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly bytes: number;
  /** The gate's number of the segment, and the state of its chunks. */
  readonly table: number;
  readonly words: Int32Array;
  /** The first word of the first and of the last chunk that it touches. */
  readonly firstAt: number;
  readonly lastAt: number;
}

/** Whom a scheme tells what has ended. */
export interface CompletionSink {
  /** `result` is a byte count or a negative errno. */
  completed(slot: number, result: number): void;
  /** The kernel hasn't begun it, for want of a thread, or since that would have kept its caller waiting: `prepareAside` has it done. */
  refused(slot: number): void;
  /** The registration in this buffer slot is unused now and its pages are released. */
  released(bufferSlot: number): void;
}

/** A way to hand I/O to the kernel. Nothing here blocks; `reap` is where `CompletionSink` is called. */
export interface Scheme {
  readonly name: SchemeName;
  /** Requests that can be in the kernel at a time. */
  readonly depth: number;
  /** Requests that it takes beyond these, to begin each as soon as it can. */
  readonly ahead?: number;
  /** Null where the scheme has no registered buffers. */
  readonly registrations: Registrations | null;
  /** Set where a read that may never end (of a pipe or socket) can't be waited for: why not. */
  readonly refusesPipes?: string;
  /** Set where sockets can't be waited for, in either direction: why not. */
  readonly refusesSockets?: string;
  /**
   * A handle for `prepare`, of a descriptor that goes around the page cache; the descriptors stay the caller's. `prompt` false: the kernel
   * would keep whoever hands such a request over waiting for the filesystem.
   */
  attachFile(fd: number, prompt?: boolean): number;
  /** The same for one that goes through the page cache, where the scheme needs a way of its own. */
  attachCached?(fd: number): number;
  /** The same for what has no position and makes its callers wait (a pipe, a terminal, a socket), where the scheme needs a way of its own. */
  attachStream?(fd: number): number;
  detachFile(file: number): void;
  /**
   * Queues one request.
   *
   * @param slot - Number that comes back in `completed`
   * @param write - True: the file is written, from memory; false: it's read
   * @param file - Handle that `attachFile` gave
   * @param place - Where the memory is
   * @param position - Offset in the file in bytes; -1: the descriptor's own position
   * @param bufferSlot - Slot of the registration to use; below 0: none
   */
  prepare(slot: number, write: boolean, file: number, place: RequestPlace, position: number, bufferSlot: number): void;
  /** The same for a request that was `refused`: in a way that isn't, never by a registration. */
  prepareAside?(slot: number, write: boolean, file: number, place: RequestPlace, position: number): void;
  /** What hasn't run as it should since the scheme was started, a sentence each. */
  remarks?(): readonly string[];
  /** Asks the kernel to end a request early; it completes in any case. */
  cancel(slot: number): void;
  /** Hands what was prepared to the kernel in one call, and lets it post what has ended. Negative: an errno that can't be met with a retry. */
  enter(): number;
  /** Delivers at most `limit` of the completions that are there when it's called, none that come meanwhile; returns how many. */
  reap(sink: CompletionSink, limit: number): number;
  /** Arranges for the loop's `wake` once something has ended. False: something has already, so reap again instead of going to sleep. */
  arm(): boolean;
  /** Whether a pending wake keeps the process alive. */
  keepAlive(yes: boolean): void;
  close(): void;
}

/** The ring's sparse buffer table. */
export interface Registrations {
  readonly slots: number;
  /** The process has become another user since (setuid): nothing is to be registered any more. Asking costs two system calls. */
  readonly outlived: boolean;
  /** Registers memory in a slot that is empty; its `released` comes after a `drop`. */
  take(slot: number, address: number, bytes: number): number;
  /** Empties a slot: `released` follows when the last request on it has ended. */
  drop(slot: number): number;
  /** Makes the pages present and dirty. */
  populate(address: number, bytes: number): number;
  /**
   * What taking and dropping a lease of so many bytes in so many segments costs while others pin so many pages of 4 KiB, in pages that could
   * go per-io for that. Below it a lease doesn't pay.
   */
  costPages(bytes: number, segments: number, pinnedPages: number): number;
}

export interface Mapping {
  readonly buffer: ArrayBufferLike;
  readonly address: number;
}

export type MemoryOperation =
  | "prepare"
  | "discard"
  | "discardLazily"
  | "collapse"
  | "pageOut"
  | "migrate"
  | "makeReadOnly"
  | "makeWritable"
  /** Makes a file so long that `bytes` fit in from `file.position` on, if it's shorter. */
  | "extendFile"
  /** In place of what is mapped there: a part of a file, shared with everyone else who maps it. */
  | "mapFile"
  /** In place of what is mapped there: zeros. */
  | "mapZeros"
  /** What is dirty goes to the file, and to its device. */
  | "writeback";

export interface MemoryRequest {
  readonly operation: MemoryOperation;
  readonly address: number;
  readonly bytes: number;
  /** `prepare` and `mapFile`: leave the memory to children, as memory is by default. */
  readonly inherit?: boolean;
  /** `prepare` only: ask for huge pages. */
  readonly hugePages?: boolean;
  /** `migrate` only: where to. */
  readonly node?: number;
  /** `extendFile` and `mapFile`: which file, and from where in it on. */
  readonly file?: { readonly fd: number; readonly position: number };
  /** Of a file's memory: the device that the file is on. What waits for that doesn't stand in front of anything else. */
  readonly device?: string;
}

export interface MemoryResult {
  /** Pages of 4 KiB that were asked for, done, and refused. */
  readonly pages: number;
  readonly done: number;
  readonly busy: number;
  /** 0, or why the rest was refused. */
  readonly errno: number;
  /** Pieces that are huge pages now, as far as was found out. Null: as before. */
  readonly huge: readonly Range[] | null;
  /** Why the rest was refused, in words. */
  readonly reason?: string;
}

/** What copies between memory that can be pulled away and staging memory, and fails where a store would end the process. */
export interface Copier {
  /**
   * Resolves to 0 or a negative errno. `toMemory`: from the staging memory at that address; else to it. `patient`: it waits for memory as
   * long as it takes; if not, it resolves to "shut" instead.
   */
  copy(toMemory: boolean, place: RequestPlace, staging: number, patient: boolean): Promise<number | "shut">;
}

/** Memory and the operations on it. `run` works on threads of its own; what it's asked for meanwhile isn't held up by what waits for a device. */
export interface Memory {
  /** Zeroed memory of at least `bytes`, starting on a multiple of 64 KiB. */
  map(bytes: number): Mapping;
  run(request: MemoryRequest): Promise<MemoryResult>;
  /** Whether anonymous memory can be swapped out here. */
  hasSwap(): boolean;
  /** One sentence: why pages can't be made huge pages here, or moved to another node, and what to change. Null: they can. */
  explainNoCollapse(): string | null;
  explainNoMigration(): string | null;
  /** The nodes that have memory which this process may use. */
  nodes(): readonly number[];
  /** One sentence: why so many bytes can't be had without somebody being killed for them, and whose limit that is. Null: they can. */
  explainNoRoom(bytes: number): string | null;
}

/** Time and turns. */
export interface Loop {
  /** Milliseconds of a clock that only goes forward, as an int32 that every thread of the process agrees on. */
  nowMs(): number;
  /** The same clock in fractions. */
  preciseMs(): number;
  /** Runs once the current call has ended, before anything else. */
  microtask(run: () => void): void;
  /** Runs after timers and sockets had their turn. */
  soon(run: () => void): void;
  /** Runs every `ms` until the returned function is called; doesn't keep the process alive. */
  every(ms: number, run: () => void): () => void;
  /** Hands an error that nobody catches to the host. */
  uncaught(error: unknown): void;
}

/** Who gives leases back while the engine's own thread is busy. */
export interface Watchdog {
  /** What the monitor knows this ring by. */
  readonly id: number;
  /** Looks after a lease table from now on; its slots are those of this ring. */
  watch(leases: Int32Array): void;
  /** The table has a live lease: watch the clocks. */
  wake(): void;
  /** Call it when no lease is left. */
  close(): void;
}

/** Who tells what other code of this process does to memory, by calls that aren't ours (see foreign-calls.ts). */
export interface Follower {
  /** Begins what takes its time: something is to be followed soon. */
  prepare?(): void;
  /**
   * Follows a segment from now on; its leases are those that `watchdog` watches. Resolves with "", or with one sentence: why (some of)
   * what happens to it won't be seen.
   */
  follow(table: ChunkTable, watchdog: Watchdog | null): Promise<string>;
  /** Call it before the memory is given back. */
  unfollow(table: ChunkTable): Promise<void>;
  close(): void;
}

/** What the kernel counts of want of memory. Counters only grow; NaN where one can't be read. */
export interface PressureReading {
  /** Microseconds in which some task stood still for want of memory: of the host, of the own cgroup. */
  readonly stallsUs: readonly number[];
  /** How often the process's memory cgroup, or one above it, met a limit of its own. */
  readonly limitHits: number;
  /** Processes of it that were killed for want of memory. */
  readonly oomKills: number;
  /** How often the host failed to move pages, or to put huge ones together. */
  readonly failures: number;
}

/** Where the engine learns that memory is short. Reading blocks for microseconds. */
export interface PressureSource {
  /** The files that are read, as `stats()` says it. */
  readonly name: string;
  read(): PressureReading;
  /** Pages that the host's compaction looked at since it was booted, to move them; NaN where that can't be read now. Absent: nobody can tell. */
  scannedPages?(): number;
  /** Of the memory of the cgroup that met its limit last, the part that is page cache, 0 to 1. */
  cacheShare(): number;
}

/** Report of a memory operation of an arena. */
export interface OperationReport {
  /** Kind of the invalidation. */
  readonly event: MmuEvent;
  /** Pages of 4 KiB asked for. */
  readonly pages: number;
  /** Pages done. */
  readonly done: number;
  /** Pages refused. */
  readonly busy: number;
  /** Milliseconds that it waited for I/O and leases. */
  readonly waited: number;
  /** Where pages were refused: why, and what to change. Of several reasons the first. */
  readonly reason?: string;
  /** Why there was nothing to do. */
  readonly skipped?: string;
}
