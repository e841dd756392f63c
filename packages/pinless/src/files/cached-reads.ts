/**
 * Small reads of what the page cache has, made at once on this thread: a request would cost two switches to a worker of
 * the kernel, ten times the read. None of them waits for a device.
 */

import type { DescriptorCalls } from "../ports/opened-file.js";
import { EAGAIN } from "../protocol/errno.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import type { Loop } from "../protocol/scheme.js";
import { segmentOf } from "../protocol/segment.js";

/** Longest read: copying as much takes a few microseconds. */
const MOST_BYTES = 32 << 10;
/** Size from which a read asks first if the page cache has all of it. */
const LARGE_BYTES = 256 << 10;
/** Reads in a turn of the event loop, which timers and sockets need too: a tenth of a millisecond. */
const MOST_IN_A_TURN = 32;
/** Pages that are remembered. */
const PAGES = 256;

interface CachedReadsHost {
  readonly calls: Pick<DescriptorCalls, "isCached" | "readCached">;
  readonly loop: Pick<Loop, "soon">;
  counted(what: "bounced" | "buffered"): void;
}

export class CachedReads {
  readonly #host: CachedReadsHost;
  /**
   * Numbers of pages that a request has read, plus one, by their last bits. The first reader of a page may have to read
   * ahead, even one that doesn't wait: then the kernel looks up blocks, and queues for the device.
   */
  #seen: Float64Array | null = null;
  #left = MOST_IN_A_TURN;
  /** Resolves in the next turn of the event loop; null if no read waits for that. */
  #nextTurn: Promise<void> | null = null;
  /** True if the kernel or the filesystem has no such reads. */
  #isRefused = false;

  constructor(host: CachedReadsHost) {
    this.#host = host;
  }

  /** True for a large read into ordinary memory if the page cache has all of it: copying from there adds no pages. */
  isAtHand({ buffer, byteLength }: ArrayBufferView, position: number): boolean {
    return byteLength >= LARGE_BYTES && segmentOf(buffer) === null && this.#host.calls.isCached(position, byteLength);
  }

  /** Reads at once if that's possible, and otherwise by `request`. Resolves to the number of bytes. */
  async read(view: ArrayBufferView, position: number, request: () => Promise<number>): Promise<number> {
    const { buffer, byteOffset, byteLength } = view;
    // Memory of an arena may be closed by a memory operation.
    const fits = byteLength > 0 && byteLength <= MOST_BYTES && segmentOf(buffer) === null;
    if (fits && !this.#isRefused && this.#hasSeen(position, byteLength)) {
      while (this.#left === 0) await this.#turn();
      // The buffer may have been transferred since the call: a request says so.
      if (byteOffset + byteLength > buffer.byteLength) return request();
      this.#left--;
      const bytes = this.#host.calls.readCached(new Uint8Array(buffer, byteOffset, byteLength), position);
      // A short read needn't be at the end of the file: a request finds out.
      if (bytes === byteLength) {
        this.#host.counted("buffered");
        this.#host.counted("bounced");
        return bytes;
      }
      this.#isRefused = bytes < 0 && bytes !== -EAGAIN;
    }
    const bytes = await request();
    if (fits) this.#note(position, bytes);
    return bytes;
  }

  #turn(): Promise<void> {
    this.#nextTurn ??= new Promise((resolve) => {
      this.#host.loop.soon(() => {
        this.#left = MOST_IN_A_TURN;
        this.#nextTurn = null;
        resolve();
      });
    });
    return this.#nextTurn;
  }

  #hasSeen(position: number, bytes: number): boolean {
    if (this.#seen === null) return false;
    const last = Math.floor((position + bytes - 1) / PAGE_BYTES);
    for (let page = Math.floor(position / PAGE_BYTES); page <= last; page++)
      if (this.#seen[page % PAGES] !== page + 1) return false;
    return true;
  }

  #note(position: number, bytes: number): void {
    this.#seen ??= new Float64Array(PAGES);
    for (let page = Math.floor(position / PAGE_BYTES); page * PAGE_BYTES < position + bytes; page++)
      this.#seen[page % PAGES] = page + 1;
  }
}
