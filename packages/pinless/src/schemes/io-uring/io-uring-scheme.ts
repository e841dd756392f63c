/** The io_uring scheme: one ring with a sparse buffer table and a sparse file table. */

import { isatty } from "node:tty";
import { SQE } from "../../abi/layouts.js";
import { IO_URING } from "../../abi/numbers.js";
import { Ring } from "../../linux/ring.js";
import { Wake } from "../../linux/wake.js";
import { type Direction, WRITE } from "../../protocol/direction.js";
import { EAGAIN, EBUSY, ECANCELED, EINTR, ENOMEM, ETIME } from "../../protocol/errno.js";
import { PRIORITY, REQUEST_FLAGS, RWF } from "../../protocol/how.js";
import type { BufferLocation, CompletionSink, Scheme } from "../../protocol/scheme.js";
import { Wakeup } from "../wakeup.js";
import { FileTable, REGISTERED } from "./file-table.js";
import { LoopPoll } from "./loop-poll.js";
import { PoolFallback } from "./pool-fallback.js";
import { RegisteredBuffers } from "./registered-buffers.js";

/**
 * Flags of the ring. SINGLE_ISSUER is missing because it forbids other threads to update the buffer table (EEXIST), and
 * the monitor has to drop leases while this thread is busy. COOP_TASKRUN saves an interrupt for each completion;
 * TASKRUN_FLAG tells when the kernel has work to do.
 */
const FLAGS = IO_URING.IORING_SETUP_COOP_TASKRUN | IO_URING.IORING_SETUP_TASKRUN_FLAG;

/** The upper half of `user_data` is the kind of a completion; the lower is the slot of the request or buffer. */
const REQUEST = 0;
const TAG = 1;
const OTHER = 2;
const LOOP = 3;

/** Most completions that one wait in the kernel awaits. */
const MOST_AWAITED = 4;

const {
  IORING_OP_READ: OP_READ,
  IORING_OP_WRITE: OP_WRITE,
  IORING_OP_READ_FIXED: READ_FIXED,
  IORING_OP_WRITE_FIXED: WRITE_FIXED,
} = IO_URING;
const FIXED_FILE = IO_URING.IOSQE_FIXED_FILE << 8;
const ASYNC = IO_URING.IOSQE_ASYNC << 8;

const FD = SQE.fields.fd / 4;
const OFF = SQE.fields.off / 4;
const ADDR = SQE.fields.addr / 4;
const LEN = SQE.fields.len / 4;
const RW_FLAGS = SQE.fields.rw_flags / 4;
const USER_DATA = SQE.fields.user_data / 4;
const BUF_INDEX = SQE.fields.buf_index / 4;

export interface IoUringOptions {
  readonly depth: number;
  /** Slots of the buffer table; 0 for no table. */
  readonly bufferSlots: number;
  readonly woken: () => void;
}

export class IoUringScheme implements Scheme {
  readonly name = "io_uring";
  readonly depth: number;
  readonly registrations: RegisteredBuffers | null;
  readonly #ring: Ring;
  readonly #wake: Wake;
  readonly #files: FileTable;
  /** Descriptors whose requests are forced to io-wq (IOSQE_ASYNC), because they could block this thread. */
  readonly #waiting = new Set<number>();
  readonly #wakeup: Wakeup;
  readonly #poolFallback: PoolFallback;
  readonly #loopPoll: LoopPoll;
  /** Slots of requests without a position: those of pipes, terminals and sockets may never end. */
  readonly #endless = new Set<number>();

  private constructor(ring: Ring, wake: Wake, registrations: RegisteredBuffers | null, options: IoUringOptions) {
    this.#ring = ring;
    this.#wake = wake;
    this.depth = options.depth;
    this.registrations = registrations;
    this.#files = new FileTable(ring.fd);
    this.#wakeup = new Wakeup(options.woken);
    this.#poolFallback = new PoolFallback(options.depth, this.#wakeup);
    this.#loopPoll = new LoopPoll(ring, wake.receiver, awaitedOf(options.depth), { last: LOOP, others: OTHER });
  }

