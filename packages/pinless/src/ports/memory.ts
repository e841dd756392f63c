/** Memory as the engine needs it. Numbers are in errno style: 0 or a count, or a negative errno. */

import type { MmuEvent } from "../protocol/events.js";
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
  /** Maps a part of a file there (MAP_SHARED), over what is mapped now. */
  | "mapFile"
  /** Maps zeroed memory there, over what is mapped now. */
  | "mapZeros"
  /** Writes dirty pages to the file and its device (msync). */
  | "writeback";

export interface MemoryRequest {
  readonly operation: MemoryOperation;
  readonly address: number;
  readonly bytes: number;
  /** `prepare` and `mapFile`: children get the memory (no MADV_DONTFORK). */
  readonly inherit?: boolean;
  /** `prepare`: ask for huge pages. */
  readonly hugePages?: boolean;
  /** `migrate`: the NUMA node to move to. */
  readonly node?: number;
  /** `extendFile` and `mapFile`: the file, and the offset in it. */
  readonly file?: { readonly fd: number; readonly position: number };
  /**
   * File-backed memory: the device of the file. Requests that wait for one device don't keep requests for others
   * waiting.
   */
  readonly device?: string;
}

export interface MemoryResult {
  /** Pages of 4 KiB that were asked for, done, and refused. */
  readonly pages: number;
  readonly done: number;
  readonly busy: number;
  /** 0, or the errno that the rest was refused with. */
  readonly errno: number;
  /** Ranges that are huge pages now, as far as is known. Null: unchanged. */
  readonly huge: readonly Range[] | null;
  /** The reason of the refusal, in words. */
  readonly reason?: string;
}

/**
 * Memory and its operations. `run` works on threads of its own: an operation that waits for a device delays no other.
 */
export interface Memory {
  /** Zeroed memory of at least `bytes`, starting on a multiple of 64 KiB. */
  map(bytes: number): Mapping;
  run(request: MemoryRequest): Promise<MemoryResult>;
  /** True if anonymous memory can be swapped out here. */
  hasSwap(): boolean;
  /** A sentence: why pages can't be made huge pages here, and what to change. Null: they can. */
  explainNoCollapse(): string | null;
  /** A sentence: why pages can't be moved to another node here, and what to change. Null: they can. */
  explainNoMigration(): string | null;
  /** NUMA nodes with memory that this process may use. */
  nodes(): readonly number[];
  /**
   * A sentence: why a process would be killed if so many bytes were allocated, and whose limit that is. Null: there is
   * room for them.
   */
  explainNoRoom(bytes: number): string | null;
}

/** Report of a memory operation of an arena. */
export interface OperationReport {
  /** Kind of the invalidation. */
  readonly event: MmuEvent;
  /** Pages of 4 KiB asked for. */
  readonly pages: number;
  /** Pages done. */
  readonly done: number;
  /** Pages refused. */
  readonly busy: number;
  /** Milliseconds that it waited for I/O and leases. */
  readonly waited: number;
  /** The first reason why pages were refused, and what to change. */
  readonly reason?: string;
  /** The reason why there was nothing to do. */
  readonly skipped?: string;
}
