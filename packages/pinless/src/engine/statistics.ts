/** Statistics of an engine: its own counters, and the report that `stats()` returns. */

import type { WaitHistogram } from "../ports/host.js";
import type { EngineStats } from "../ports/stats.js";
import { EPERM } from "../protocol/errno.js";
import type { DescribeErrno } from "../protocol/errors.js";
import { MMU_EVENTS, type MmuEvent } from "../protocol/events.js";
import { DROPPED, PINNED_PAGES, RESIDENCY_MAX_MS, TAKEN } from "../protocol/lease-table.js";
import type { Protocol } from "../protocol/protocol.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import type { Scheme } from "../protocol/scheme.js";
import { OTHER_USER } from "./lifetime-registrations.js";

export class Statistics {
  readonly #invalidations = Object.fromEntries(MMU_EVENTS.map((event) => [event, 0])) as Record<MmuEvent, number>;
  readonly #waited: WaitHistogram;
  readonly #degraded: readonly string[];
  #bounced = 0;
  #buffered = 0;

  /** `degraded` are the sentences of `EngineStats.degraded`, a list that grows. */
  constructor(waited: WaitHistogram, degraded: readonly string[]) {
    this.#waited = waited;
    this.#degraded = degraded;
  }

  /** Counts an invalidation, which waited for I/O for `waitedMs`. */
  countInvalidation(event: MmuEvent, waitedMs: number): void {
    this.#invalidations[event]++;
    this.#waited.record(waitedMs);
  }

  /** Counts a transfer that was copied, or that went through the page cache. */
  countTransfer(what: "bounced" | "buffered"): void {
    if (what === "bounced") this.#bounced++;
    else this.#buffered++;
  }

  report(protocol: Protocol, scheme: Scheme, pin: EngineStats["pin"], describe: DescribeErrno): EngineStats {
    const { gate, leases, dispatcher } = protocol;
    const { submitted, completedOk, failed, perIo, refusedAtImport, reissued } = dispatcher;
    const header = (word: number): number => leases?.table.header(word) ?? 0;
    const degraded = [...this.#degraded, ...(scheme.remarks?.() ?? [])];
    if (leases !== null && leases.lastRefusal !== 0) degraded.push(explainRefusal(leases.lastRefusal, describe));
    return {
      scheme: scheme.name,
      pin,
      submitted,
      completed: completedOk,
      failed,
      held: gate.heldTotal,
      reissued,
      perIo,
      refusedAtImport,
      revalidated: leases?.revalidated ?? 0,
      invalidations: { ...this.#invalidations },
      waited: this.#waited.summary(),
      leases: {
        live: leases?.held ?? 0,
        bytes: header(PINNED_PAGES) * PAGE_BYTES,
        budget: leases?.table.budgetBytes ?? 0,
        taken: header(TAKEN),
        dropped: header(DROPPED),
        residencyMax: header(RESIDENCY_MAX_MS),
      },
      pressure: {
        source: leases?.pressure?.source ?? null,
        givenUp: leases?.pressure?.givenUp ?? 0,
        active: leases?.pressure?.active ?? false,
      },
      bounced: this.#bounced,
      buffered: this.#buffered,
      degraded,
    };
  }
}

/** Explains why the kernel refused a lease. */
function explainRefusal(errno: number, describe: DescribeErrno): string {
  if (errno === -EPERM) return `${OTHER_USER}: that I/O went per-io`;
  const [name] = describe(errno);
  return (
    `the kernel refused a lease with ${name}: that I/O went per-io. ` +
    "All processes of a user share RLIMIT_MEMLOCK (ulimit -l)"
  );
}
