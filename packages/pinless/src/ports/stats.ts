/** The figures of an engine. */

import type { MmuEvent } from "../protocol/events.js";
import type { SchemeName } from "../protocol/scheme.js";
import type { PinMode } from "./options.js";

/** Figures of an engine. Counts are since it was opened. */
export interface EngineStats {
  /** Scheme in use. */
  readonly scheme: SchemeName;
  /** Pin mode in use. */
  readonly pin: PinMode;
  /** Requests accepted. */
  readonly submitted: number;
  /** Requests that succeeded. */
  readonly completed: number;
  /** Requests that failed. */
  readonly failed: number;
  /** Requests that waited for an invalidation. */
  readonly held: number;
  /** Device writes (reads of a file) issued a second time. */
  readonly reissued: number;
  /** Requests that went without a registration. */
  readonly perIo: number;
  /**
   * Requests whose lease was dropped between their preparation and their submission: the kernel refused them, and they
   * were issued again per-io.
   */
  readonly refusedAtImport: number;
  /** Leases taken again after an invalidation. */
  readonly revalidated: number;
  /** Invalidations, by event. */
  readonly invalidations: Readonly<Record<MmuEvent, number>>;
  /** Distribution of the milliseconds that invalidations waited for I/O. */
  readonly waited: { readonly count: number; readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
  /** Leases and what they pin. */
  readonly leases: {
    /** Leases held now. */
    readonly live: number;
    /** Bytes that they pin. */
    readonly bytes: number;
    /** Maximum number of bytes that they pin at a time. */
    readonly budget: number;
    /** Leases taken. */
    readonly taken: number;
    /** Leases dropped, for any reason. */
    readonly dropped: number;
    /** Longest time that a dropped lease was held, in milliseconds. */
    readonly residencyMax: number;
  };
  /** Memory pressure, and the engine's reaction. */
  readonly pressure: {
    /** Files of the kernel that it's read from; null if there are none. */
    readonly source: string | null;
    /** Number of times that all leases were given up, for pressure, compaction or NUMA balancing. */
    readonly givenUp: number;
    /** True while no lease is taken. The first request after memory has been quiet for a while ends that. */
    readonly active: boolean;
  };
  /**
   * Requests copied through staging memory. A copy into a mapped file, or out of one, also counts as a request of its
   * own.
   */
  readonly bounced: number;
  /** Requests that went through the page cache. */
  readonly buffered: number;
  /** Sentences, each about something that doesn't run as asked: the reason, and what to change. */
  readonly degraded: readonly string[];
}

/** Result of {@link Engine.releasePins}. */
export interface Released {
  /** Leases dropped; with `pin: "lifetime"`, registrations ended. */
  readonly leases: number;
  /** Bytes that they pinned. */
  readonly bytes: number;
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
  /** Milliseconds that the operation waited for I/O and leases. */
  readonly waited: number;
  /** The first reason why pages were refused, and what to change. */
  readonly reason?: string;
  /** The reason why there was nothing to do. */
  readonly skipped?: string;
}
