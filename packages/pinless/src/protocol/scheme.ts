/** Ports of the protocol: a scheme that hands I/O to the kernel, its registrations, and the event loop. */

import type { Direction } from "./direction.js";

/**
 * Way to submit direct I/O to the kernel: a ring of io_uring, a context of Linux AIO, or O_DIRECT calls on libuv's
 * thread pool (`"direct"`).
 */
export type SchemeName = "io_uring" | "aio" | "direct";

/** A read of a file into memory, or a write of a file from memory. */
export type Operation = "read" | "write";

/** Location of a request's memory, computed once for each buffer. */
export interface BufferLocation {
  readonly buffer: ArrayBufferView;
  readonly address: number;
  /** The address in halves of 32 bits, as in a submission entry. */
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly bytes: number;
  /** Number of the segment's chunk table at the gate, and the table's words. */
  readonly table: number;
  readonly words: Int32Array;
  /** The first word of the first and of the last chunk that it touches. */
  readonly firstAt: number;
  readonly lastAt: number;
}

/** Receiver of a scheme's completions. */
export interface CompletionSink {
  /** `result` is a byte count or a negative errno. */
  completed(slot: number, result: number): void;
  /**
   * Reports that the kernel hasn't begun the request, because it couldn't start a thread, or the call would have
   * blocked. `prepareFallback` is then used for it.
   */
  refused(slot: number): void;
  /** Reports that the registration in this buffer slot has ended, and its pages are unpinned. */
  released(bufferSlot: number): void;
}

/** A way to submit I/O to the kernel. No call blocks; `reap` calls the `CompletionSink`. */
export interface Scheme {
  readonly name: SchemeName;
  /** Maximum number of requests in the kernel at a time. */
  readonly depth: number;
  /** Number of requests that the scheme queues beyond these, and begins as others end. */
  readonly ahead?: number;
  /** Registered buffers; null if the scheme has none. */
  readonly registrations: Registrations | null;
  /** The reason why the scheme can't do reads that may wait for ever (of pipes and sockets), if it can't. */
  readonly refusesPipes?: string;
  /** The reason why the scheme can't do I/O on sockets, if it can't. */
  readonly refusesSockets?: string;
  /** The reason why the scheme can't give the kernel a request's priority, if it can't. */
  readonly refusesPriority?: string;
  /**
   * Returns a handle for `prepare` for an O_DIRECT descriptor, which the caller closes. `prompt` is false if submission
   * would block on the filesystem.
   */
  attachFile(fd: number, prompt?: boolean): number;
  /** The same for a descriptor without O_DIRECT, if the scheme treats it differently. */
  attachCached?(fd: number): number;
  /** The same for a pipe, a terminal or a socket, if the scheme treats it differently. */
  attachStream?(fd: number): number;
  detachFile(file: number): void;
  /**
   * Queues one request.
   *
   * @param slot - Number that comes back in `completed`
   * @param direction - READ or WRITE of the file
   * @param file - Handle from `attachFile`
   * @param location - Location of the memory
   * @param position - Offset in the file in bytes; -1 for the descriptor's own position
   * @param bufferSlot - Slot of the registration to use; below 0 for none
   * @param how - Options of the request (how.ts)
   */
  prepare(
    slot: number,
    direction: Direction,
    file: number,
    location: BufferLocation,
    position: number,
    bufferSlot: number,
    how: number,
  ): void;
  /** Queues a request that was `refused` in a way that can't be refused, without a registration. */
  prepareFallback?(
    slot: number,
    direction: Direction,
    file: number,
    location: BufferLocation,
    position: number,
    how: number,
  ): void;
  /** Sentences about shortages and failures since the start, for `stats().degraded`. */
  remarks?(): readonly string[];
  /** Asks the kernel to end a request early; it completes in any case. */
  cancel(slot: number): void;
  /**
   * Hands all prepared requests to the kernel in one call, and lets it post completions. A negative result is an errno
   * for which a retry is no use.
   */
  enter(): number;
  /**
   * Number of requests that `enterAndWait` can wait for, of so many in the kernel: those that end by themselves; 0
   * where the machine can't. Absent if the scheme can't.
   */
  awaitable?(requests: number): number;
  /**
   * As `enter`, and waits for some of `requests` in the kernel to complete, or until the event loop has something to
   * serve, 4 ms at the most. The thread does nothing else meanwhile.
   */
  enterAndWait?(requests: number): number;
  /** True if the event loop had something to serve during the last `enterAndWait`; known once that is reaped. */
  readonly isLoopReady?: boolean;
  /** Delivers at most `limit` of the completions that have arrived before the call; returns their number. */
  reap(sink: CompletionSink, limit: number): number;
  /**
   * Arms the wakeup of the event loop for the next completion. Returns false if there is one already: then the caller
   * has to reap again instead of going to sleep.
   */
  arm(): boolean;
  /** Sets if a pending wakeup keeps the process alive. */
  keepAlive(yes: boolean): void;
  close(): void;
}

/** The sparse buffer table of a ring (IORING_REGISTER_BUFFERS2). */
export interface Registrations {
  readonly slots: number;
  /**
   * True if registering a huge page takes the longer the more segments are registered: until Linux 7.1 the kernel
   * compares it with all of them, to account it once.
   */
  readonly comparesSegments: boolean;
  /**
   * True once the process has changed its user (setuid): then nothing more may be registered. Reading it costs two
   * system calls.
   */
  readonly userChanged: boolean;
  /** Registers memory in an empty slot: 0 or a negative errno. `released` comes only after a `drop`. */
  take(slot: number, address: number, bytes: number): number;
  /** Empties a slot: `released` follows once the last request that uses it has ended. */
  drop(slot: number): number;
  /** Makes the pages present and dirty. */
  populate(address: number, bytes: number): number;
  /**
   * Cost of taking and dropping a lease of `bytes` in `segments` while other leases pin `pinnedPages` of 4 KiB. It's
   * expressed as a number of pages that could be transferred per-io in the same time: a lease pays from there on.
   */
  costPages(bytes: number, segments: number, pinnedPages: number): number;
}

/** The event loop and its clocks. */
export interface Loop {
  /** Milliseconds of a monotonic clock as an int32, the same in all threads of the process. */
  nowMs(): number;
  /** The same clock with fractions. */
  preciseMs(): number;
  /** Runs a function right after the current call has ended. */
  microtask(run: () => void): void;
  /** Runs a function after timers and sockets have had their turn. */
  soon(run: () => void): void;
  /** Runs a function every `ms` until the returned one is called. It doesn't keep the process alive. */
  every(ms: number, run: () => void): () => void;
  /** Runs a function once, after `ms`. It keeps the process alive until then. */
  after(ms: number, run: () => void): void;
  /** Reports an uncaught error to the host (`uncaughtException`). */
  uncaught(error: unknown): void;
}
