/**
 * The monitor as the engine needs it: it follows what other code does to memory, and gives leases back while the
 * engine's thread is busy.
 */

import type { ChunkTable } from "../protocol/chunk-table.js";

/** The monitor's lease clock: gives leases back while the engine's own thread is busy. */
export interface Watchdog {
  /** Number of this ring at the monitor. */
  readonly id: number;
  /** Begins to watch a lease table, whose slots are those of this ring. */
  watch(leases: Int32Array): void;
  /** Tells the monitor that the table has a live lease, so that it looks at the clock. */
  wake(): void;
  /** Ends the watch. No lease may be left. */
  close(): void;
}

/** The monitor's userfaultfd: tells what other code of this process does to memory (protocol/foreign-calls.ts). */
export interface Follower {
  /** Starts the thread early, since a segment is followed soon. */
  prepare?(): void;
  /**
   * Begins to follow a segment, whose leases `watchdog` watches. Resolves with "", or with a sentence that says which
   * changes won't be seen, and why.
   */
  follow(table: ChunkTable, watchdog: Watchdog | null): Promise<string>;
  /** Stops to follow a segment, before its memory is given back. */
  unfollow(table: ChunkTable): Promise<void>;
  close(): void;
}

/**
 * Called each time that the monitor has ended by itself. `whenAgain` calls back, now or later, with "" once the monitor
 * was started again and follows all that it did before, or with the reason why it doesn't. `missed` says that the
 * monitor itself is there, but follows again only now, after a gap.
 */
export type MonitorEnded = (whenAgain: (run: (why: string) => void) => void, missed: boolean) => void;