  /** Opens the scheme; returns -errno on failure, as `Ring.open` does. */
  static open(options: IoUringOptions): IoUringScheme | number {
    // The completion queue has room for every request, a cancel of each, the tag of every live lease, and the
    // loop's polls, so that it can't overflow.
    const completions = 2 * options.depth + options.bufferSlots + MOST_AWAITED;
    const ring = Ring.open({ entries: 2 * options.depth, completions, flags: FLAGS });
    if (typeof ring === "number") return ring;
    let wake: Wake | number = -ENOMEM;
    try {
      wake = Wake.open(ring.fd, options.woken);
    } finally {
      if (typeof wake === "number") ring.close();
    }
    if (typeof wake === "number") return wake;
    const buffers = options.bufferSlots > 0 ? RegisteredBuffers.open(ring, options.bufferSlots, TAG) : null;
    if (typeof buffers === "number") {
      wake.close();
      ring.close();
      return buffers;
    }
    return new IoUringScheme(ring, wake, buffers, options);
  }

  /** Descriptor of the ring, by which another thread drops its leases. */
  get fd(): number {
    return this.#ring.fd;
  }

  /**
   * Attaches a direct descriptor. `prompt` false forces io-wq: FUSE, for instance, reports its files as pollable and
   * ready, which the kernel takes for a promise not to block; then it waits for the filesystem's answer (6.18).
   */
  attachFile(fd: number, prompt = true): number {
    const file = this.#files.attach(fd, prompt ? FIXED_FILE : FIXED_FILE | ASYNC);
    if (file === fd && !prompt) this.#waiting.add(fd);
    return file;
  }

  /**
   * Attaches a buffered descriptor. Its reads are forced to io-wq, because read-ahead runs in the calling thread and
   * may wait for the disk to find the blocks.
   */
  attachCached(fd: number): number {
    this.#waiting.add(fd);
    return fd;
  }

  /**
   * Attaches a pipe, terminal or socket. A terminal reports that a write wouldn't block, and then blocks the calling
   * thread (6.18).
   */
  attachStream(fd: number): number {
    if (isatty(fd)) this.#waiting.add(fd);
    return fd;
  }

  detachFile(file: number): void {
    this.#waiting.delete(file);
    this.#files.detach(file);
  }

  prepare(
    slot: number,
    direction: Direction,
    file: number,
    location: BufferLocation,
    position: number,
    bufferSlot: number,
    how = 0,
  ): void {
    const sqes = this.#ring.sqes;
    const at = this.#ring.next();
    if (position < 0) this.#endless.add(slot);
    // Before it looks at anything else, the kernel refuses an atomic write from registered memory (EINVAL).
    const leased = bufferSlot >= 0 && (how & RWF.RWF_ATOMIC) === 0;
    const opcode = direction === WRITE ? (leased ? WRITE_FIXED : OP_WRITE) : leased ? READ_FIXED : OP_READ;
    const fileFlags = file >= REGISTERED ? this.#files.flags[file - REGISTERED]! : this.#asyncFlag(file);
    // The priority's place in the entry is that in `how`: the upper half of a word.
    sqes[at] = opcode | fileFlags | (how & PRIORITY);
    sqes[at + FD] = file >= REGISTERED ? file - REGISTERED : file;
    sqes[at + OFF] = position < 0 ? -1 : position | 0;
    sqes[at + OFF + 1] = position < 0 ? -1 : (position / 4294967296) | 0;
    sqes[at + ADDR] = location.addressLow;
    sqes[at + ADDR + 1] = location.addressHigh;
    sqes[at + LEN] = location.bytes;
    sqes[at + RW_FLAGS] = how & REQUEST_FLAGS;
    sqes[at + USER_DATA] = slot;
    sqes[at + USER_DATA + 1] = REQUEST;
    sqes[at + BUF_INDEX] = leased ? bufferSlot : 0;
    sqes[at + BUF_INDEX + 1] = 0;
    sqes[at + BUF_INDEX + 2] = 0;
    sqes[at + BUF_INDEX + 3] = 0;
  }

