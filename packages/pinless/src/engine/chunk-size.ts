/**
 * Size of a segment's chunks. A chunk is the memory that one lease covers. It's also the granularity of memory
 * operations: I/O on any part of a chunk waits while another part is changed.
 *
 * For each registration the kernel looks at all others, so many small ones are slow. With 2 GiB leased and other data
 * in the processor's cache, taking all leases again took 83 ms at 2 MiB each, 24 ms at 8 MiB and 14 ms at 16 MiB; with
 * 8 GiB it took 515, 186 and 152 ms (Linux 6.18). Larger chunks gain no more, and each lease then takes 0.1 to 0.3 ms,
 * during which the event loop waits.
 */

import type { MemoryResult } from "../ports/memory.js";
import type { MmuNotifier } from "../protocol/notifier.js";
import { intersect, overlaps, type Range } from "../protocol/ranges/ranges.js";

/** Maximum number of chunks in a segment, unless that needs larger chunks than are allowed. */
const CHUNKS = 128;

/** Share of huge pages above which a lease of a chunk costs about as much as one of huge pages only. */
const MOSTLY = 0.95;

export interface ChunkSizes {
  readonly chunkBytes: number;
  readonly largestChunkBytes: number;
}

/** Chunk size for a segment of `bytes` in huge pages; the segment has to begin on a multiple of it. */
export function wantedChunkBytes(bytes: number, { chunkBytes, largestChunkBytes }: ChunkSizes): number {
  let wanted = chunkBytes;
  while (wanted < largestChunkBytes && wanted * CHUNKS < bytes) wanted *= 2;
  return wanted;
}

/**
 * Chunk size of a prepared segment. It stays small in two cases: small pages are registered one by one, so larger
 * chunks gain nothing; and invalidations in progress on the range have been rounded out to small chunks.
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
