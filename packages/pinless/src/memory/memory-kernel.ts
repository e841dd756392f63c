/** The kernel as the memory operations see it: Linux, or the lab's model. Numbers are in errno style. */

import type { LockKind } from "../ports/memory.js";
import type { Range } from "../protocol/ranges/ranges.js";

/**
 * A computation that may block. It yields what it waits for. On Linux a call blocks its thread instead, and nothing is
 * ever yielded.
 */
export type Steps<Result> = Generator<Promise<unknown>, Result, void>;

export interface MemoryKernel {
  /** Size of a huge page, and of the pieces that operations are cut into. */
  readonly hugePageBytes: number;
  nowMs(): number;
  sleep(ms: number): Steps<void>;
  madvise(range: Range, advice: number): Steps<number>;
  mprotect(range: Range, protection: number): Steps<number>;
  /** Maps a part of a file (MAP_SHARED), or zeroed memory if `file` is null, over what is mapped. */
  mapOver(range: Range, file: FilePart | null): Steps<number>;
  msync(range: Range): Steps<number>;
  /** Extends a file that is shorter than `bytes`, with space allocated. */
  extendFile(fd: number, bytes: number): Steps<number>;
  fallocate(fd: number, mode: number, position: number, bytes: number): Steps<number>;
  /** Copies up to `bytes`, or shares their blocks. Returns the bytes copied, 0 at the end of the file, or -errno. */
  copyRange(from: FilePart, to: FilePart, bytes: number, clone: boolean): Steps<number>;
  /** Finds the first ranges of a part of the file that have data, `most` at most; or -errno. */
  dataRanges(fd: number, range: Range, most: number): Steps<readonly Range[] | number>;
  /** Locks a part of a file for the open description, or unlocks it, at once. EAGAIN: another one has a lock. */
  setLock(fd: number, range: Range, kind: LockKind): Steps<number>;
  /** Calls move_pages(2) on this process; with null for the node it only reports where the pages are. */
  movePages(pages: readonly number[], node: number | null, status: Int32Array): Steps<number>;
  /** Loads from those of the pages that are in memory. */
  touch(pages: readonly number[]): void;
  /**
   * Counts pages in memory: `held` are a file's or only this process's, `shared` are also another process's, or merged
   * by KSM.
   */
  leftIn(range: Range): { held: number; shared: number };
  /** Observable reason why a piece can't be a huge page; null if there is none. */
  explainNoHugePage(piece: Range): string | null;
}

export interface FilePart {
  readonly fd: number;
  readonly position: number;
}
