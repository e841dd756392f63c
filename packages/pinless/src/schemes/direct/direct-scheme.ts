/** The direct scheme: calls of node:fs on the O_DIRECT descriptor, on libuv's thread pool. It has no registrations. */

import { clearInterval, setInterval } from "../../linux/originals.js";
import type { Direction } from "../../protocol/direction.js";
import type { BufferLocation, CompletionSink, Scheme } from "../../protocol/scheme.js";
import { PoolRequests } from "../pool-requests.js";
import { NO_SOCKETS, StreamRequests } from "../stream-requests.js";
import { Wakeup } from "../wakeup.js";

/** Default and limits that libuv applies to UV_THREADPOOL_SIZE. */
const DEFAULT_THREADS = 4;
const MAX_THREADS = 1024;
/** Maximum delay of Node's timers. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Calls handed to libuv for each of its threads, so that a thread can begin its next call before this thread has
 * handled the last. Measured with 4 KiB reads on zram, 4 threads, relative to node:fs with 32 in flight: 0.8 with one
 * call a thread, 1.4 with 2, 1.7 with 3, 2.4 with 8. More would delay other users of the pool.
 */
const CALLS_PER_THREAD = 8;

/** Number of threads in libuv's pool, which is the number of calls that run at a time. */
function poolThreads(): number {
  const asked = process.env.UV_THREADPOOL_SIZE;
  if (asked === undefined) return DEFAULT_THREADS;
  return Math.min(Math.max(Number.parseInt(asked, 10) || 0, 1), MAX_THREADS);
}

export interface DirectOptions {
  readonly depth: number;
  readonly woken: () => void;
}

export class DirectScheme implements Scheme {
  readonly name = "direct";
  readonly depth: number;
  readonly ahead: number;
  readonly registrations = null;
  readonly refusesSockets = NO_SOCKETS;
  readonly refusesPipes =
    'reads of a pipe or terminal need the scheme "io_uring" or "aio": ' +
    'with "direct" they could block a thread of libuv\'s pool for ever';
  readonly refusesPriority =
    'a priority needs the scheme "io_uring" or "aio": with "direct" it would be that of a thread that others use too';
  readonly #pool: PoolRequests;
  readonly #streams: StreamRequests;
  readonly #wakeup: Wakeup;
  #alive: NodeJS.Timeout | null = null;

  constructor({ depth, woken }: DirectOptions) {
    const threads = poolThreads();
    this.depth = Math.min(depth, threads);
    this.ahead = Math.min(depth, threads * CALLS_PER_THREAD) - this.depth;
    this.#wakeup = new Wakeup(woken);
    this.#pool = new PoolRequests(this.depth + this.ahead, this.#wakeup.ringSoon);
    this.#streams = new StreamRequests({
      pool: this.#pool,
      wait: (slot, request) => this.#streams.retryLater(slot, request),
      ended: this.#wakeup.ringSoon,
    });
  }

  attachFile(fd: number): number {
    return fd;
  }

  attachStream(fd: number): number {
    return this.#streams.attach(fd);
  }

  detachFile(file: number): void {
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
    if (position >= 0) this.#pool.start(slot, direction, file, location, position, how);
    else this.#streams.ready(slot, this.#streams.add(slot, direction, file, location), 0);
  }

  /** Cancels a request that is waiting for a pipe; a call that has begun can't be cancelled. */
  cancel(slot: number): void {
    const stream = this.#streams.get(slot);
    if (stream !== undefined) stream.cancelled = true;
  }

  enter(): number {
    return 0;
  }

  reap(sink: CompletionSink, limit: number): number {
    return this.#pool.reap(sink, limit);
  }

  arm(): boolean {
    if (this.#pool.results > 0) return false;
    this.#wakeup.arm();
    return true;
  }

  /** Sets whether waiting requests keep the process alive. Calls in libuv do so by themselves. */
  keepAlive(yes: boolean): void {
    if (this.#alive !== null) clearInterval(this.#alive);
    this.#alive = yes ? setInterval(() => {}, LONGEST_TIMER_MS) : null;
  }

  close(): void {
    this.keepAlive(false);
  }
}
