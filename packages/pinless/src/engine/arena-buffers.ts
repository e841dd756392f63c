/** Buffers of an arena: where they are in its segments, and which of them are allocated. */

import { argumentError, PinlessError } from "../protocol/errors.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import { alignUp, contains, type Range } from "../protocol/ranges/ranges.js";
import { FREED, LOCATION, locationIn, rangeIn, type Segment, type SegmentLocation } from "../protocol/segment.js";
import type { Part } from "./memory-operations.js";

export class ArenaBuffers {
  readonly segments: Segment[] = [];

  /** Allocates a buffer. `total` is the size of all segments, for the error message. */
  allocate(bytes: number, total: number): Uint8Array {
    const rounded = alignUp(bytes, PAGE_BYTES);
    for (const segment of this.segments) {
      const offset = segment.free.allocate(rounded, PAGE_BYTES);
      if (offset >= 0) return bufferAt(segment, segment.range.start + offset, bytes);
    }
    throw new PinlessError(
      "ERR_PINLESS_ARENA_FULL",
      `this arena of ${total} bytes has no free piece of ${bytes} bytes: free buffers, or grow() it`,
    );
  }

  /** Returns a view of the bytes at a position, counted over all segments. `total` as in `allocate`. */
  view(position: number, bytes: number, total: number): Uint8Array {
    const possible = Number.isSafeInteger(position) && Number.isSafeInteger(bytes) && bytes > 0;
    let start = 0;
    for (const segment of this.segments) {
      const { range } = segment;
      const end = start + range.end - range.start;
      if (possible && position >= start && position + bytes <= end)
        return bufferAt(segment, range.start + position - start, bytes);
      start = end;
    }
    throw argumentError(
      "ERR_OUT_OF_RANGE",
      `no mapped segment of the arena contains ${bytes} bytes from position ${position} on; it has ${total} bytes`,
    );
  }

  /** Position of a view's first byte, counted over all segments. */
  positionOf(view: ArrayBufferView): number {
    const { segment, part } = this.#locate(view);
    const before = this.segments.slice(0, this.segments.indexOf(segment));
    return before.reduce((sum, { range }) => sum + range.end - range.start, part.start - segment.range.start);
  }

  /** Retires an allocated buffer: new calls on it fail, and its memory isn't allocated again before its release. */
  retire(buffer: ArrayBufferView): { segment: Segment; range: Range; offset: number; bytes: number } {
    const { segment, part: range } = this.#locate(buffer);
    const offset = range.start - segment.range.start;
    const bytes = segment.free.allocatedAt(offset);
    if (bytes === undefined || alignUp(buffer.byteLength, PAGE_BYTES) !== bytes) {
      throw new PinlessError(
        "ERR_PINLESS_NOT_ALLOCATED",
        `the ${buffer.byteLength} bytes at ${offset} aren't a buffer from alloc(), or were freed: free a buffer once`,
      );
    }
    segment.free.retire(offset);
    const location = locationOf(buffer);
    if (location !== undefined) location.segment = FREED;
    return { segment, range, offset, bytes };
  }

  /** Undoes a retirement. */
  restore(segment: Segment, buffer: ArrayBufferView, offset: number, bytes: number): void {
    segment.free.restore(offset, bytes);
    const location = locationOf(buffer);
    if (location !== undefined) location.segment = segment;
  }

  /** Parts of segments that an operation changes: those of the view, or all segments. */
  partsOf(view: ArrayBufferView | undefined): Part[] {
    if (view === undefined) return this.segments.map((segment) => ({ segment, part: segment.range }));
    const found = this.#locate(view);
    const { segment, part } = found;
    const { start } = segment.range;
    if (
      locationOf(view)?.segment === FREED ||
      segment.free.hasRetired({ start: part.start - start, end: part.end - start })
    )
      throw new PinlessError(
        "ERR_PINLESS_NOT_ALLOCATED",
        "the range overlaps a buffer that was freed, or is being freed: use memory from alloc() until it's freed",
      );
    return [found];
  }

  #locate(view: ArrayBufferView): Part {
    if (!ArrayBuffer.isView(view))
      throw argumentError(
        "ERR_INVALID_ARG_TYPE",
        `the range must be a view of this arena's memory. Received ${typeof view}`,
      );
    const segment = this.segments.find(({ buffer }) => buffer === view.buffer);
    if (segment !== undefined) {
      const part = rangeIn(segment, view);
      if (contains(segment.range, part) && part.start < part.end) return { segment, part };
    }
    throw new PinlessError(
      "ERR_PINLESS_RANGE",
      `the range must be a non-empty view inside this arena. Received ${view.byteLength} bytes ` +
        (segment === undefined ? "of other memory" : `at ${view.byteOffset}`),
    );
  }
}

/** A view of a segment's memory that knows its location. */
export function bufferAt(segment: Segment, address: number, bytes: number): Uint8Array {
  const buffer = new Uint8Array(segment.buffer, address - segment.bufferAddress, bytes);
  return Object.defineProperty(buffer, LOCATION, { value: locationIn(segment, buffer, address, bytes) });
}

/** Location that `bufferAt` stored on the buffer; undefined on views made of it. */
function locationOf(buffer: ArrayBufferView): SegmentLocation | undefined {
  return (buffer as { [LOCATION]?: SegmentLocation })[LOCATION];
}
