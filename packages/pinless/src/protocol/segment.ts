/** One mapping of an arena, and where buffers are in it. */

import { CHUNK_WORDS, type ChunkTable } from "./chunk-table.js";
import { PinlessError } from "./errors.js";
import type { Gate } from "./gate.js";
import type { MmuNotifier } from "./notifier.js";
import type { FreeList } from "./ranges/free-list.js";
import { alignOut, type Range } from "./ranges/ranges.js";
import type { RequestPlace } from "./scheme.js";

export interface Mapping {
  readonly buffer: ArrayBufferLike;
  readonly address: number;
}

/** What copies between memory that can be pulled away and staging memory, and fails where a store would end the process. */
export interface Copier {
  /**
   * Resolves to 0 or a negative errno. `toMemory`: from the staging memory at that address; else to it. `patient`: it waits for memory as
   * long as it takes; if not, it resolves to "shut" instead.
   */
  copy(toMemory: boolean, place: RequestPlace, staging: number, patient: boolean): Promise<number | "shut">;
}

export const PAGE_BYTES = 4096;

/** One mapping of an arena. */
export interface Segment {
  readonly buffer: ArrayBufferLike;
  /** The address of the buffer's byte 0. */
  readonly bufferAddress: number;
  /** The part of it that is the arena's: whole chunks. */
  readonly range: Range;
  readonly table: ChunkTable;
  readonly free: FreeList;
  /** Those of its engine. */
  readonly gate: Gate;
  readonly notifier: MmuNotifier;
  /** Of a mapped file: no device may write into it (see copier.ts). Null: anonymous memory. */
  readonly copier: Copier | null;
  /** The gate's number for it; -1 once it's gone. */
  index: number;
  /** Closing: no I/O begins on it any more. */
  closed: boolean;
  /** `lifetime`: the first buffer slot it's registered in, or -1. */
  registeredSlot: number;
}

/** Of all engines of this thread. Weak: a closed arena's memory goes with its last view. */
const segments = new WeakMap<ArrayBufferLike, Segment>();

export function noteSegment(segment: Segment): void {
  segments.set(segment.buffer, segment);
}

/** The segment that a buffer is, whichever engine's; also once it's closed. */
export function segmentOf(buffer: ArrayBufferLike): Segment | null {
  return segments.get(buffer) ?? null;
}

/** The addresses of a view of the segment's buffer. */
export function rangeIn(segment: Segment, view: ArrayBufferView): Range {
  const start = segment.bufferAddress + view.byteOffset;
  return { start, end: start + view.byteLength };
}

/**
 * Where a buffer from `alloc` is, on the buffer itself: asking a typed array for its `buffer` is a call into V8's C++, and costs more than
 * all the rest of a submission. Views made of it (`subarray`) don't have it and are looked up.
 */
export const PLACE = Symbol("pinless.place");

export interface Place extends RequestPlace {
  /** `FREED` once the buffer was given back. */
  segment: Segment;
}

/** In the place of a segment: no request goes there. */
export const FREED = { closed: true } as Segment;

/** Whether the memory was given back, or never given out; of views made of a buffer only while it isn't somebody else's. */
export function isFreed(view: ArrayBufferView): boolean {
  const place = (view as { [PLACE]?: Place })[PLACE];
  if (place !== undefined) return place.segment === FREED;
  const segment = segmentOf(view.buffer);
  if (segment === null) return false;
  const { start } = segment.range;
  const { start: from, end } = rangeIn(segment, view);
  const range = { start: from - start, end: end - start };
  // Of a mapped file all is there, whether allocated or not.
  return segment.copier !== null ? segment.free.hasRetired(range) : segment.free.hasFreed(range);
}

export function placeIn(segment: Segment, buffer: ArrayBufferView, address: number, bytes: number): Place {
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

/** Pages that the range touches. */
export function pagesOf(range: Range): number {
  const { start, end } = alignOut(range, PAGE_BYTES);
  return (end - start) / PAGE_BYTES;
}

/** The pages that a range is, or throws `ERR_PINLESS_RANGE`: the last page of what `alloc` gave is nobody else's, others may be. */
export function wholePages(part: Range, view: ArrayBufferView | undefined): Range {
  const whole = alignOut(part, PAGE_BYTES);
  if ((whole.start === part.start && whole.end === part.end) || (view !== undefined && PLACE in view)) return whole;
  throw new PinlessError(
    "ERR_PINLESS_RANGE",
    `memory is protected in whole pages of ${PAGE_BYTES} bytes: this range would protect bytes beside it; take a buffer from alloc(), or whole pages of one`,
  );
}

export function bytesAt(segment: Segment, { start, end }: Range): Uint8Array {
  return new Uint8Array(segment.buffer, start - segment.bufferAddress, end - start);
}
