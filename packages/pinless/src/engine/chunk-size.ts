/**
 * How large the chunks of a segment are: what one lease covers, and what I/O waits by while a part of it is changed.
 *
 * A registration has the kernel look at every other one, so many small ones are slow: with all of 2 GiB leased and other things in the
 * processor's cache, to take them all again took 83 ms in leases of 2 MiB, 24 in those of 8 MiB and 14 in those of 16 MiB; of 8 GiB 515, 186
 * and 152 ms (Linux 6.18). Larger ones bring no more, and each takes 0.1 to 0.3 ms then, in which the event loop waits.
 */

import type { MemoryResult } from "../ports/memory.js";
import type { MmuNotifier } from "../protocol/notifier.js";
import { intersect, overlaps, type Range } from "../protocol/ranges/ranges.js";

/** As many chunks as a segment has at most, unless that takes larger ones than are allowed. */
const CHUNKS = 128;

/** Of its pages are huge: then a chunk costs about what one of huge pages alone does. */
const MOSTLY = 0.95;

export interface ChunkSizes {
  readonly chunkBytes: number;
  readonly largestChunkBytes: number;
}

/** The size that a segment of so many bytes is to have, if its pages are huge: it must begin on such a boundary. */
export function wantedChunkBytes(bytes: number, { chunkBytes, largestChunkBytes }: ChunkSizes): number {
  let wanted = chunkBytes;
  while (wanted < largestChunkBytes && wanted * CHUNKS < bytes) wanted *= 2;
  return wanted;
}

/**
 * The size that it has. Small pages are registered one by one, so there larger chunks bring nothing; and what is in progress on the range has
 * been rounded out to small ones.
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
