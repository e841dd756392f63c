/** Promise calls of a file: each takes the direct path if it can, and another one if not. */

import { type Done, WAITS } from "../protocol/acceptance.js";
import { type Direction, READ, WRITE } from "../protocol/direction.js";
import { ECANCELED, ESPIPE } from "../protocol/errno.js";
import type { SystemError } from "../protocol/errors.js";
import { RWF } from "../protocol/how.js";
import type { SegmentLocation } from "../protocol/segment.js";
import type { Blocks } from "./block-options.js";
import type { CallInFlight } from "./calls-in-flight.js";
import type { DirectRequests } from "./direct-requests.js";
import type { FileHost } from "./file-host.js";
import type { FileLifetime } from "./file-lifetime.js";
import { fileClosed, naming } from "./node-errors.js";
import type { OwnPosition } from "./own-position.js";
import type { Position } from "./position-arguments.js";
import { ReadAhead } from "./read-ahead.js";
import { CancellableCall } from "./stream-call-limits.js";
import type { Transfers } from "./transfers.js";
import type { WaitObserver } from "./wait-observer.js";
import { WriteBehind } from "./write-behind.js";

/** Conditions under which a call that may never end by itself is ended. */
export interface StreamCallOptions {
  readonly signal?: AbortSignal | undefined;
  /** True if the call goes on while the file is closing: its stream decides when it ends. */
  readonly ofStream?: boolean;
  /** A position, which pipes and sockets refuse. */
  readonly position?: number | null | undefined;
}

export class FileCalls {
  readonly #host: FileHost;
  readonly #lifetime: FileLifetime;
  readonly #opened: FileLifetime["opened"];
  readonly #transfers: Transfers;
  readonly #requests: DirectRequests;
  readonly #position: OwnPosition;

  constructor(host: FileHost, lifetime: FileLifetime, requests: DirectRequests, position: OwnPosition) {
    this.#host = host;
    this.#lifetime = lifetime;
    this.#opened = lifetime.opened;
    this.#transfers = lifetime.transfers;
    this.#requests = requests;
    this.#position = position;
  }

