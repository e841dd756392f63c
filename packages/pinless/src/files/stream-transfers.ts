/**
 * Transfers on pipes, terminals and sockets. They may wait for ever, so they use staging memory and no memory operation
 * has to wait for them. A read is copied to the caller's memory after the bytes have come, outside of any invalidation;
 * bytes that can't be delivered are kept for the next read, because a pipe gives them only once. The bytes of a write
 * are copied at a single moment.
 */

import { type Direction, READ, WRITE } from "../protocol/direction.js";
import { ECANCELED, EFAULT, EINTR } from "../protocol/errno.js";
import type { SystemError } from "../protocol/errors.js";
import { segmentOf } from "../protocol/segment.js";
import { PIPE_PIECE_BYTES, type StagingMemory } from "./staging-memory.js";
import type { CancellableCall, StreamCallLimits } from "./stream-call-limits.js";

export interface StreamTransferHost {
  readonly staging: StagingMemory;
  readonly streamCalls: StreamCallLimits;
  /** True if `copy` would be refused now; asked before any bytes are read. */
  isRefused(direction: Direction, memory: Uint8Array): boolean;
  /** Copies between a caller's memory and staging memory; rejects with EFAULT if it's refused by then. */
  copy(direction: Direction, memory: Uint8Array, piece: Uint8Array): Promise<void>;
  /** Issues one request. `ended` can withdraw it while it's waiting to be accepted. */
  issue(direction: Direction, piece: Uint8Array, ended: () => boolean): Promise<number>;
  cancel(piece: Uint8Array): void;
  error(direction: Direction, errno: number): SystemError;
}

export class StreamTransfers {
  readonly #host: StreamTransferHost;
  /**
   * Tail of the queue of reads, and of writes: each runs one at a time, but a waiting read doesn't delay a write to the
   * same socket.
   */
  #reads: Promise<unknown> = Promise.resolve();
  #writes: Promise<unknown> = Promise.resolve();
  /** Bytes read by a call that was aborted; the next read gets them first. */
  #left: Uint8Array = new Uint8Array(0);
  readonly #calls = new Set<CancellableCall>();

  constructor(host: StreamTransferHost) {
    this.#host = host;
  }

  /**
   * Transfers the views, none of them empty. A read resolves to what was there; a write is complete or rejects with
   * `bytesWritten`.
   */
  async run(direction: Direction, views: readonly Uint8Array[], call: CancellableCall): Promise<number> {
    this.#calls.add(call);
    const begin = (): Promise<number> => (direction === WRITE ? this.#write(views, call) : this.#read(views, call));
    const turn = (direction === WRITE ? this.#writes : this.#reads).then(begin);
    const over = turn.catch(() => {}).then(() => this.#calls.delete(call));
    if (direction === WRITE) this.#writes = over;
    else this.#reads = over;
    return turn;
  }

  /** Ends every call, also those still queued; those of streams only if `forced`. */
  end(errno: number, forced: boolean): void {
    for (const call of this.#calls) if (forced || !call.ofStream) call.end(errno);
  }

  /** Puts bytes back in front of everything that is still to be read. */
  giveBack(parts: readonly Uint8Array[]): void {
    const all = [...parts, this.#left];
    const left = new Uint8Array(total(all));
    let at = 0;
    for (const part of all) {
      left.set(part, at);
      at += part.byteLength;
    }
    this.#left = left;
  }

  async #read(views: readonly Uint8Array[], call: CancellableCall): Promise<number> {
    if (this.#host.isRefused(READ, views[0]!)) throw this.#host.error(READ, -EFAULT);
    if (this.#left.byteLength > 0) {
      const left = this.#left;
      this.#left = new Uint8Array(0);
      return this.#deliver(views, left);
    }
    const piece = await this.#host.staging.acquire(Math.min(total(views), PIPE_PIECE_BYTES));
    try {
      const bytes = await this.#wait(READ, piece, call);
      return await this.#deliver(views, piece.subarray(0, bytes));
    } finally {
      await this.#host.staging.release(piece);
    }
  }

  /** Copies what was read to the views, as far as there is room and the memory accepts it. */
  async #deliver(views: readonly Uint8Array[], bytes: Uint8Array): Promise<number> {
    let done = 0;
    try {
      for (const view of views) {
        const part = bytes.subarray(done, done + view.byteLength);
        if (part.byteLength > 0) await this.#host.copy(READ, view.subarray(0, part.byteLength), part);
        done += part.byteLength;
      }
    } catch (error) {
      if (done === 0) throw error;
    } finally {
      if (done < bytes.byteLength) this.giveBack([bytes.subarray(done)]);
    }
    return done;
  }

  async #write(views: readonly Uint8Array[], call: CancellableCall): Promise<number> {
    let done = 0;
    try {
      const all = [];
      for (const view of views) all.push(await this.#asOfNow(view));
      for (const view of all) {
        for (let at = 0; at < view.byteLength; at += PIPE_PIECE_BYTES)
          done += await this.#writePiece(view.subarray(at, at + PIPE_PIECE_BYTES), call);
      }
      return done;
    } catch (error) {
      (error as SystemError).bytesWritten = done + ((error as SystemError).bytesWritten ?? 0);
      throw error;
    }
  }

  /** Copies a large write from an arena at once, so that no discard can come between two pieces of it. */
  async #asOfNow(view: Uint8Array): Promise<Uint8Array> {
    if (view.byteLength <= PIPE_PIECE_BYTES || segmentOf(view.buffer) === null) return view;
    const copy = new Uint8Array(view.byteLength);
    await this.#host.copy(WRITE, view, copy);
    return copy;
  }

  /** Writes one piece completely, by several requests if the pipe has room for a part only. */
  async #writePiece(part: Uint8Array, call: CancellableCall): Promise<number> {
    const piece = await this.#host.staging.acquire(part.byteLength);
    let done = 0;
    try {
      await this.#host.copy(WRITE, part, piece);
      while (done < piece.byteLength) {
        done += await this.#wait(WRITE, done === 0 ? piece : piece.subarray(done), call);
      }
      return done;
    } catch (error) {
      (error as SystemError).bytesWritten = done;
      throw error;
    } finally {
      await this.#host.staging.release(piece);
    }
  }

  /** Issues one request and waits for it, however long that takes. */
  async #wait(direction: Direction, piece: Uint8Array, call: CancellableCall): Promise<number> {
    const { streamCalls } = this.#host;
    if (!(await streamCalls.take(direction, call))) throw this.#host.error(direction, -call.errno);
    try {
      const issue = (): Promise<number> => this.#host.issue(direction, piece, () => call.errno !== 0);
      return await call.during(() => this.#host.cancel(piece), issue);
    } catch (error) {
      const { errno } = error as SystemError;
      // If the call was ended early, the reason for that replaces the cancellation's own errno; other errors stay.
      if (call.errno !== 0 && (errno === -ECANCELED || errno === -EINTR))
        throw this.#host.error(direction, -call.errno);
      throw error;
    } finally {
      streamCalls.give(direction);
    }
  }
}

function total(views: readonly Uint8Array[]): number {
  return views.reduce((sum, { byteLength }) => sum + byteLength, 0);
}
