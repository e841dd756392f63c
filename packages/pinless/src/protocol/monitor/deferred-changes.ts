/**
 * What the monitor announces: other code is about to take pages of a chunk away, or just has, and nobody could wait
 * until I/O had ended. Counted in words that only say so; what follows from it is the engine's own thread's business
 * (`Gate.admit`, `Gate.isDoubtful`): nothing begins on such a chunk until it's over, and a device write that was under
 * way is issued again.
 *
 * Called on the monitor's thread, and works on shared words alone.
 */

import { ANNOUNCED_BEGUN, ANNOUNCED_ENDED, CHUNK_WORDS, UNMAPS_BEGUN, UNMAPS_HEARD } from "../chunk-table.js";

/** Some chunks of one segment. */
export interface SegmentChunks {
  readonly words: Int32Array;
  readonly first: number;
  readonly last: number;
}

export function announce({ words, first, last }: SegmentChunks): void {
  for (let c = first; c <= last; c++) Atomics.add(words, c * CHUNK_WORDS + ANNOUNCED_BEGUN, 1);
}

/** Once for each `announce` of the same chunks. */
export function settle({ words, first, last }: SegmentChunks): void {
  for (let c = first; c <= last; c++) Atomics.add(words, c * CHUNK_WORDS + ANNOUNCED_ENDED, 1);
}

/**
 * With `announce`, where it's an unmapping: our own operations on the memory wait until the engine's thread has heard
 * what is gone. They don't wait for discards, of which there may be no end.
 */
export function announceUnmap({ words, first, last }: SegmentChunks): void {
  for (let c = first; c <= last; c++) Atomics.add(words, c * CHUNK_WORDS + UNMAPS_BEGUN, 1);
}

/** The engine's thread has heard of it, or nothing was unmapped after all. */
export function unmapHeard({ words, first, last }: SegmentChunks): void {
  for (let c = first; c <= last; c++) Atomics.add(words, c * CHUNK_WORDS + UNMAPS_HEARD, 1);
}

export function areUnmapsHeard(words: Int32Array, at: number): boolean {
  return Atomics.load(words, at + UNMAPS_BEGUN) === Atomics.load(words, at + UNMAPS_HEARD);
}

/**
 * Announces all chunks in place of a monitor that has ended, whose own announcements nobody else would settle. One
 * `settle` ends it, whatever the next monitor has announced by then.
 */
export function takeOver(words: Int32Array): void {
  for (let at = 0; at < words.length; at += CHUNK_WORDS) {
    const begun = Atomics.add(words, at + ANNOUNCED_BEGUN, 1) + 1;
    Atomics.store(words, at + ANNOUNCED_ENDED, begun - 1);
    // What was unmapped, and not reported, is never heard of any more.
    Atomics.store(words, at + UNMAPS_HEARD, Atomics.load(words, at + UNMAPS_BEGUN));
  }
}

/**
 * Plain loads of a line that the caller has just changed: they cost nothing that could be measured. `at`: the chunk's
 * first word.
 */
export function isSettled(words: Int32Array, at: number): boolean {
  return words[at + ANNOUNCED_BEGUN] === words[at + ANNOUNCED_ENDED];
}

/**
 * One word that the monitor shares with all engines of a thread, raised while it reads events. To read is to let a
 * caller go, and now and then it's one whom nobody could see waiting: whose call it was, and on what, is known only
 * then. Until that is announced nothing begins anywhere, or else what that caller does next could find a request on
 * memory that isn't ours any more.
 */
const NOBODY_READS = 0;
const READING = 1;
const READING_AWAITED = 2;

export function beginReading(word: Int32Array): void {
  Atomics.store(word, 0, READING);
}

/**
 * True: somebody was kept out meanwhile, and has to hear that it's over.
 *
 * A monitor that ends lets everybody go, too, and leaves the word raised: the engine's thread lowers it once it has
 * announced what that may have been about.
 */
export function endReading(word: Int32Array): boolean {
  return Atomics.exchange(word, 0, NOBODY_READS) === READING_AWAITED;
}

/**
 * For what has ended: the pages that it used may be going, and nobody has announced that yet. Asked before the counters
 * are looked at: what was read before the word is down is announced there.
 */
export function isBeingRead(word: Int32Array): boolean {
  return Atomics.load(word, 0) !== NOBODY_READS;
}

/**
 * Asked before `isSettled`: what was announced while the word was up is seen there. Whoever raises it later lets nobody
 * go before.
 */
export function isReading(word: Int32Array): boolean {
  return (
    Atomics.load(word, 0) !== NOBODY_READS &&
    Atomics.compareExchange(word, 0, READING, READING_AWAITED) !== NOBODY_READS
  );
}
