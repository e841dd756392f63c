/** The figures of an engine. */

import type { MmuEvent } from "../protocol/events.js";
import type { SchemeName } from "../protocol/scheme.js";
import type { PinMode } from "./options.js";

/** Figures of an engine. Counts are since it was opened. */
export interface EngineStats {
  /** Scheme that runs. */
  readonly scheme: SchemeName;
  /** Pin mode that runs. */
  readonly pin: PinMode;
  /** Requests accepted. */
  readonly submitted: number;
  /** Requests that ended well. */
  readonly completed: number;
  /** Requests that ended with an error. */
  readonly failed: number;
  /** Requests that waited for an invalidation. */
  readonly held: number;
  /** Device writes (reads of a file) issued a second time. */
  readonly reissued: number;
  /** Requests that went without a registration. */
  readonly perIo: number;
  /**
   * Requests whose lease went between their preparation and their submission: the kernel refused them, and they went
   * per-io.
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
    /** Bytes that they may pin at a time. */
    readonly budget: number;
    /** Leases taken. */
    readonly taken: number;
    /** Leases given back, for whatever reason. */
    readonly dropped: number;
    /** Longest time that a lease stayed taken, in milliseconds, of those that were given back. */
    readonly residencyMax: number;
  };
  /** Memory pressure, and what was done about it. */
  readonly pressure: {
    /** Files of the kernel that are read for it; null if there is none. */
    readonly source: string | null;
    /** Times that leases were given up for it, or for the kernel's compaction. */
    readonly givenUp: number;
    /** True while no lease is taken. The first request after memory was quiet ends that. */
    readonly active: boolean;
  };
  /**
   * Requests copied through staging memory. Each copy into a mapped file, or out of one, counts as a request of its
   * own too.
   */
  readonly bounced: number;
  /** Requests that went through the page cache. */
  readonly buffered: number;
  /** Sentences: what doesn't run as asked, why, and what to change. */
  readonly degraded: readonly string[];
}

/** Result of {@link Engine.releasePins}. */
export interface Released {
  /** Leases given back; with `pin: "lifetime"`, registrations ended. */
  readonly leases: number;
  /** Bytes that they pinned. */
  readonly bytes: number;
}
