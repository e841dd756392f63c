/**
 * Memory, as the engine needs it: the real kernel stands behind it (`index.ts` wires it), and a simulated one can. Numbers are errno style: 0 or
 * a count, or negative.
 */

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
  /** Makes a file so long that `bytes` fit in from `file.position` on, if it's shorter. */
  | "extendFile"
  /** In place of what is mapped there: a part of a file, shared with everyone else who maps it. */
  | "mapFile"
  /** In place of what is mapped there: zeros. */
  | "mapZeros"
  /** What is dirty goes to the file, and to its device. */
  | "writeback";

export interface MemoryRequest {
  readonly operation: MemoryOperation;
  readonly address: number;
  readonly bytes: number;
  /** `prepare` and `mapFile`: leave the memory to children, as memory is by default. */
  readonly inherit?: boolean;
  /** `prepare` only: ask for huge pages. */
  readonly hugePages?: boolean;
  /** `migrate` only: where to. */
  readonly node?: number;
  /** `extendFile` and `mapFile`: which file, and from where in it on. */
  readonly file?: { readonly fd: number; readonly position: number };
  /** Of a file's memory: the device that the file is on. What waits for that doesn't stand in front of anything else. */
  readonly device?: string;
}

export interface MemoryResult {
  /** Pages of 4 KiB that were asked for, done, and refused. */
  readonly pages: number;
  readonly done: number;
  readonly busy: number;
  /** 0, or why the rest was refused. */
  readonly errno: number;
  /** Pieces that are huge pages now, as far as was found out. Null: as before. */
  readonly huge: readonly Range[] | null;
  /** Why the rest was refused, in words. */
  readonly reason?: string;
}

/** Memory and the operations on it. `run` works on threads of its own; what it's asked for meanwhile isn't held up by what waits for a device. */
export interface Memory {
  /** Zeroed memory of at least `bytes`, starting on a multiple of 64 KiB. */
  map(bytes: number): Mapping;
  run(request: MemoryRequest): Promise<MemoryResult>;
  /** Whether anonymous memory can be swapped out here. */
  hasSwap(): boolean;
  /** One sentence: why pages can't be made huge pages here, or moved to another node, and what to change. Null: they can. */
  explainNoCollapse(): string | null;
  explainNoMigration(): string | null;
  /** The nodes that have memory which this process may use. */
  nodes(): readonly number[];
  /** One sentence: why so many bytes can't be had without somebody being killed for them, and whose limit that is. Null: they can. */
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
  /** Where pages were refused: why, and what to change. Of several reasons the first. */
  readonly reason?: string;
  /** Why there was nothing to do. */
  readonly skipped?: string;
}
