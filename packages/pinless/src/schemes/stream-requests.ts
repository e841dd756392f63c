/**
 * Requests without a position: on pipes, terminals and append-only files. The call is made on a non-blocking
 * descriptor, so that it never occupies a thread of libuv's pool, even if another process takes the bytes first, or the
 * pipe has room for a part of a write only. A call that would block waits by whatever means the scheme has.
 */

import { openNonBlocking } from "../linux/open-file.js";
import { closeSync, setTimeout } from "../linux/originals.js";
import type { Direction } from "../protocol/direction.js";
import { EAGAIN, ECANCELED } from "../protocol/errno.js";
import type { BufferLocation } from "../protocol/scheme.js";
import { callPool, type PoolRequests, resultOf } from "./pool-requests.js";

/** Reason for refusing sockets: a pipe can be opened a second time with O_NONBLOCK, a socket can't. */
export const NO_SOCKETS =
  'sockets need the scheme "io_uring": with any other the socket would have to be non-blocking for everyone who has it';

/** Interval of retries where the descriptor can't be polled. */
const RETRY_MS = 5;

export interface StreamRequest {
  readonly direction: Direction;
  readonly fd: number;
  readonly location: BufferLocation;
  /** True between two calls. */
  waiting: boolean;
  cancelled: boolean;
  /** True if the descriptor can't be polled. */
  unpollable: boolean;
}

export interface StreamOptions {
  readonly pool: PoolRequests;
  /** Waits for the descriptor, then calls `ready`. */
  readonly wait: (slot: number, request: StreamRequest) => void;
  /** Called after requests have ended. */
  readonly ended: () => void;
}

export class StreamRequests {
  readonly #options: StreamOptions;
  readonly #requests = new Map<number, StreamRequest>();
  readonly #nonBlocking = new Set<number>();

  constructor(options: StreamOptions) {
    this.#options = options;
  }

  /** Opens a non-blocking descriptor for the same pipe or terminal; returns the caller's if that's impossible. */
  attach(fd: number): number {
    const own = openNonBlocking(fd);
    if (own < 0) return fd;
    this.#nonBlocking.add(own);
    return own;
  }

  detach(file: number): void {
    if (this.#nonBlocking.delete(file)) closeSync(file);
  }

  /** Adds a request, which waits until `ready` is called. */
  add(slot: number, direction: Direction, fd: number, location: BufferLocation): StreamRequest {
    const request = { direction, fd, location, waiting: true, cancelled: false, unpollable: false };
    this.#requests.set(slot, request);
    return request;
  }

  /** The request in a slot, if it's in flight. */
  get(slot: number): StreamRequest | undefined {
    return this.#requests.size === 0 ? undefined : this.#requests.get(slot);
  }

  /** Ends a wait. A negative `result` is an errno that ends the request. */
  ready(slot: number, request: StreamRequest, result: number): void {
    if (request.cancelled) this.#end(slot, -ECANCELED);
    else if (result < 0) this.#end(slot, result);
    else {
      request.waiting = false;
      callPool(request.direction, request.fd, request.location, -1, (error, transferred) =>
        this.#tried(slot, request, resultOf(error, transferred)),
      );
    }
  }

  /** Retries after `RETRY_MS`, for a descriptor that can't be polled. */
  retryLater(slot: number, request: StreamRequest): void {
    setTimeout(() => this.ready(slot, request, 0), RETRY_MS);
  }

  #tried(slot: number, request: StreamRequest, result: number): void {
    if (result !== -EAGAIN) {
      this.#end(slot, result);
    } else if (request.cancelled) {
      this.#end(slot, -ECANCELED);
    } else {
      request.waiting = true;
      this.#options.wait(slot, request);
      // The wait may have to be submitted to the kernel.
      this.#options.ended();
    }
  }

  #end(slot: number, result: number): void {
    this.#requests.delete(slot);
    this.#options.pool.end(slot, result);
    this.#options.ended();
  }
}
