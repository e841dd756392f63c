/** Memory port of the engine. Results are 0 or a count, or a negative errno. */

import type { Range } from "../protocol/ranges/ranges.js";
import type { Mapping } from "../protocol/segment.js";

export type MemoryOperation =
  | "prepare"
  | "discard"
  | "discardLazily"
  | "collapse"
  | "pageOut"
  | "migrate"
  | "makeReadOnly"
  | "makeWritable"
  /** Extends a file that is shorter than `file.position` + `bytes`. */
  | "extendFile"
  /** Changes the space of a part of a file (fallocate). */
  | "fallocate"
  /** Copies bytes from `file` to `target`: as many as a moment allows. */
  | "copyRange"
  /** Finds the data of a part of a file. */
  | "dataRanges"
  /** Locks a part of a file for its open description, or unlocks it. Infinitely many bytes are all from there on. */
  | "lock"
  /** Maps a part of a file at the range (MAP_SHARED), in place of what is mapped there. */
  | "mapFile"
  /** Maps zeroed memory at the range, in place of what is mapped there. */
  | "mapZeros"
  /** Writes dirty pages to the file and its device (msync). */
  | "writeback";

/** A lock on a part of a file; "none" unlocks it. */
export type LockKind = "shared" | "exclusive" | "none";

/** Number of ranges after which a search for data is interrupted. */
export const FOUND_AT_ONCE = 1024;

export interface MemoryRequest {
  readonly operation: MemoryOperation;
  readonly address: number;
  readonly bytes: number;
  /** For `prepare` and `mapFile`: true if child processes inherit the memory (no MADV_DONTFORK). */
  readonly inherit?: boolean;
  /** For `prepare`: true to ask for huge pages. */
  readonly hugePages?: boolean;
  /** For `migrate`: the NUMA node to move to. */
  readonly node?: number;
  /** For `fallocate`: the change, and true if the file's size stays. */
  readonly change?: "allocate" | "punch" | "zero";
  readonly keepSize?: boolean;
  /** For the operations on files: the file, and the offset in it. */
  readonly file?: { readonly fd: number; readonly position: number };
  /** For `copyRange`: the file to copy to, and true if the files are to share blocks. */
  readonly target?: { readonly fd: number; readonly position: number };
  readonly clone?: boolean;
  readonly lock?: LockKind;
  /**
   * For file-backed memory and files: the device of the file. Requests that wait for one device don't delay requests
   * for others.
   */
  readonly device?: string;
}

export interface MemoryResult {
  /** Numbers of pages of 4 KiB: asked for, done, and refused. */
  readonly pages: number;
  readonly done: number;
  readonly busy: number;
  /** 0, or the negative errno with which the other pages were refused. */
  readonly errno: number;
  /** Ranges that are known to be huge pages now; null if the operation changes nothing about that. */
  readonly huge: readonly Range[] | null;
  /** For `copyRange`: bytes copied; 0 without an errno is the end of the file. */
  readonly bytes?: number;
  /** For `dataRanges`: what was found, up to `FOUND_AT_ONCE` ranges in order. */
  readonly data?: readonly Range[];
  /** The reason of the refusal, in words. */
  readonly reason?: string;
}

/**
 * Memory and its operations. `run` works on threads of its own: an operation that waits for a device delays no other.
 */
export interface Memory {
  /** Zeroed memory of at least `bytes`, starting on a multiple of 64 KiB; if `shared`, a SharedArrayBuffer. */
  map(bytes: number, shared?: boolean): Mapping;
  run(request: MemoryRequest): Promise<MemoryResult>;
  /** True if anonymous memory can be swapped out here. */
  hasSwap(): boolean;
  /** Returns a sentence that says why pages can't be collapsed here, and what to change; null if they can. */
  explainNoCollapse(): string | null;
  /** Returns a sentence that says why pages can't be migrated here, and what to change; null if they can. */
  explainNoMigration(): string | null;
  /** NUMA nodes with memory that this process may use. */
  nodes(): readonly number[];
  /**
   * Returns a sentence that says which limit an allocation of `bytes` would exceed, so that the kernel would kill a
   * process; null if it fits.
   */
  explainNoRoom(bytes: number): string | null;
}
