/**
 * Requests that the kernel ended with ECANCELED though nobody had asked it to: it had to start a thread of its own for them and couldn't
 * (pids.max of a cgroup, RLIMIT_NPROC). It hadn't begun them. They go by libuv's thread pool, whose threads are there since the file was
 * opened; what may never end isn't to keep one of those, and asks the ring again.
 */

import { ERRNO } from "../../abi/numbers.js";
import { clearTimeout, setTimeout } from "../../linux/originals.js";
import type { CompletionSink, RequestPlace } from "../../protocol/scheme.js";
import { PoolRequests } from "../pool-requests.js";
import type { Alarm } from "../wakeup.js";

const AGAIN_MS = 20;

export class Aside {
  readonly #depth: number;
  readonly #alarm: Alarm;
  /** Made with the first request: most engines never have one. */
  #pool: PoolRequests | null = null;
  readonly #waiting = new Map<number, ReturnType<typeof setTimeout>>();
  #count = 0;

  constructor(depth: number, alarm: Alarm) {
    this.#depth = depth;
    this.#alarm = alarm;
  }

  start(slot: number, write: boolean, fd: number, place: RequestPlace, position: number): void {
    this.#count++;
    this.#requests.start(slot, write, fd, place, position);
  }

  /** Calls `again` in a while, unless it's cancelled by then. */
  later(slot: number, again: () => void): void {
    this.#count++;
    const timer = setTimeout(() => {
      this.#waiting.delete(slot);
      again();
      this.#alarm.ring();
    }, AGAIN_MS);
    this.#waiting.set(slot, timer);
  }

  /** Whether it was one that waits: it ends now. */
  cancel(slot: number): boolean {
    const timer = this.#waiting.get(slot);
    if (timer === undefined) return false;
    clearTimeout(timer);
    this.#waiting.delete(slot);
    this.#requests.end(slot, -ERRNO.ECANCELED);
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
      `the kernel could start no thread of its own for ${this.#count} requests, which went by libuv's pool: raise pids.max of the cgroup (containers: the limit on processes), or RLIMIT_NPROC (ulimit -u)`,
    ];
  }

  get #requests(): PoolRequests {
    this.#pool ??= new PoolRequests(this.#depth, this.#alarm.ringSoon);
    return this.#pool;
  }
}
