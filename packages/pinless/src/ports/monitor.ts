/** The monitor, as the engine needs it: it follows what other code does to memory, and gives leases back while the engine's thread is busy. */

import type { ChunkTable } from "../protocol/chunk-table.js";

/** Who gives leases back while the engine's own thread is busy. */
export interface Watchdog {
  /** What the monitor knows this ring by. */
  readonly id: number;
  /** Looks after a lease table from now on; its slots are those of this ring. */
  watch(leases: Int32Array): void;
  /** The table has a live lease: watch the clocks. */
  wake(): void;
  /** Call it when no lease is left. */
  close(): void;
}

/** Who tells what other code of this process does to memory, by calls that aren't ours (see foreign-calls.ts). */
export interface Follower {
  /** Begins what takes its time: something is to be followed soon. */
  prepare?(): void;
  /**
   * Follows a segment from now on; its leases are those that `watchdog` watches. Resolves with "", or with one sentence: why (some of)
   * what happens to it won't be seen.
   */
  follow(table: ChunkTable, watchdog: Watchdog | null): Promise<string>;
  /** Call it before the memory is given back. */
  unfollow(table: ChunkTable): Promise<void>;
  close(): void;
}

/**
 * Called each time that the monitor has ended by itself. `whenAgain` calls back, now or later, with "" once it was started again and follows
 * all that it did before, or with why it doesn't.
 */
export type MonitorEnded = (whenAgain: (run: (why: string) => void) => void) => void;
