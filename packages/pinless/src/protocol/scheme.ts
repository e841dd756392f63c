/** Ports of the protocol: a scheme that hands I/O to the kernel, its registrations, and the event loop. */

import type { Direction } from "./direction.js";

/**
 * Way to hand direct I/O to the kernel: a ring of io_uring, a context of Linux AIO, or O_DIRECT calls on libuv's thread
 * pool (`"direct"`).
 */
export type SchemeName = "io_uring" | "aio" | "direct";

/** A read of a file into memory, or a write of a file from memory. */
export type Operation = "read" | "write";

/** Location of a request's memory, computed once for a buffer that is used again and again. */
export interface BufferLocation {
  readonly buffer: ArrayBufferView;
  readonly address: number;
  /** The address in halves of 32 bits, as rings take it. */
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
   * The kernel hasn't begun the request: it lacked a thread, or beginning would have kept the caller waiting.
   * `prepareAside` gets it done.
   */
  refused(slot: number): void;
  /** The registration in this buffer slot has ended, and its pages are unpinned. */
  released(bufferSlot: number): void;
}

/** A way to hand I/O to the kernel. No call blocks; `reap` calls the `CompletionSink`. */
export interface Scheme {
  readonly name: SchemeName;
  /** Requests that can be in the kernel at a time. */
  readonly depth: number;
  /** Requests that the scheme queues beyond these, and begins as others end. */
  readonly ahead?: number;
  /** Null where the scheme has no registered buffers. */
  readonly registrations: Registrations | null;
  /** The reason why the scheme can't wait for reads without a bound (of pipes and sockets), if it can't. */
  readonly refusesPipes?: string;
  /** The reason why the scheme can't wait for sockets in either direction, if it can't. */
  readonly refusesSockets?: string;
  /**
   * Makes a handle for `prepare` of an O_DIRECT descriptor, which stays the caller's. `prompt` false: submission would
   * wait for the filesystem.
   */
  attachFile(fd: number, prompt?: boolean): number;
  /** The same for a descriptor without O_DIRECT, where the scheme treats it differently. */
  attachCached?(fd: number): number;
  /** The same for a pipe, a terminal or a socket, where the scheme treats it differently. */
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
  prepare(
    slot: number,
    direction: Direction,
    file: number,
    location: BufferLocation,
    position: number,
    bufferSlot: number,
  ): void;
  /** Queues a request that was `refused`, in a way that the kernel doesn't refuse; never by a registration. */
  prepareAside?(slot: number, direction: Direction, file: number, location: BufferLocation, position: number): void;
  /** A sentence for each thing that hasn't worked as it should since the start. */
  remarks?(): readonly string[];
  /** Asks the kernel to end a request early; it completes in any case. */
  cancel(slot: number): void;
  /**
   * Hands all prepared requests to the kernel in one call, and lets it post completions. Negative: an errno that a
   * retry doesn't help against.
   */
  enter(): number;
  /** Delivers at most `limit` of the completions that have arrived before the call; returns their number. */
  reap(sink: CompletionSink, limit: number): number;
  /**
   * Arms the wakeup of the event loop for the next completion. False: there is one already, so reap again instead of
   * going to sleep.
   */
  arm(): boolean;
  /** True: a pending wakeup keeps the process alive. */
  keepAlive(yes: boolean): void;
  close(): void;
}

/** The sparse buffer table of a ring (IORING_REGISTER_BUFFERS2). */
export interface Registrations {
  readonly slots: number;
  /**
   * True once the process has become another user (setuid): nothing is registered any more. Asking costs two system
   * calls.
   */
  readonly outlived: boolean;
  /** Registers memory in an empty slot: 0 or a negative errno. `released` comes only after a `drop`. */
  take(slot: number, address: number, bytes: number): number;
  /** Empties a slot: `released` follows once the last request that uses it has ended. */
  drop(slot: number): number;
  /** Makes the pages present and dirty. */
  populate(address: number, bytes: number): number;
  /**
   * Cost of taking and dropping a lease of so many bytes in so many segments, while other leases pin so many pages of
   * 4 KiB: as the number of pages that could go per-io in the same time. A lease pays from then on.
   */
  costPages(bytes: number, segments: number, pinnedPages: number): number;
}

/** The event loop and its clocks. */
export interface Loop {
  /** Milliseconds of a monotonic clock, as an int32 that all threads of the process agree on. */
  nowMs(): number;
  /** The same clock with fractions. */
  preciseMs(): number;
  /** Runs a function right after the current call has ended. */
  microtask(run: () => void): void;
  /** Runs a function after timers and sockets had their turn. */
  soon(run: () => void): void;
  /** Runs a function every `ms` until the returned one is called. It doesn't keep the process alive. */
  every(ms: number, run: () => void): () => void;
  /** Hands an uncaught error to the host (`uncaughtException`). */
  uncaught(error: unknown): void;
}
