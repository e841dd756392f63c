/**
 * The aio scheme: Linux AIO for direct I/O that io_submit takes without blocking. A request that would block it (on a
 * lock, an allocation, or a write that extends the file) fails with EAGAIN and goes by node:fs, like buffered I/O. A
 * request without a position (on a pipe) is polled first, so that it doesn't occupy a thread of the pool while waiting.
 */

import { IO_EVENT, IOCB } from "../../abi/layouts.js";
import { AIO, POLL } from "../../abi/numbers.js";
import { AioContext } from "../../linux/aio-context.js";
import { EventWake } from "../../linux/event-wake.js";
import { type Direction, WRITE } from "../../protocol/direction.js";
import { EAGAIN, EINVAL, EOPNOTSUPP } from "../../protocol/errno.js";
import { PRIORITY, REQUEST_FLAGS } from "../../protocol/how.js";
import type { BufferLocation, CompletionSink, Scheme } from "../../protocol/scheme.js";
import { PoolRequests } from "../pool-requests.js";
import { NO_SOCKETS, StreamRequests } from "../stream-requests.js";
import { Wakeup } from "../wakeup.js";

/** Handles of files opened with O_DIRECT begin here; smaller ones are descriptors (fs.nr_open is at most 2^30). */
const DIRECT = 2 ** 30;

const IOCB_WORDS = IOCB.size / 4;
const DATA = IOCB.fields.aio_data / 4;
const RW_FLAGS = IOCB.fields.aio_rw_flags / 4;
const OPCODE = IOCB.fields.aio_lio_opcode / 4;
const FD = IOCB.fields.aio_fildes / 4;
const BUF = IOCB.fields.aio_buf / 4;
const NBYTES = IOCB.fields.aio_nbytes / 4;
const OFFSET = IOCB.fields.aio_offset / 4;
const FLAGS = IOCB.fields.aio_flags / 4;
const RESFD = IOCB.fields.aio_resfd / 4;
const RES = IO_EVENT.fields.res / 4;

export interface AioSchemeOptions {
  readonly depth: number;
  readonly woken: () => void;
  /** Reads completions by io_getevents even if there is a ring. */
  readonly withoutRing?: boolean;
}

export class AioScheme implements Scheme {
  readonly name = "aio";
  readonly depth: number;
  readonly registrations = null;
  readonly refusesSockets = NO_SOCKETS;
  readonly #context: AioContext;
  readonly #wake: EventWake;
  readonly #wakeup: Wakeup;
  readonly #pool: PoolRequests;
  readonly #streams: StreamRequests;
  /** Slots of requests that would have blocked io_submit. They go to the thread pool. */
  readonly #waiting: number[] = [];
  /** Files whose requests all go to the thread pool, since their filesystem or device supports only blocking calls. */
  readonly #unaided = new Set<number>();

