/**
 * Table of a segment's chunks: one flat Int32Array, which threads can share, and which can be copied and hashed as
 * bytes. The requests in flight and the GATE word are for the engine's thread alone, and need no Atomics operations,
 * each of which costs 8 to 17 ns on Node 20. Only the constructor allocates.
 */

import { invariant } from "./assert.js";
import { type Direction, WRITE } from "./direction.js";
import { HUGE_PAGE_BYTES, PAGE_BYTES } from "./ranges/pages.js";
import { alignDown, alignUp, isPowerOfTwo, overlaps, type Range } from "./ranges/ranges.js";

// Words of a chunk.

/** Requests in flight in which the device writes to the memory (reads of a file). */
export const DEVICE_WRITES = 0;
/** Requests in flight in which the device reads the memory (writes of a file). */
export const DEVICE_READS = 1;
/** Bits that say which requests may begin; 0: all. */
export const GATE = 2;
/** Requests that are held until an invalidation ends. */
export const HELD = 3;
/** Slot of the chunk's lease + 1; 0: no lease; REVALIDATE: no lease, since an invalidation dropped it. */
export const LEASE = 4;
/** Time of the last use by a request, in ms of the engine's clock; 0: never used. */
export const USED_MS = 5;
/** Pieces of a registration of this chunk, as the kernel counts them: a huge page is one, and so is any other page. */
export const SEGMENTS = 6;
/**
 * Changes by other code that the monitor has announced, and concluded. While the two differ, the pages may be going
 * away. Changes may overlap (monitor/deferred-changes.ts).
 */
export const ANNOUNCED_BEGUN = 7;
export const ANNOUNCED_ENDED = 8;
/** Announced changes that are unmaps, and those of them that the engine's thread knows of. */
export const UNMAPS_BEGUN = 9;
export const UNMAPS_HEARD = 10;
/** Pages of 4 KiB that went per-io since the chunk came into use, and the time when that began (leases.ts). */
export const MISSED = 11;
export const MISSED_SINCE_MS = 12;
/** Time until which the chunk takes no lease, since its last one was held for `max`; 0: it may take one. */
export const RESTS_UNTIL_MS = 13;
/** For memory of another thread's engine: the number of changes that were announced when the lease was taken. */
export const LEASED_AT = 14;
/** One cache line, so that a thread's stores for one chunk don't slow down another thread at the next. */
export const CHUNK_WORDS = 16;

// Bits of the GATE word.

/** No request begins in which the device would write to the memory. */
export const EXCLUDES_DEVICE_WRITES = 1;
/** No request begins in which the device would read the memory. */
export const EXCLUDES_DEVICE_READS = 2;
/** The invalidation in progress waits until the chunk's lease has ended. */
export const AWAITS_LEASE = 4;
/** The invalidation in progress counts this chunk among those it waits for. */
export const DRAINING = 8;
/** All of the chunk was unmapped: requests fail with EFAULT. */
export const UNMAPPED = 16;
/** All of the chunk is read-only. */
export const READ_ONLY = 32;
/** The segment never takes a lease. */
export const UNLEASABLE = 64;
/** The engine is closed: requests fail with EFAULT. */
export const REFUSED = 128;
/** A part of the chunk is read-only: the chunk can't be registered, and the kernel decides page by page. */
export const PARTLY_READ_ONLY = 256;
/** A part of the chunk was unmapped by other code: `isGone` says which. */
export const UNMAPPED_PART = 512;
/** An invalidation is in progress, of any event. There is never a second one on the chunk. */
export const INVALIDATED = 1024;
/** The memory is another thread's engine's, whose announcements apply too (`ChunkTable.owner`). */
export const ATTACHED = 2048;

/** Bits that the end of an invalidation clears. */
export const IN_PROGRESS = INVALIDATED | EXCLUDES_DEVICE_WRITES | EXCLUDES_DEVICE_READS | AWAITS_LEASE | DRAINING;
/** Bits that forbid any registration, also one for life: through it a device would write to read-only memory. */
export const PROTECTED = READ_ONLY | PARTLY_READ_ONLY;
/** Bits that forbid a lease. */
export const NO_LEASE = UNMAPPED | PROTECTED | UNLEASABLE | REFUSED | UNMAPPED_PART;

/** Value of the LEASE word after an invalidation has dropped the lease. */
export const REVALIDATE = -1;

/** The word that counts requests of this direction: a write to the file is a device read of the memory. */
export function deviceAccess(direction: Direction): number {
  return direction === WRITE ? DEVICE_READS : DEVICE_WRITES;
}

/** Words of the engine that owns a shared arena (owner-words.ts). */
export interface OwnerWords {
  /** The words of the owner's chunk table of the same range. */
  readonly chunks: Int32Array;
  /** The owner's reading word. */
  readonly reading: Int32Array;
}

