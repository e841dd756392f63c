/**
 * Size of a segment's chunks. A chunk is the memory that one lease covers, and that I/O waits by while a part of it is
 * changed.
 *
 * A registration has the kernel look at every other one, so many small ones are slow: with all of 2 GiB leased and
 * other data in the processor's cache, taking all leases again took 83 ms at 2 MiB each, 24 ms at 8 MiB and 14 ms at 16
 * MiB; with 8 GiB 515, 186 and 152 ms (Linux 6.18). Larger ones bring no more, and each then takes 0.1 to 0.3 ms, in
 * which the event loop waits.
 */

import type { MemoryResult } from "../ports/memory.js";
import type { MmuNotifier } from "../protocol/notifier.js";
import { intersect, overlaps, type Range } from "../protocol/ranges/ranges.js";

/** Most chunks of a segment, unless that takes larger chunks than are allowed. */
const CHUNKS = 128;

/** Share of huge pages from which on a chunk costs about as much as one that has only huge pages. */
const MOSTLY = 0.95;

export interface ChunkSizes {
  readonly chunkBytes: number;
  readonly largestChunkBytes: number;
}

/** The chunk size for a segment of so many bytes of huge pages; the segment has to begin on such a boundary. */
export function wantedChunkBytes(bytes: number, { chunkBytes, largestChunkBytes }: ChunkSizes): number {
  let wanted = chunkBytes;
  while (wanted < largestChunkBytes && wanted * CHUNKS < bytes) wanted *= 2;
  return wanted;
}

/**
 * The chunk size of a segment. Small pages are registered one by one, so larger chunks bring nothing there; and
 * invalidations in progress on the range were rounded out to small chunks.
 */
export function chunkBytesOf(range: Range, { huge }: MemoryResult, sizes: ChunkSizes, notifier: MmuNotifier): number {
  const isHuge = hugeBytes(range, huge ?? []) >= MOSTLY * (range.end - range.start);
  const isIdle = notifier.on(range).length === 0 && !notifier.waiting.some((each) => overlaps(each.range, range));
  return isHuge && isIdle ? wantedChunkBytes(range.end - range.start, sizes) : sizes.chunkBytes;
}

function hugeBytes(range: Range, pieces: readonly Range[]): number {
  let bytes = 0;
  for (const piece of pieces) {
    const { start, end } = intersect(piece, range);
    bytes += Math.max(0, end - start);
  }
  return bytes;
}
