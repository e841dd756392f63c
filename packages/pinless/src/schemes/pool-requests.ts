/** Requests on libuv's thread pool, by node:fs. Results are kept until they're reaped. */

import { transferWithFlags } from "../linux/flagged-transfers.js";
import { read, write } from "../linux/originals.js";
import { type Direction, WRITE } from "../protocol/direction.js";
import { EIO } from "../protocol/errno.js";
import { REQUEST_FLAGS } from "../protocol/how.js";
import type { BufferLocation, CompletionSink } from "../protocol/scheme.js";

/** Maximum length of a transfer by one system call (MAX_RW_COUNT). */
const MAX_BYTES = 0x7ffff000;

type CallDone = (error: NodeJS.ErrnoException | null, transferred: number) => void;

/** Makes one call of node:fs. `position` -1 means the descriptor's own. */
export function callPool(
  direction: Direction,
  fd: number,
  location: BufferLocation,
  position: number,
  done: CallDone,
): void {
  const bytes = Math.min(location.bytes, MAX_BYTES);
  const at = position < 0 ? null : position;
  if (direction === WRITE) write(fd, location.buffer as Uint8Array, 0, bytes, at, done);
  else read(fd, location.buffer as Uint8Array, 0, bytes, at, done);
}

/** Converts the arguments of a node:fs callback to a byte count or -errno. */
export function resultOf(error: NodeJS.ErrnoException | null, transferred: number): number {
  return error === null ? transferred : (error.errno ?? -EIO);
}

export class PoolRequests {
  /** Callbacks for node:fs, one for each slot, created once. */
  readonly #dones: readonly CallDone[];
  /** Ring buffer of pairs of slot and result, oldest first, with room for all slots. */
  readonly #results: Int32Array;
  readonly #capacity: number;
  readonly #ended: (slot: number, result: number) => void;
  #head = 0;
  #count = 0;

  /** `ended` is called when a request has ended, from its callback. */
  constructor(depth: number, ended: () => void) {
    this.#capacity = depth;
    this.#results = new Int32Array(2 * depth);
    this.#ended = (slot, result) => {
      this.end(slot, result);
      ended();
    };
    this.#dones = Array.from(
      { length: depth },
      (_, slot) => (error, transferred) => this.#ended(slot, resultOf(error, transferred)),
    );
  }

  /** Starts a request. `position` -1 means the descriptor's own. */
  start(slot: number, direction: Direction, fd: number, location: BufferLocation, position: number, how: number): void {
    const flags = how & REQUEST_FLAGS;
    if (flags === 0) callPool(direction, fd, location, position, this.#dones[slot]!);
    else transferWithFlags(direction, fd, [location.buffer], position, flags, (result) => this.#ended(slot, result));
  }

  /** Adds a result that the next `reap` delivers. */
  end(slot: number, result: number): void {
    const at = 2 * ((this.#head + this.#count++) % this.#capacity);
    this.#results[at] = slot;
    this.#results[at + 1] = result;
  }

  /** Number of results to reap. */
  get results(): number {
    return this.#count;
  }

  reap(sink: CompletionSink, limit: number): number {
    const count = Math.min(this.#count, limit);
    for (let i = 0; i < count; i++) {
      const at = 2 * this.#head;
      const slot = this.#results[at]!;
      const result = this.#results[at + 1]!;
      // The entry is released first, because the callback may start a request that needs it when it ends.
      this.#head = (this.#head + 1) % this.#capacity;
      this.#count--;
      sink.completed(slot, result);
    }
    return count;
  }
}
