/**
 * Deferred changes: other code is about to discard pages of a chunk, or just has, and couldn't be made to wait for the
 * end of I/O. The monitor announces such a change in counters of the chunk, and concludes it once the pages are gone.
 * In between the engine's thread begins no I/O on the chunk (`Gate.admit`), and a device write that was in flight is
 * issued again (`Gate.isDoubtful`).
 *
 * These functions run on the monitor's thread as well, so they use the shared words only.
 */

import { ANNOUNCED_BEGUN, ANNOUNCED_ENDED, CHUNK_WORDS, UNMAPS_BEGUN, UNMAPS_HEARD } from "../chunk-table.js";

/** Some chunks of one segment. */
export interface SegmentChunks {
  readonly words: Int32Array;
  readonly first: number;
  readonly last: number;
}

/** Announces a change of chunks. */
export function announce({ words, first, last }: SegmentChunks): void {
  for (let c = first; c <= last; c++) Atomics.add(words, c * CHUNK_WORDS + ANNOUNCED_BEGUN, 1);
}

/** Ends an announced change: once for each `announce` of the same chunks. */
export function conclude({ words, first, last }: SegmentChunks): void {
  for (let c = first; c <= last; c++) Atomics.add(words, c * CHUNK_WORDS + ANNOUNCED_ENDED, 1);
}

/**
 * Marks an announced change as an unmap. The engine's own operations on the chunk wait until its thread knows what is
 * gone. They don't wait for discards, which may follow each other without end.
 */
export function announceUnmap({ words, first, last }: SegmentChunks): void {
  for (let c = first; c <= last; c++) Atomics.add(words, c * CHUNK_WORDS + UNMAPS_BEGUN, 1);
}

/** Notes that the engine's thread knows of an unmap, or that there was none after all. */
export function unmapHeard({ words, first, last }: SegmentChunks): void {
  for (let c = first; c <= last; c++) Atomics.add(words, c * CHUNK_WORDS + UNMAPS_HEARD, 1);
}

export function areUnmapsHeard(words: Int32Array, at: number): boolean {
  return Atomics.load(words, at + UNMAPS_BEGUN) === Atomics.load(words, at + UNMAPS_HEARD);
}

/**
 * Replaces all announcements of a monitor that has ended, which would never be concluded, by one of every chunk. A
 * single `conclude` ends it, whatever the next monitor has announced by then.
 */
export function takeOver(words: Int32Array): void {
  for (let at = 0; at < words.length; at += CHUNK_WORDS) {
    const begun = Atomics.add(words, at + ANNOUNCED_BEGUN, 1) + 1;
    Atomics.store(words, at + ANNOUNCED_ENDED, begun - 1);
    // Unmaps that the ended monitor hadn't reported will never be.
    Atomics.store(words, at + UNMAPS_HEARD, Atomics.load(words, at + UNMAPS_BEGUN));
  }
}

/**
 * True if no announced change of a chunk is in progress. `at` is the index of the chunk's first word. Plain loads
 * do after `isReading`, an atomic load: they see all that was announced before the reading word was lowered.
 */
export function isConcluded(words: Int32Array, at: number): boolean {
  return words[at + ANNOUNCED_BEGUN] === words[at + ANNOUNCED_ENDED];
}

/**
 * States of the reading word, which the monitor shares with all engines of a thread and raises while it reads events.
 * Reading an event lets its caller continue. If that caller wasn't seen waiting, the memory that its call is about is
 * known only then. So no request begins anywhere until the change is announced: it could use memory that the caller
 * has unmapped or replaced.
 */
const NOT_READING = 0;
const READING = 1;
const READING_AWAITED = 2;

/** Raises the word, before the monitor reads. */
export function beginReading(word: Int32Array): void {
  Atomics.store(word, 0, READING);
}

/**
 * Lowers the word. Returns true if a request was held meanwhile, so that its engine has to be notified. A monitor that
 * ends leaves the word raised; the engine's thread lowers it once it has announced a change of every chunk.
 */
export function endReading(word: Int32Array): boolean {
  return Atomics.exchange(word, 0, NOT_READING) === READING_AWAITED;
}

/**
 * True if an event may have been read whose change isn't announced yet, so that a request that has just ended may have
 * used discarded pages. To be called before the counters are loaded: they include every change that was read before the
 * word was lowered.
 */
export function isBeingRead(word: Int32Array): boolean {
  return Atomics.load(word, 0) !== NOT_READING;
}

/**
 * True if the monitor reads events now; it will then post `concluded` when it's done. To be called before
 * `isConcluded`, which sees what was announced while the word was raised. A monitor that raises the word only after
 * this call has let no caller continue yet.
 */
export function isReading(word: Int32Array): boolean {
  return (
    Atomics.load(word, 0) !== NOT_READING && Atomics.compareExchange(word, 0, READING, READING_AWAITED) !== NOT_READING
  );
}
