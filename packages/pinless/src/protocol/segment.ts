/** One mapping of an arena, and the locations of buffers in it. */

import type { WaitPolicy } from "./acceptance.js";
import { CHUNK_WORDS, type ChunkTable } from "./chunk-table.js";
import type { Direction } from "./direction.js";
import { PinlessError } from "./errors.js";
import type { Protocol } from "./protocol.js";
import type { FreeList } from "./ranges/free-list.js";
import { PAGE_BYTES } from "./ranges/pages.js";
import { alignOut, type Range } from "./ranges/ranges.js";
import type { BufferLocation } from "./scheme.js";

export interface Mapping {
  readonly buffer: ArrayBufferLike;
  readonly address: number;
}

/** Copies between staging memory and a mapped file; fails with an errno where a store would kill the process. */
export interface Copier {
  /**
   * READ copies from the staging memory at address `staging`, WRITE to it. Resolves to 0 or a negative errno, or to
   * "would wait" if an invalidation excludes the copy and its wait policy is NEVER_WAITS.
   */
  copy(
    direction: Direction,
    location: BufferLocation,
    staging: number,
    waitPolicy: WaitPolicy,
  ): Promise<number | "would wait">;
}

/** One mapping of an arena. */
export interface Segment {
  readonly buffer: ArrayBufferLike;
  /** Address of the buffer's first byte. */
  readonly bufferAddress: number;
  /** The part of the mapping that the arena uses: whole chunks. */
  readonly range: Range;
  readonly table: ChunkTable;
  readonly free: FreeList;
  /** Protocol of its engine. */
  readonly protocol: Protocol;
  /** Copier for a mapped file, into which no device may write (files/proc-self-mem.ts); null for anonymous memory. */
  readonly copier: Copier | null;
  /** The gate's number for it; -1 once it has been removed. */
  index: number;
  /** True once it's closing: no more I/O begins on it. */
  closed: boolean;
  /** For `lifetime`: the first buffer slot in which it's registered, or -1. */
  registeredSlot: number;
}

/** Segments of all engines of this thread. Weak, so that a closed arena's memory is collected with its last view. */
const segments = new WeakMap<ArrayBufferLike, Segment>();

export function noteSegment(segment: Segment): void {
  segments.set(segment.buffer, segment);
}

/** The segment that a buffer belongs to, of any engine, even if it's closed. */
export function segmentOf(buffer: ArrayBufferLike): Segment | null {
  return segments.get(buffer) ?? null;
}

/** Addresses of a view of the segment's buffer. */
export function rangeIn(segment: Segment, view: ArrayBufferView): Range {
  const start = segment.bufferAddress + view.byteOffset;
  return { start, end: start + view.byteLength };
}

/**
 * Key of the location that `alloc` stores on a buffer. Reading a typed array's `buffer` is a call into V8's C++, and
 * costs more than all the rest of a submission. Views of the buffer (`subarray`) lack the key and are looked up.
 */
export const LOCATION = Symbol("pinless.location");

export interface SegmentLocation extends BufferLocation {
  /** `FREED` once the buffer has been freed. */
  segment: Segment;
}

/** Placeholder for the segment of a freed buffer. It counts as closed, so that no request uses it. */
export const FREED = { closed: true } as Segment;

/**
 * True if the memory was freed or never allocated. For a view of a freed buffer this is known only until the memory is
 * allocated again.
 */
export function isFreed(view: ArrayBufferView): boolean {
  const location = (view as { [LOCATION]?: SegmentLocation })[LOCATION];
  if (location !== undefined) return location.segment === FREED;
  const segment = segmentOf(view.buffer);
  if (segment === null) return false;
  const { start } = segment.range;
  const { start: from, end } = rangeIn(segment, view);
  const range = { start: from - start, end: end - start };
  // In a mapped file, memory that was never allocated may be used too.
  return segment.copier !== null ? segment.free.hasRetired(range) : segment.free.hasFreed(range);
}

export function locationIn(segment: Segment, buffer: ArrayBufferView, address: number, bytes: number): SegmentLocation {
  const { table, index } = segment;
  return {
    segment,
    buffer,
    address,
    addressLow: address | 0,
    addressHigh: Math.floor(address / 2 ** 32),
    bytes,
    table: index,
    words: table.words,
    firstAt: table.chunkAt(address) * CHUNK_WORDS,
    lastAt: table.chunkAt(address + bytes - 1) * CHUNK_WORDS,
  };
}

/** Number of pages that the range touches. */
export function pagesOf(range: Range): number {
  const { start, end } = alignOut(range, PAGE_BYTES);
  return (end - start) / PAGE_BYTES;
}

/**
 * Rounds a range out to whole pages. Throws `ERR_PINLESS_RANGE` if one of them holds other bytes too. The last page of
 * a buffer from `alloc` never does.
 */
export function wholePages(part: Range, view: ArrayBufferView | undefined): Range {
  const whole = alignOut(part, PAGE_BYTES);
  if ((whole.start === part.start && whole.end === part.end) || (view !== undefined && LOCATION in view)) return whole;
  throw new PinlessError(
    "ERR_PINLESS_RANGE",
    `memory is protected in whole pages of ${PAGE_BYTES} bytes: this range would protect bytes beside it; ` +
      "take a buffer from alloc(), or whole pages of one",
  );
}

export function bytesAt(segment: Segment, { start, end }: Range): Uint8Array {
  return new Uint8Array(segment.buffer, start - segment.bufferAddress, end - start);
}
