/** One mapping of an arena, and where buffers are in it. */

import { CHUNK_WORDS, type ChunkTable } from "./core/chunk-table.js";
import type { FreeList } from "./core/free-list.js";
import type { Gate } from "./core/gate.js";
import type { MmuNotifier } from "./core/notifier.js";
import type { RequestPlace } from "./core/ports.js";
import type { Range } from "./core/ranges.js";

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
  readonly segment: Segment;
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