  private constructor(context: AioContext, wake: EventWake, wakeup: Wakeup, depth: number) {
    this.#context = context;
    this.#wake = wake;
    this.#wakeup = wakeup;
    this.depth = depth;
    this.#pool = new PoolRequests(depth, wakeup.ringSoon);
    this.#streams = new StreamRequests({
      pool: this.#pool,
      wait: (slot, stream) => {
        if (stream.unpollable) this.#streams.retryLater(slot, stream);
        else this.#poll(slot, stream.direction, stream.fd);
      },
      ended: wakeup.ringSoon,
    });
    const { iocbs } = context;
    for (let slot = 0; slot < depth; slot++) {
      const at = slot * IOCB_WORDS;
      iocbs[at + DATA] = slot;
      iocbs[at + RESFD] = wake.fd;
    }
  }

  /** Opens the scheme; returns -errno on failure, as `AioContext.open` does. */
  static open({ depth, woken, withoutRing = false }: AioSchemeOptions): AioScheme | number {
    const context = AioContext.open({ depth, withoutRing });
    if (typeof context === "number") return context;
    const wakeup = new Wakeup(woken);
    const wake = EventWake.open(wakeup.ring);
    if (typeof wake === "number") {
      context.close();
      return wake;
    }
    return new AioScheme(context, wake, wakeup, depth);
  }

  attachFile(fd: number, prompt = true): number {
    return prompt ? DIRECT + fd : fd;
  }

  attachStream(fd: number): number {
    return this.#streams.attach(fd);
  }

  detachFile(file: number): void {
    this.#unaided.delete(file);
    this.#streams.detach(file);
  }

  prepare(
    slot: number,
    direction: Direction,
    file: number,
    location: BufferLocation,
    position: number,
    _bufferSlot = -1,
    how = 0,
  ): void {
    if (file < DIRECT || (this.#unaided.size > 0 && this.#unaided.has(file))) {
      if (file >= DIRECT) this.prepareFallback(slot, direction, file, location, position, how);
      else if (position >= 0) this.#pool.start(slot, direction, file, location, position, how);
      else {
        this.#streams.add(slot, direction, file, location);
        this.#poll(slot, direction, file);
      }
      return;
    }
    const { iocbs } = this.#context;
    const at = this.#context.next(slot);
    iocbs[at + RW_FLAGS] = AIO.RWF_NOWAIT | (how & REQUEST_FLAGS);
    // The priority's place in the word is that in `how`: the upper half.
    iocbs[at + OPCODE] = (direction === WRITE ? AIO.IOCB_CMD_PWRITE : AIO.IOCB_CMD_PREAD) | (how & PRIORITY);
    iocbs[at + FLAGS] = AIO.IOCB_FLAG_RESFD | ((how & PRIORITY) !== 0 ? AIO.IOCB_FLAG_IOPRIO : 0);
    iocbs[at + FD] = file - DIRECT;
    iocbs[at + BUF] = location.addressLow;
    iocbs[at + BUF + 1] = location.addressHigh;
    iocbs[at + NBYTES] = location.bytes | 0;
    iocbs[at + NBYTES + 1] = (location.bytes / 2 ** 32) | 0;
    iocbs[at + OFFSET] = position | 0;
    iocbs[at + OFFSET + 1] = (position / 2 ** 32) | 0;
  }

  /** Prepares a request that goes to the thread pool, because it would block io_submit. */
  prepareFallback(
    slot: number,
    direction: Direction,
    file: number,
    location: BufferLocation,
    position: number,
    how = 0,
  ): void {
    this.#pool.start(slot, direction, file - DIRECT, location, position, how);
  }

  #poll(slot: number, direction: Direction, fd: number): void {
    const { iocbs } = this.#context;
    const at = this.#context.next(slot);
    iocbs[at + RW_FLAGS] = 0;
    iocbs[at + FLAGS] = AIO.IOCB_FLAG_RESFD;
    iocbs[at + OPCODE] = AIO.IOCB_CMD_POLL;
    iocbs[at + FD] = fd;
    iocbs[at + BUF] = direction === WRITE ? POLL.POLLOUT : POLL.POLLIN;
    iocbs.fill(0, at + BUF + 1, at + FLAGS);
  }

  /** Cancels a request if it's polling. Direct I/O, and calls on the thread pool, can't be cancelled. */
  cancel(slot: number): void {
    const stream = this.#streams.get(slot);
    if (stream === undefined) return;
    stream.cancelled = true;
    // A call that has begun doesn't block, so it ends by itself. Before a retry, `cancelled` is checked.
    if (!stream.waiting || stream.unpollable) return;
    this.enter();
    // A poll that the kernel hasn't taken yet is made invalid.
    this.#context.iocbs[slot * IOCB_WORDS + FD] = -1;
    this.#context.cancel(slot);
  }

  /**
   * Submits what was prepared. After EAGAIN (the ring is full, or no memory) the rest goes with the next call. Any
   * other error belongs to the first request and ends it.
   */
  enter(): number {
    const context = this.#context;
    while (context.unsubmitted > 0) {
      const taken = context.submit();
      if (taken > 0) continue;
      if (taken === 0 || taken === -EAGAIN) break;
      this.#refused(context.skip(), taken);
    }
    return 0;
  }

  #refused(slot: number, errno: number): void {
    const stream = this.#streams.get(slot);
    if (stream === undefined) {
      if (errno !== -EOPNOTSUPP) this.#pool.end(slot, errno);
      else this.#waits(slot, errno);
      return;
    }
    // AIO can't poll append-only files, which are always ready, nor files whose readers and writers share one wait
    // queue: terminals, and a pipe that is open for both.
    stream.unpollable = errno === -EINVAL;
    this.#streams.ready(slot, stream, stream.unpollable ? 0 : errno);
  }

  /**
   * Moves a request to the thread pool. After EOPNOTSUPP, all further requests of its file go there, since the
   * filesystem or device supports only blocking calls.
   */
  #waits(slot: number, errno: number): void {
    const at = slot * IOCB_WORDS;
    const { iocbs } = this.#context;
    // Flags of the request may be what is refused: the pool's call tells.
    if (errno === -EOPNOTSUPP && iocbs[at + RW_FLAGS] === AIO.RWF_NOWAIT) this.#unaided.add(DIRECT + iocbs[at + FD]!);
    this.#waiting.push(slot);
  }

  reap(sink: CompletionSink, limit: number): number {
    const context = this.#context;
    let delivered = this.#pool.reap(sink, limit);
    const count = Math.min(context.completions, limit - delivered);
    const { events } = context;
    for (let i = 0; i < count; i++) {
      const at = context.completionAt(i);
      const slot = events[at]!;
      const result = events[at + RES]!;
      const stream = this.#streams.get(slot);
      if (stream !== undefined) {
        this.#streams.ready(slot, stream, result);
      } else if (result === -EAGAIN || result === -EOPNOTSUPP) {
        this.#waits(slot, result);
      } else {
        delivered++;
        sink.completed(slot, result);
      }
    }
    if (count > 0) context.consume(count);
    if (this.#waiting.length === 0) return delivered;
    // They count too, because the sink may prepare requests meanwhile, which the caller's next `enter` hands over.
    for (const slot of this.#waiting.splice(0)) {
      delivered++;
      sink.refused(slot);
    }
    return delivered;
  }

  arm(): boolean {
    const { completions, unsubmitted, inFlight } = this.#context;
    // Requests that the kernel had no room for are submitted again when something has ended, or, if nothing is in
    // flight, soon.
    if (completions > 0 || this.#pool.results > 0 || this.#waiting.length > 0 || (unsubmitted > 0 && inFlight === 0))
      return false;
    this.#wakeup.arm();
    return true;
  }

  keepAlive(yes: boolean): void {
    this.#wake.keepAlive(yes);
  }

  close(): void {
    this.#wake.close();
    this.#context.close();
  }
}
