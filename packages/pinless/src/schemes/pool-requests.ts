/** Requests on libuv's thread pool, by node:fs. Their results wait here until they're reaped. */

import { ERRNO } from "../abi/numbers.js";
import { read, write } from "../linux/originals.js";
import type { CompletionSink, RequestPlace } from "../protocol/scheme.js";

/** What the kernel transfers at most by one call (MAX_RW_COUNT). */
const MAX_BYTES = 0x7ffff000;

type CallDone = (error: NodeJS.ErrnoException | null, transferred: number) => void;

/** One call of node:fs. `position` -1: the descriptor's own. */
export function callPool(isWrite: boolean, fd: number, place: RequestPlace, position: number, done: CallDone): void {
  const bytes = Math.min(place.bytes, MAX_BYTES);
  const at = position < 0 ? null : position;
  if (isWrite) write(fd, place.buffer as Uint8Array, 0, bytes, at, done);
  else read(fd, place.buffer as Uint8Array, 0, bytes, at, done);
}

/** A byte count, or -errno. */
export function resultOf(error: NodeJS.ErrnoException | null, transferred: number): number {
  return error === null ? transferred : (error.errno ?? -ERRNO.EIO);
}

export class PoolRequests {
  /** What node:fs calls, one for each slot, made once. */
  readonly #dones: readonly CallDone[];
  /** Slots and results in turn, oldest first; a ring of places for all slots. */
  readonly #results: Int32Array;
  readonly #places: number;
  #head = 0;
  #count = 0;

  /** `ended` is called in a callback of node:fs when one has ended. */
  constructor(depth: number, ended: () => void) {
    this.#places = depth;
    this.#results = new Int32Array(2 * depth);
    this.#dones = Array.from({ length: depth }, (_, slot) => (error, transferred) => {
      this.end(slot, resultOf(error, transferred));
      ended();
    });
  }

  /** `position` -1: the descriptor's own. */
  start(slot: number, isWrite: boolean, fd: number, place: RequestPlace, position: number): void {
    callPool(isWrite, fd, place, position, this.#dones[slot]!);
  }

  /** Has a result delivered by the next `reap`. */
  end(slot: number, result: number): void {
    const at = 2 * ((this.#head + this.#count++) % this.#places);
    this.#results[at] = slot;
    this.#results[at + 1] = result;
  }

  /** Results that are there. */
  get results(): number {
    return this.#count;
  }

  reap(sink: CompletionSink, limit: number): number {
    const count = Math.min(this.#count, limit);
    for (let i = 0; i < count; i++) {
      const at = 2 * this.#head;
      const slot = this.#results[at]!;
      const result = this.#results[at + 1]!;
      // Given back first: whoever is told may start another, whose end needs a place.
      this.#head = (this.#head + 1) % this.#places;
      this.#count--;
      sink.completed(slot, result);
    }
    return count;
  }
}
