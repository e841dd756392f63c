/**
 * Ports of the monitor: it follows memory calls of other code, and drops leases while the engine's thread is busy.
 */

import type { ChunkTable } from "../protocol/chunk-table.js";

/** The monitor's lease clock: drops leases that are due while the engine's own thread is busy. */
export interface Watchdog {
  /** Id of the lease table at the monitor. */
  readonly id: number;
  /** Begins to watch a lease table, whose slots are those of this ring. */
  watch(leases: Int32Array): void;
  /** Tells the monitor that the table has a live lease, so that it looks at the clock. */
  wake(): void;
  /** Stops watching. No lease may be left. */
  close(): void;
}

/** The monitor's userfaultfd: reports memory calls of other code of this process (protocol/foreign-calls.ts). */
export interface Follower {
  /** Starts the thread in advance, because a segment will be followed soon. */
  prepare?(): void;
  /**
   * Begins to follow a segment, whose leases `watchdog` watches. Resolves to "", or to a sentence that says which
   * changes won't be seen, and why.
   */
  follow(table: ChunkTable, watchdog: Watchdog | null): Promise<string>;
  /** Stops following a segment, before its memory is freed. */
  unfollow(table: ChunkTable): Promise<void>;
  close(): void;
}

/**
 * Called each time that the monitor has ended by itself. `whenAgain` calls back, now or later: with "" once a restarted
 * monitor follows all segments again, or with the reason why it can't. With `"missed"` the monitor
 * runs and follows them again, but after a gap in which it may have missed calls.
 */
export type MonitorEnded = (whenAgain: (run: (why: string) => void) => void, loss: "ended" | "missed") => void;
