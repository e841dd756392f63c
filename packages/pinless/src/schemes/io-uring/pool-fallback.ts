/**
 * Fallback for requests that the kernel ended with ECANCELED although they weren't cancelled: it needed another io-wq
 * thread and couldn't start one (pids.max of a cgroup, RLIMIT_NPROC). The kernel hadn't begun them. They are retried on
 * libuv's thread pool, whose threads exist already. Requests without a position could occupy such a thread for ever, so
 * they are retried on the ring.
 */

import { clearTimeout, setTimeout } from "../../linux/originals.js";
import type { Direction } from "../../protocol/direction.js";
import { ECANCELED } from "../../protocol/errno.js";
import type { BufferLocation, CompletionSink } from "../../protocol/scheme.js";
import { PoolRequests } from "../pool-requests.js";
import type { Wakeup } from "../wakeup.js";

const RETRY_MS = 20;

export class PoolFallback {
  readonly #depth: number;
  readonly #wakeup: Wakeup;
  /** Created by the first request, since most engines never have one. */
  #pool: PoolRequests | null = null;
  readonly #waiting = new Map<number, ReturnType<typeof setTimeout>>();
  #count = 0;

  constructor(depth: number, wakeup: Wakeup) {
    this.#depth = depth;
    this.#wakeup = wakeup;
  }

  start(slot: number, direction: Direction, fd: number, location: BufferLocation, position: number, how: number): void {
    this.#count++;
    this.#requests.start(slot, direction, fd, location, position, how);
  }

  /** Calls `again` after a delay, unless the request is cancelled first. */
  retryLater(slot: number, again: () => void): void {
    this.#count++;
    const timer = setTimeout(() => {
      this.#waiting.delete(slot);
      again();
      this.#wakeup.ring();
    }, RETRY_MS);
    this.#waiting.set(slot, timer);
  }

  /** Ends a request that is waiting to be retried; false if it isn't. */
  cancel(slot: number): boolean {
    const timer = this.#waiting.get(slot);
    if (timer === undefined) return false;
    clearTimeout(timer);
    this.#waiting.delete(slot);
    this.#requests.end(slot, -ECANCELED);
    return true;
  }

  get results(): number {
    return this.#pool?.results ?? 0;
  }

  reap(sink: CompletionSink, limit: number): number {
    return this.#pool === null ? 0 : this.#pool.reap(sink, limit);
  }

  remarks(): readonly string[] {
    if (this.#count === 0) return [];
    return [
      `the kernel couldn't start a thread (io-wq) for ${this.#count} requests, which ran on libuv's pool instead: ` +
        "raise pids.max of the cgroup (containers: the limit on processes), or RLIMIT_NPROC (ulimit -u)",
    ];
  }

  get #requests(): PoolRequests {
    this.#pool ??= new PoolRequests(this.#depth, this.#wakeup.ringSoon);
    return this.#pool;
  }
}