export class ChunkTable {
  /** The memory that is tracked; its start is on a chunk's boundary. */
  readonly range: Range;
  readonly chunkBytes: number;
  readonly chunks: number;
  readonly words: Int32Array;
  /**
   * Ranges that other code has unmapped, and where other memory may be mapped now. Only the engine's thread uses it.
   */
  readonly gone: Range[] = [];
  /** The owner's words, if the memory is another thread's engine's; otherwise null. */
  readonly owner: OwnerWords | null;
  /**
   * One byte for each area of a huge page's size, or of a smaller chunk: 1 if the area is known to be in a huge page.
   */
  readonly #huge: Uint8Array;
  readonly #areaBytes: number;

  /** `words` is the state that another thread has allocated for the same range; by default a new one. */
  constructor(range: Range, chunkBytes: number, words?: Int32Array, owner: OwnerWords | null = null) {
    invariant("STATE", isPowerOfTwo(chunkBytes), `a chunk of ${chunkBytes} bytes`);
    invariant(
      "STATE",
      alignDown(range.start, chunkBytes) === range.start,
      `an arena at ${range.start} isn't on a chunk's boundary`,
    );
    this.range = range;
    this.chunkBytes = chunkBytes;
    this.chunks = alignUp(range.end - range.start, chunkBytes) / chunkBytes;
    this.words = words ?? new Int32Array(new SharedArrayBuffer(this.chunks * CHUNK_WORDS * 4));
    invariant(
      "STATE",
      this.words.length === this.chunks * CHUNK_WORDS,
      `${this.words.length} words for ${this.chunks} chunks`,
    );
    this.#areaBytes = Math.min(chunkBytes, HUGE_PAGE_BYTES);
    this.#huge = new Uint8Array(Math.ceil((range.end - range.start) / this.#areaBytes));
    if (words === undefined) this.notePages(range, () => false);
    this.owner = owner;
    if (owner !== null) for (let c = 0; c < this.chunks; c++) this.setBits(c, ATTACHED);
  }

  /** The chunk that holds `address`. */
  chunkAt(address: number): number {
    return Math.floor((address - this.range.start) / this.chunkBytes);
  }

  /** The memory of a chunk; the last one may be short. */
  rangeOf(chunk: number): Range {
    const start = this.range.start + chunk * this.chunkBytes;
    return { start, end: Math.min(start + this.chunkBytes, this.range.end) };
  }

  /** First and last chunk of `r` in this table, or null where they don't meet. */
  chunksOf(r: Range): { first: number; last: number } | null {
    if (r.start >= this.range.end || r.end <= this.range.start || r.end <= r.start) return null;
    const first = r.start <= this.range.start ? 0 : this.chunkAt(r.start);
    const last = r.end >= this.range.end ? this.chunks - 1 : this.chunkAt(r.end - 1);
    return { first, last };
  }

  /** True if other code has unmapped a part of this range. */
  isGone(r: Range): boolean {
    return this.gone.some((gone) => overlaps(gone, r));
  }

  load(chunk: number, word: number): number {
    return Atomics.load(this.words, chunk * CHUNK_WORDS + word);
  }

  store(chunk: number, word: number, value: number): void {
    Atomics.store(this.words, chunk * CHUNK_WORDS + word, value);
  }

  /** Returns the new value. */
  add(chunk: number, word: number, by: number): number {
    return Atomics.add(this.words, chunk * CHUNK_WORDS + word, by) + by;
  }

  /** Requests in flight on the chunk, in one direction. */
  inFlight(chunk: number, word: typeof DEVICE_WRITES | typeof DEVICE_READS): number {
    return this.load(chunk, word);
  }

  /** Sets bits of the GATE word. */
  setBits(chunk: number, bits: number): void {
    this.words[chunk * CHUNK_WORDS + GATE]! |= bits;
  }

  clearBits(chunk: number, bits: number): void {
    this.words[chunk * CHUNK_WORDS + GATE]! &= ~bits;
  }

  /**
   * Notes which areas of a range are huge pages: each counts as one piece of a registration. All other memory counts as
   * small pages.
   */
  notePages(range: Range, isHuge: (area: Range) => boolean): void {
    const chunks = this.chunksOf(range);
    if (chunks === null) return;
    for (let c = chunks.first; c <= chunks.last; c++) {
      const chunk = this.rangeOf(c);
      let segments = 0;
      for (let start = chunk.start; start < chunk.end; start += this.#areaBytes) {
        const area = { start, end: Math.min(start + this.#areaBytes, chunk.end) };
        const number = (start - this.range.start) / this.#areaBytes;
        if (overlaps(area, range)) this.#huge[number] = isHuge(area) ? 1 : 0;
        segments += this.#huge[number] === 1 ? 1 : Math.max(1, (area.end - area.start) / PAGE_BYTES);
      }
      this.store(c, SEGMENTS, segments);
    }
  }
}
