/** Plan of many reads of one file: its ranges sorted, near ones merged, and what is read cut into requests. */

import { alignDown, alignUp } from "../protocol/ranges/ranges.js";

/** Maximum size of a request: several of them fit into a piece of staging memory. */
export const REQUEST_BYTES = 128 << 10;

/** Limits on the bytes that are read only because ranges were merged. */
export interface MergeLimits {
  readonly mergeWithinBytes: number;
  readonly amplificationMax: number;
}

/** One range that was asked for. */
export interface Target {
  readonly position: number;
  /** Position after its last byte. */
  readonly end: number;
  readonly memory: Uint8Array;
  /** True if the caller gave the memory. */
  readonly isGiven: boolean;
  /** Bytes that the file has of it, from its beginning on. */
  bytes: number;
}

/** One request: whole blocks of the file, and the ranges that get bytes of them. */
export interface PlannedRead {
  readonly position: number;
  readonly bytes: number;
  readonly targets: readonly Target[];
}

/**
 * Yields the requests for ranges in order of position, none of them empty. Ranges that share a block or touch are read
 * together. So are those with a gap of at most `mergeWithinBytes` between their blocks, as long as all that is read
 * together is at most `amplificationMax` times the blocks that it needs.
 */
export function* plannedReads(targets: readonly Target[], align: number, limits: MergeLimits): Generator<PlannedRead> {
  for (let first = 0; first < targets.length; ) {
    const start = alignDown(targets[first]!.position, align);
    let end = alignUp(targets[first]!.end, align);
    let needed = end - start;
    let next = first + 1;
    for (; next < targets.length; next++) {
      const { position, end: last } = targets[next]!;
      const from = Math.max(end, alignDown(position, align));
      const to = Math.max(end, alignUp(last, align));
      if (from - end > limits.mergeWithinBytes) break;
      if (from > end && to - start > limits.amplificationMax * (needed + to - from)) break;
      needed += to - from;
      end = to;
    }
    yield* requestsFor(targets, first, next, start, end);
    first = next;
  }
}

/** Cuts the blocks of the ranges from `first` to before `next` into requests. */
function* requestsFor(
  targets: readonly Target[],
  first: number,
  next: number,
  start: number,
  end: number,
): Generator<PlannedRead> {
  let begun: Target[] = [];
  let at = first;
  for (let position = start; position < end; position += REQUEST_BYTES) {
    const edge = Math.min(end, position + REQUEST_BYTES);
    begun = begun.filter((target) => target.end > position);
    while (at < next && targets[at]!.position < edge) begun.push(targets[at++]!);
    if (begun.length > 0) yield { position, bytes: edge - position, targets: begun };
  }
}
