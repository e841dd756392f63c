/** What the protocol needs of the world: a scheme that hands I/O to the kernel, its registrations, and the loop that it runs on. */

/**
 * Way to hand direct I/O to the kernel: a ring of io_uring, a context of Linux AIO, or O_DIRECT calls on libuv's thread
 * pool (`"direct"`).
 */
export type SchemeName = "io_uring" | "aio" | "direct";

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
