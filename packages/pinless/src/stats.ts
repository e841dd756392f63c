/** The figures of an engine. */

import type { PinMode, SchemeName } from "./ports.js";
import type { MmuEvent } from "./protocol/events.js";

/** What `engine.stats()` says. Counts are since the engine was opened. */
export interface EngineStats {
  readonly scheme: SchemeName;
  readonly pin: PinMode;
  /** Requests accepted, and ended with success or failure. */
  readonly submitted: number;
  readonly completed: number;
  readonly failed: number;
  /** Requests that waited for an invalidation. */
  readonly held: number;
  /** Requests issued a second time. */
  readonly reissued: number;
  /** Requests that went without a registration. */
  readonly perIo: number;
  /** Requests whose lease went between their writing and their submission: the kernel refused them, and they went per-io. */
  readonly refusedAtImport: number;
  /** Leases taken again after an invalidation. */
  readonly revalidated: number;
  readonly invalidations: Readonly<Record<MmuEvent, number>>;
  /** How long invalidations waited for I/O. */
  readonly waited: { readonly count: number; readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
  readonly leases: {
    readonly live: number;
    /** What they pin, and what they may pin at a time. */
    readonly bytes: number;
    readonly budget: number;
    readonly taken: number;
    readonly dropped: number;
    /** The longest that one stayed taken, in milliseconds, of those that are given back. */
    readonly residencyMax: number;
  };
  readonly pressure: {
    /** The kernel's files that say whether memory is short; null: nobody looks. */
    readonly source: string | null;
    /** How often leases were given up for it, or for the kernel's compaction. */
    readonly givenUp: number;
    /** They're given up now. The first request that wants one after memory has been quiet ends it. */
    readonly active: boolean;
  };
  /** Requests copied through staging memory; each copy into a mapped file, or out of one, counts as a request of its own too. */
  readonly bounced: number;
  /** Requests that went through the page cache. */
  readonly buffered: number;
  /** What doesn't run as asked, and why. */
  readonly degraded: readonly string[];
}

/** What `engine.releasePins()` gave back. */
export interface Released {
  /** Leases; with `pin: "lifetime"`, registrations. */
  readonly leases: number;
  readonly bytes: number;
}