  prepareFallback(
    slot: number,
    direction: Direction,
    file: number,
    location: BufferLocation,
    position: number,
    how = 0,
  ): void {
    if (position < 0)
      this.#poolFallback.retryLater(slot, () => this.prepare(slot, direction, file, location, position, -1, how));
    else this.#poolFallback.start(slot, direction, this.#files.descriptorOf(file), location, position, how);
  }

  remarks(): readonly string[] {
    return this.#poolFallback.remarks();
  }

  #asyncFlag(fd: number): number {
    return this.#waiting.size > 0 && this.#waiting.has(fd) ? ASYNC : 0;
  }

  cancel(slot: number): void {
    if (this.#poolFallback.cancel(slot)) return;
    if (this.#ring.unsubmitted >= this.#ring.sqEntries) this.enter();
    const sqes = this.#ring.sqes;
    const at = this.#ring.next();
    sqes.fill(0, at, at + SQE.size / 4);
    sqes[at] = IO_URING.IORING_OP_ASYNC_CANCEL;
    sqes[at + FD] = -1;
    sqes[at + ADDR] = slot;
    sqes[at + ADDR + 1] = REQUEST;
    sqes[at + USER_DATA + 1] = OTHER;
  }

  /**
   * Submits and reaps. EINTR is retried at once; after EAGAIN and EBUSY (no memory, or completions to reap first) the
   * rest goes with the next call.
   */
  enter(): number {
    const ring = this.#ring;
    for (;;) {
      if (ring.unsubmitted === 0 && !ring.hasTaskWork) return 0;
      const taken = ring.enter(IO_URING.IORING_ENTER_GETEVENTS);
      if (taken >= 0 && ring.unsubmitted === 0) return 0;
      if (taken >= 0 || taken === -EINTR) continue;
      return taken === -EAGAIN || taken === -EBUSY ? 0 : taken;
    }
  }

  awaitable(requests: number): number {
    return this.#ring.canWait && this.#loopPoll.isKnown() ? requests - this.#endless.size : 0;
  }

  enterAndWait(requests: number): number {
    const ring = this.#ring;
    const awaited = awaitedOf(requests - this.#endless.size);
    this.#loopPoll.hasFired = false;
    if (ring.completions >= awaited || !this.#loopPoll.arm()) return this.enter();
    const taken = ring.enterAndWait(awaited);
    if (ring.unsubmitted > 0) return this.enter();
    return taken >= 0 || taken === -ETIME || taken === -EINTR ? 0 : taken;
  }

  get isLoopReady(): boolean {
    return this.#loopPoll.hasFired;
  }

  reap(sink: CompletionSink, limit: number): number {
    const ring = this.#ring;
    const ofPool = this.#poolFallback.reap(sink, limit);
    const count = Math.min(ring.completions, limit - ofPool);
    const { cqes } = ring;
    for (let i = 0; i < count; i++) {
      const at = ring.completionAt(i);
      const slot = cqes[at]!;
      const about = cqes[at + 1]!;
      const result = cqes[at + 2]!;
      if (about === REQUEST && this.#endless.size > 0) this.#endless.delete(slot);
      if (about === REQUEST && result === -ECANCELED) sink.refused(slot);
      else if (about === REQUEST) sink.completed(slot, result);
      else if (about === TAG) sink.released(slot);
      else if (about === LOOP) this.#loopPoll.fired();
    }
    if (count > 0) ring.consume(count);
    return ofPool + count;
  }

  arm(): boolean {
    if (this.#poolFallback.results > 0) return false;
    this.#wakeup.arm();
    if (this.#ring.completions > 0 || this.#ring.hasTaskWork || this.#ring.unsubmitted !== 0) return false;
    return this.#wake.arm();
  }

  keepAlive(yes: boolean): void {
    this.#wake.keepAlive(yes);
  }

  close(): void {
    this.#wake.close();
    this.#ring.close();
  }
}

/**
 * Number of completions to wait for while so many requests are in the kernel. To be woken for one of 32 took twice
 * the system calls, and half more CPU time (4 KiB reads, ext4 on a loop device).
 */
function awaitedOf(requests: number): number {
  return Math.max(1, Math.min(MOST_AWAITED, requests >> 3));
}
