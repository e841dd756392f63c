/**
 * Transfers by single system calls through the page cache, exactly as node:fs makes them: at the file's own position
 * once it's shared, for appends (a record written in one call stays in one piece), and for files that the kernel
 * generates (devices, /proc).
 */

import type { DescriptorCalls } from "../ports/opened-file.js";
import { type Direction, READ, WRITE } from "../protocol/direction.js";
import { EFAULT } from "../protocol/errno.js";
import type { SystemError } from "../protocol/errors.js";
import { REQUEST_FLAGS } from "../protocol/how.js";
import { segmentOf } from "../protocol/segment.js";
import type { Position } from "./position-arguments.js";
import { observed, type WaitObserver } from "./wait-observer.js";

interface NodeCallHost {
  readonly calls: DescriptorCalls;
  /** True if `copy` would be refused now; asked before any bytes are read. */
  isRefused(direction: Direction, memory: Uint8Array): boolean;
  /**
   * Copies between arena memory and memory of ours, after waiting for memory operations. Rejects with EFAULT if the
   * arena refuses the copy by then.
   */
  copy(direction: Direction, memory: Uint8Array, ours: Uint8Array): Promise<unknown>;
  /** Runs a buffered write in its turn among the file's writes. */
  inTurn(write: () => Promise<number>): Promise<number>;
  /** Runs a transfer with the options that the mount takes. */
  withOptions(how: number, transfer: (how: number) => Promise<number>): Promise<number>;
  counted(what: "bounced" | "buffered"): void;
  error(direction: Direction, errno: number): SystemError;
}

/** Part of a transfer, with the memory given to the kernel: the caller's own, or a copy if it's an arena's. */
interface Part {
  readonly memory: Uint8Array;
  readonly given: Uint8Array;
}

export class NodeCalls {
  readonly #host: NodeCallHost;

  constructor(host: NodeCallHost) {
    this.#host = host;
  }

  /**
   * Transfers the views and resolves to the number of bytes. A write is complete or rejects with `bytesWritten`.
   * `position` null means the open description's own.
   */
  async run(
    direction: Direction,
    views: readonly ArrayBufferView[],
    position: Position,
    how: number,
    observer?: WaitObserver,
  ): Promise<number> {
    const parts = views.map((view) => this.#part(direction, view));
    this.#host.counted("buffered");
    if (parts.some(({ memory, given }) => memory !== given)) this.#host.counted("bounced");
    if (direction === READ) return this.#read(parts, position, how, observer);
    await observed(observer, () => this.#take(parts));
    return this.#host.inTurn(() => this.#write(parts, position, how));
  }

  #part(direction: Direction, { buffer, byteOffset, byteLength }: ArrayBufferView): Part {
    const memory = viewOn(buffer, byteOffset, byteLength);
    if (memory === null) throw this.#host.error(direction, -EFAULT);
    if (segmentOf(buffer) === null) return { memory, given: memory };
    if (this.#host.isRefused(direction, memory)) throw this.#host.error(direction, -EFAULT);
    return { memory, given: new Uint8Array(byteLength) };
  }

  async #read(
    parts: readonly Part[],
    position: Position,
    how: number,
    observer: WaitObserver | undefined,
  ): Promise<number> {
    const done = await this.#call(READ, parts, position, how);
    let left = done;
    for (const { memory, given } of parts) {
      const bytes = Math.min(left, given.byteLength);
      if (memory !== given && bytes > 0)
        await observed(observer, () => this.#host.copy(READ, memory.subarray(0, bytes), given.subarray(0, bytes)));
      left -= bytes;
    }
    return done;
  }

  async #take(parts: readonly Part[]): Promise<void> {
    for (const { memory, given } of parts) if (memory !== given) await this.#host.copy(WRITE, memory, given);
  }

  async #write(parts: readonly Part[], position: Position, how: number): Promise<number> {
    const bytes = parts.reduce((sum, { given }) => sum + given.byteLength, 0);
    let done = 0;
    try {
      do {
        const at = position === null ? null : Number(position) + done;
        const written = await this.#call(WRITE, partsFrom(parts, done), at, how);
        done += written;
        if (written === 0) break;
      } while (done < bytes);
      return done;
    } catch (error) {
      (error as SystemError).bytesWritten = done;
      throw error;
    }
  }

  #call(direction: Direction, parts: readonly Part[], position: Position, how: number): Promise<number> {
    const views = parts.map(({ given }) => given);
    return this.#host.withOptions(how, async (now) => {
      const result = await this.#host.calls.transfer(direction, views, position, now & REQUEST_FLAGS);
      if (result < 0) throw this.#host.error(direction, result);
      return result;
    });
  }
}

/** View of the caller's memory; null if the buffer was shortened or transferred since the call. */
function viewOn(buffer: ArrayBufferLike, byteOffset: number, byteLength: number): Uint8Array | null {
  return byteOffset + byteLength <= buffer.byteLength ? new Uint8Array(buffer, byteOffset, byteLength) : null;
}

/** The parts that remain after `done` bytes. */
function partsFrom(parts: readonly Part[], done: number): Part[] {
  const left: Part[] = [];
  let skip = done;
  for (const part of parts) {
    const { memory, given } = part;
    if (skip === 0) left.push(part);
    else if (skip < given.byteLength) left.push({ memory, given: given.subarray(skip) });
    skip = Math.max(0, skip - given.byteLength);
  }
  return left;
}
