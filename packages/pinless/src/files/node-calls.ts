/**
 * Transfers by single calls of the kernel's through the page cache, exactly as node:fs makes them: at the open description's own position
 * where others may have that too, of what appends (a record in one call stays whole), and of what the kernel makes up (devices, /proc).
 */

import type { DescriptorCalls } from "../ports/opened-file.js";
import { EFAULT } from "../protocol/errno.js";
import type { SystemError } from "../protocol/errors.js";
import { segmentOf } from "../protocol/segment.js";
import { type Pause, paused } from "./pause.js";
import type { Position } from "./position-arguments.js";

interface NodeCallHost {
  readonly calls: DescriptorCalls;
  /** Whether `copy` would be refused now: asked before anything is read. */
  isRefused(write: boolean, memory: Uint8Array): boolean;
  /** Between arena memory and ours; rejects with EFAULT where it's refused by then. May wait for memory as long as that takes. */
  copy(write: boolean, memory: Uint8Array, ours: Uint8Array): Promise<unknown>;
  /** Writes when it's the file's turn for that. */
  inTurn(write: () => Promise<number>): Promise<number>;
  counted(what: "bounced" | "buffered"): void;
  error(write: boolean, errno: number): SystemError;
}

/** A part of a transfer, and the memory that the kernel is given for it: the same, or, for an arena's, a copy. */
interface Part {
  readonly memory: Uint8Array;
  readonly given: Uint8Array;
}

export class NodeCalls {
  readonly #host: NodeCallHost;

  constructor(host: NodeCallHost) {
    this.#host = host;
  }

  /** Bytes transferred; a write is whole, or rejects with `bytesWritten`. `position` null: the open description's. */
  async run(write: boolean, views: readonly ArrayBufferView[], position: Position, pause?: Pause): Promise<number> {
    const parts = views.map((view) => this.#part(write, view));
    this.#host.counted("buffered");
    if (parts.some(({ memory, given }) => memory !== given)) this.#host.counted("bounced");
    if (!write) return this.#read(parts, position, pause);
    await paused(pause, () => this.#take(parts));
    return this.#host.inTurn(() => this.#write(parts, position));
  }

  #part(write: boolean, { buffer, byteOffset, byteLength }: ArrayBufferView): Part {
    const memory = viewOn(buffer, byteOffset, byteLength);
    if (memory === null) throw this.#host.error(write, -EFAULT);
    if (segmentOf(buffer) === null) return { memory, given: memory };
    if (this.#host.isRefused(write, memory)) throw this.#host.error(write, -EFAULT);
    return { memory, given: new Uint8Array(byteLength) };
  }

  async #read(parts: readonly Part[], position: Position, pause: Pause | undefined): Promise<number> {
    const done = await this.#call(false, parts, position);
    let left = done;
    for (const { memory, given } of parts) {
      const bytes = Math.min(left, given.byteLength);
      if (memory !== given && bytes > 0)
        await paused(pause, () => this.#host.copy(false, memory.subarray(0, bytes), given.subarray(0, bytes)));
      left -= bytes;
    }
    return done;
  }

  async #take(parts: readonly Part[]): Promise<void> {
    for (const { memory, given } of parts) if (memory !== given) await this.#host.copy(true, memory, given);
  }

  async #write(parts: readonly Part[], position: Position): Promise<number> {
    const bytes = parts.reduce((sum, { given }) => sum + given.byteLength, 0);
    let done = 0;
    try {
      do {
        const at = position === null ? null : Number(position) + done;
        const written = await this.#call(true, partsFrom(parts, done), at);
        done += written;
        if (written === 0) break;
      } while (done < bytes);
      return done;
    } catch (error) {
      (error as SystemError).bytesWritten = done;
      throw error;
    }
  }

  async #call(write: boolean, parts: readonly Part[], position: Position): Promise<number> {
    const views = parts.map(({ given }) => given);
    const result = await this.#host.calls.transfer(write, views, position);
    if (result < 0) throw this.#host.error(write, result);
    return result;
  }
}

/** Null where the buffer has been cut shorter or taken away since the call was made. */
function viewOn(buffer: ArrayBufferLike, byteOffset: number, byteLength: number): Uint8Array | null {
  return byteOffset + byteLength <= buffer.byteLength ? new Uint8Array(buffer, byteOffset, byteLength) : null;
}

/** What is left after `done` bytes. */
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
