/** The segments that the monitor follows, and their chunks that a range of memory meets. */

import { CHUNK_WORDS } from "../chunk-table.js";
import { alignDown, overlaps, type Range } from "../ranges/ranges.js";
import type { Caller } from "./caller-tracking.js";
import type { SegmentChunks } from "./deferred-changes.js";
import type { FollowedSegment } from "./messages.js";

/** Chunks of one segment, with the id of the lease table that holds their leases (LeaseClock), or -1. */
export interface LeasedChunks extends SegmentChunks {
  readonly watched: number;
}

export class FollowedSegments {
  readonly #segments = new Map<number, FollowedSegment>();

  add(segment: FollowedSegment): void {
    this.#segments.set(segment.id, segment);
  }

  /** Returns false if the segment isn't followed. */
  delete(id: number): boolean {
    return this.#segments.delete(id);
  }

  meet(range: Range): boolean {
    for (const segment of this.#segments.values()) if (overlaps(segment.range, range)) return true;
    return false;
  }

  /** The chunks that these ranges meet; without ranges, all of them. */
  chunksOf(ranges?: readonly Range[]): LeasedChunks[] {
    return [...this.#segments.values()].flatMap(({ range: whole, chunkBytes, words, watched }) =>
      (ranges ?? [whole])
        .filter((range) => overlaps(range, whole))
        .map(({ start, end }) => ({
          words,
          watched,
          first: Math.max(0, alignDown(start - whole.start, chunkBytes) / chunkBytes),
          last: Math.min(words.length / CHUNK_WORDS, Math.ceil((end - whole.start) / chunkBytes)) - 1,
        })),
    );
  }

  /** True if a call affects followed memory beyond this event's range, so that it will raise another event. */
  hasMore({ ranges }: Caller, event: Range): boolean {
    const last = [...ranges].reverse().find((range) => this.meet(range));
    if (last === undefined) return false;
    const ends = [...this.#segments.values()].map(({ range }) => range).filter((range) => overlaps(range, last));
    return event.end !== Math.min(last.end, Math.max(...ends.map(({ end }) => end)));
  }
}