  /** Transfers one buffer for a promise call: directly if possible. */
  transfer(
    direction: Direction,
    view: ArrayBufferView,
    position: number,
    how = this.#lifetime.usual[direction],
  ): Promise<number> {
    const isAtomic = (how & RWF.RWF_ATOMIC) !== 0;
    const location = isAtomic ? null : this.#requests.locate(direction, view, position, how);
    if (location === null) return this.transferOtherwise(direction, view, position, how);
    const call = callOn(location);
    const { writeOrder } = this.#transfers;
    this.#transfers.begin();
    this.#host.callsInFlight.begin(call);
    if (direction === WRITE) writeOrder.enterDirect();
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#host.callsInFlight.end(call);
        this.#transfers.end();
      };
      const done: Done = (errno, transferred) => {
        if (transferred !== location.bytes && errno >= 0) {
          this.#transfers.rest(direction, view, position, transferred, how).finally(end).then(resolve, reject);
          return;
        }
        end();
        if (errno >= 0) resolve(transferred);
        else reject(this.#transfers.error(direction, errno, how));
      };
      this.#host.submissions.enqueue(() => {
        if (!this.#requests.accept(direction, location, position, done, WAITS, how)) return false;
        // From here on the dispatcher counts the write among its owner's direct writes, unless it waits for memory.
        if (direction === WRITE) writeOrder.leave("direct");
        return true;
      });
    });
  }

  transferOtherwise(
    direction: Direction,
    view: ArrayBufferView,
    position: number,
    how: number,
    observer?: WaitObserver,
  ): Promise<number> {
    if (this.#opened.traits.waits) return this.stream(direction, [view]);
    return this.#during([view], () => this.#transfers.run(direction, view, position, how, observer));
  }

  /** Runs a call on a pipe, a terminal or a socket, which may never end by itself. */
  async stream(
    direction: Direction,
    views: readonly ArrayBufferView[],
    { signal, ofStream = false, position }: StreamCallOptions = {},
  ): Promise<number> {
    if (position !== null && position !== undefined) throw this.#transfers.error(direction, -ESPIPE);
    if (ofStream ? this.#lifetime.isEnding : this.#lifetime.isClosing)
      throw fileClosed(direction === WRITE ? "write" : "read");
    const call = new CancellableCall(ofStream);
    const abort = (): void => call.end(ECANCELED);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted === true) abort();
    try {
      return await this.#during(views, () => this.#transfers.runStream(direction, views, call), call);
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Runs a call, registered so that `close()` and `arena.free()` wait for it. */
  async #during<T>(
    views: readonly ArrayBufferView[],
    run: () => Promise<T>,
    cancellable: CancellableCall | null = null,
  ): Promise<T> {
    const calls: CallInFlight[] = [];
    for (const view of views) {
      const location = this.#requests.lookUp(view);
      if (location !== null) calls.push(callOn(location, cancellable));
    }
    this.#transfers.begin();
    for (const call of calls) this.#host.callsInFlight.begin(call);
    try {
      return await run();
    } finally {
      for (const call of calls) this.#host.callsInFlight.end(call);
      this.#transfers.end();
    }
  }

  /** Transfers at a position; or, after earlier such calls, at the file's own position, which it moves. */
  positioned(
    direction: Direction,
    views: readonly ArrayBufferView[],
    position: Position,
    how = this.#lifetime.usual[direction],
  ): Promise<number> {
    return naming(this.#transferAll(direction, views, position, how));
  }

  #transferAll(
    direction: Direction,
    views: readonly ArrayBufferView[],
    position: Position,
    how: number,
  ): Promise<number> {
    const { waits, ends } = this.#opened.traits;
    if (waits) return this.stream(direction, views, { position: position as number | null });
    if (position === null)
      return this.atOwnPosition(direction, views, how, (from) => this.#oneAfterTheOther(direction, views, from, how));
    if (!ends || (direction === WRITE && this.#opened.append) || typeof position === "bigint")
      return this.#during(views, () => this.#transfers.runByNode(direction, views, position, how));
    if (views.length === 1) return this.transfer(direction, views[0]!, position, how);
    return this.#during(views, () => this.#oneAfterTheOther(direction, views, position, how));
  }

  /**
   * Runs `here` at the file's own position, in the turn of the call; if the position is shared, `before` and then the
   * kernel's call.
   */
  atOwnPosition(
    direction: Direction,
    views: readonly ArrayBufferView[],
    how: number,
    here: (position: number) => Promise<number>,
    before?: () => Promise<void>,
  ): Promise<number> {
    const bytes = views.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const byKernel = async (): Promise<number> => {
      await before?.();
      return this.#transfers.runByNode(direction, views, null, how);
    };
    return this.#during(views, () =>
      this.#position.inTurn(() => this.#position.run({ direction, bytes }, here, byKernel)),
    );
  }

  /** Makes a read-ahead for a reader of at most so many bytes. */
  readAhead(blocks: Blocks, bytes: number): ReadAhead {
    const { writeOrder } = this.#transfers;
    const read = (memory: Uint8Array, position: number): Promise<number> => this.transfer(READ, memory, position);
    return new ReadAhead({ ...this.#blockMemory("read ahead"), writeOrder, read }, blocks, bytes);
  }

  /** Makes a write-behind. */
  writeBehind(blocks: Blocks): WriteBehind {
    const write = (view: Uint8Array, position: number): Promise<number> => this.transfer(WRITE, view, position);
    return new WriteBehind({ ...this.#blockMemory("write behind"), write }, blocks);
  }

  #blockMemory(what: string) {
    return {
      memory: this.#host.blocks,
      alignment: Math.max(this.#opened.offsetAlign, this.#opened.memoryAlign, 512),
      degraded: ({ message }: Error) =>
        this.#host.degraded(`no memory to ${what} (${message}): one transfer at a time`),
    };
  }

  /**
   * Transfers several buffers in order. Stops at the first short transfer, or at an error after a read has got some
   * bytes.
   */
  async #oneAfterTheOther(
    direction: Direction,
    views: readonly ArrayBufferView[],
    position: number,
    how: number,
  ): Promise<number> {
    let total = 0;
    for (const view of views) {
      let bytes: number;
      try {
        bytes = await this.transfer(direction, view, position + total, how);
      } catch (error) {
        if (direction === READ && total > 0) return total;
        if (direction === WRITE)
          (error as SystemError).bytesWritten = total + ((error as SystemError).bytesWritten ?? 0);
        throw error;
      }
      total += bytes;
      if (bytes < view.byteLength) break;
    }
    return total;
  }

  /** Reads what remains after a short direct read. */
  async rest(location: SegmentLocation, view: ArrayBufferView, position: number, done: number): Promise<number> {
    const call = callOn(location);
    this.#transfers.begin();
    this.#host.callsInFlight.begin(call);
    try {
      return await this.#transfers.rest(READ, view, position, done, this.#lifetime.usual[READ]);
    } finally {
      this.#host.callsInFlight.end(call);
      this.#transfers.end();
    }
  }
}

/** The use of arena memory by a call. */
function callOn({ address, bytes }: SegmentLocation, cancellable: CancellableCall | null = null): CallInFlight {
  return { start: address, end: address + bytes, cancellable };
}
