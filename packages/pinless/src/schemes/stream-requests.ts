/**
 * Requests without a position: on pipes, terminals and what appends. The call is made on a descriptor that doesn't block, so that it
 * keeps no thread of libuv's pool, not when somebody else was quicker to take what was there, nor when there's room for a part of a write
 * only. What can't be done yet waits as the scheme knows to.
 */

import { ERRNO } from "../abi/numbers.js";
import { openNonBlocking } from "../linux/open-file.js";
import { closeSync, setTimeout } from "../linux/originals.js";
import type { RequestPlace } from "../protocol/scheme.js";
import { callPool, type PoolRequests, resultOf } from "./pool-requests.js";

/** A pipe can be opened a second time, without blocking for whoever has it open; a socket can't. */
export const NO_SOCKETS =
  'a socket would have to be switched to not blocking, for everybody who has it: it needs the scheme "io_uring"';

/** What can't be polled is tried again this often. */
const RETRY_MS = 5;

export interface StreamRequest {
  readonly write: boolean;
  readonly fd: number;
  readonly place: RequestPlace;
  /** Between two calls. */
  waiting: boolean;
  cancelled: boolean;
  /** The kernel doesn't say when the descriptor is ready. */
  unpollable: boolean;
}

export interface StreamOptions {
  readonly pool: PoolRequests;
  /** Calls `ready` once the descriptor may be. */
  readonly wait: (slot: number, request: StreamRequest) => void;
  /** Called after something has ended. */
  readonly ended: () => void;
}

export class StreamRequests {
  readonly #options: StreamOptions;
  readonly #requests = new Map<number, StreamRequest>();
  readonly #nonBlocking = new Set<number>();

  constructor(options: StreamOptions) {
    this.#options = options;
  }

  /** A descriptor of our own for the same pipe or terminal; for others, and where it can't be opened again, the caller's. */
  attach(fd: number): number {
    const own = openNonBlocking(fd);
    if (own < 0) return fd;
    this.#nonBlocking.add(own);
    return own;
  }

  detach(file: number): void {
    if (this.#nonBlocking.delete(file)) closeSync(file);
  }

  /** Waits until it's told `ready`. */
  add(slot: number, write: boolean, fd: number, place: RequestPlace): StreamRequest {
    const request = { write, fd, place, waiting: true, cancelled: false, unpollable: false };
    this.#requests.set(slot, request);
    return request;
  }

  /** What has begun and not ended. */
  get(slot: number): StreamRequest | undefined {
    return this.#requests.size === 0 ? undefined : this.#requests.get(slot);
  }

  /** The wait is over. `result`: negative for an errno that ends the request. */
  ready(slot: number, request: StreamRequest, result: number): void {
    if (request.cancelled) this.#end(slot, -ERRNO.ECANCELED);
    else if (result < 0) this.#end(slot, result);
    else {
      request.waiting = false;
      callPool(request.write, request.fd, request.place, -1, (error, transferred) =>
        this.#tried(slot, request, resultOf(error, transferred)),
      );
    }
  }

  /** A wait for a descriptor that nothing else tells about. */
  retryLater(slot: number, request: StreamRequest): void {
    setTimeout(() => this.ready(slot, request, 0), RETRY_MS);
  }

  #tried(slot: number, request: StreamRequest, result: number): void {
    if (result !== -ERRNO.EAGAIN) {
      this.#end(slot, result);
    } else if (request.cancelled) {
      this.#end(slot, -ERRNO.ECANCELED);
    } else {
      request.waiting = true;
      this.#options.wait(slot, request);
      // The wait may have to be handed to the kernel.
      this.#options.ended();
    }
  }

  #end(slot: number, result: number): void {
    this.#requests.delete(slot);
    this.#options.pool.end(slot, result);
    this.#options.ended();
  }
}
