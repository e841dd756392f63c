/**
 * The state of an arena's chunks: one flat Int32Array, so that it can be shared between threads, copied and hashed as bytes.
 * Every change is an Atomics operation; nothing here allocates once it's made.
 */

import { invariant } from "./assert.js";
import { PAGE_BYTES } from "./ranges/pages.js";
import { alignDown, alignUp, isPowerOfTwo, overlaps, type Range } from "./ranges/ranges.js";

/** Words of a chunk. */
/** Requests in flight, by what the device does with the memory; and the LOOK bit. */
export const DEVICE_WRITES = 0;
export const DEVICE_READS = 1;
export const GATE = 2;
export const HELD = 3;
/** The lease's slot + 1; 0: none; REVALIDATE: none since an invalidation dropped it. */
export const LEASE = 4;
/** When a request last used the chunk, in ms of the engine's clock; 0: never. */
export const USED_MS = 5;
/** Pieces that the kernel would account a registration of this chunk in: 1 for a huge page, else its 4 KiB pages. */
export const SEGMENTS = 6;
/**
 * Changes by other code that the monitor has announced, and those of them that are over: while they differ, the pages are about to change,
 * or may have. Two may overlap. See announcements.ts.
 */
export const ANNOUNCED_BEGUN = 7;
export const ANNOUNCED_ENDED = 8;
/** Of these, unmappings; and those of them that the engine's thread has heard of. */
export const UNMAPS_BEGUN = 9;
export const UNMAPS_HEARD = 10;
/** Pages of 4 KiB that went per-io since the chunk came into use, and when that began (see leases.ts). */
export const MISSED = 11;
export const MISSED_SINCE_MS = 12;
/** Until when the chunk takes no lease, since its last one was held for `max`; 0: it may take one. */
export const RESTS_UNTIL_MS = 13;
/** A cache line: what another thread writes for one chunk doesn't slow down the next. */
export const CHUNK_WORDS = 16;

/** Bits of the GATE word. While it's 0 a request goes straight through. */
export const EXCLUDES_DEVICE_WRITES = 1;
export const EXCLUDES_DEVICE_READS = 2;
/** The invalidation in progress waits until the lease is gone. */
export const AWAITS_LEASE = 4;
/** The invalidation in progress counts this chunk among those it waits for. */
export const DRAINING = 8;
export const UNMAPPED = 16;
/** All of the chunk. */
export const READ_ONLY = 32;
/** Memory of a segment that takes no lease for as long as it exists. */
export const UNLEASABLE = 64;
export const REFUSED = 128;
/** A part of the chunk: it can't be registered as a whole, and the kernel says of each page what it is. */
export const PARTLY_READ_ONLY = 256;
/** A part of it was unmapped by other code: `isGone` says which. */
export const UNMAPPED_PART = 512;
/** An invalidation is in progress, whatever it concerns: there is never a second one on the chunk. */
export const INVALIDATED = 1024;

/** What lasts as long as the invalidation in progress. */
export const IN_PROGRESS = INVALIDATED | EXCLUDES_DEVICE_WRITES | EXCLUDES_DEVICE_READS | AWAITS_LEASE | DRAINING;
/** With any of these no registration is used, not even one for life: through it a device would write what is read-only. */
export const PROTECTED = READ_ONLY | PARTLY_READ_ONLY;
/** With any of these a chunk takes no lease. */
export const NO_LEASE = UNMAPPED | PROTECTED | UNLEASABLE | REFUSED | UNMAPPED_PART;

/** In the LEASE word. */
export const REVALIDATE = -1;

/**
 * Set in both counters while the GATE word isn't 0: the one atomic operation that counts a request in or out also says whether there's
 * anything to look at. (A second one would cost 13 to 17 ns on Node 20, of about 100 for all of a request.)
 */
export const LOOK = 1 << 30;

const HUGE_PAGE_BYTES = 2 << 20;

export class ChunkTable {
  /** The memory that is tracked; its start is on a chunk's boundary. */
  readonly range: Range;
  readonly chunkBytes: number;
  readonly chunks: number;
  readonly words: Int32Array;
  /** What other code has unmapped: somebody else's memory may be there now. Known to the engine's own thread. */
  readonly gone: Range[] = [];
  /** For each huge page, or each chunk that is only a part of one: 1 if it's known to be (in) a huge page. The engine's own thread knows. */
  readonly #huge: Uint8Array;
  readonly #areaBytes: number;

  /** `words` hands over the state that another thread made for the same range. */
  constructor(range: Range, chunkBytes: number, words?: Int32Array) {
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

  /** Whether anything in this range was unmapped by other code. */
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
    return this.load(chunk, word) & ~LOOK;
  }

  /** Bits of the GATE word. Only one thread at a time changes them for a chunk. */
  setBits(chunk: number, bits: number): void {
    const at = chunk * CHUNK_WORDS;
    Atomics.or(this.words, at + GATE, bits);
    Atomics.or(this.words, at + DEVICE_WRITES, LOOK);
    Atomics.or(this.words, at + DEVICE_READS, LOOK);
  }

  clearBits(chunk: number, bits: number): void {
    const at = chunk * CHUNK_WORDS;
    const left = Atomics.and(this.words, at + GATE, ~bits) & ~bits;
    if (left !== 0) return;
    Atomics.and(this.words, at + DEVICE_WRITES, ~LOOK);
    Atomics.and(this.words, at + DEVICE_READS, ~LOOK);
  }

  /**
   * Notes where in a range huge pages are, and where small ones: a huge page, or a part of one, is one segment. Without knowledge all is
   * counted in small pages.
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
