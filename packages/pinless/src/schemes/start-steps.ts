/** The steps of starting a scheme, the same on Linux and on the model. */

import type { StartedScheme } from "../ports/host.js";
import type { MonitorEnded, Watchdog } from "../ports/monitor.js";
import type { EngineSettings } from "../ports/options.js";
import type { Scheme, SchemeName } from "../protocol/scheme.js";

export const NO_ROOM_FOR_LEASE = "RLIMIT_MEMLOCK leaves no room for a lease: raise it (ulimit -l)";

/** The kernel as the start of a scheme sees it. */
export interface SchemeKernel<S extends Scheme> {
  /** The scheme, or the reason why it can't be started. */
  open(bufferSlots: number, woken: () => void): S | string;
  /** Undefined if the scheme has no registrations. */
  readonly leases?: {
    /** The reason why leases can't be taken, in a sentence; null if they can. */
    explainNone(): string | null;
    openWatchdog(scheme: S, ended: MonitorEnded): Watchdog;
  };
}

export function startSteps<S extends Scheme>(
  name: SchemeName,
  { pin: asked }: EngineSettings,
  bufferSlots: number,
  { open, leases }: SchemeKernel<S>,
): StartedScheme | string {
  const degraded: string[] = [];
  if (leases === undefined && asked !== "per-io")
    degraded.push(
      `the scheme ${name} registers nothing, so pin "${asked}" is "per-io": ` +
        "pages are pinned only while a request is in flight",
    );
  const noLeases = asked === "lease" ? leases?.explainNone() : null;
  if (typeof noLeases === "string") degraded.push(`${noLeases}. I/O goes per-io`);
  const pin = degraded.length === 0 ? asked : "per-io";
  // The wake-up's handler is set later, because the scheme is created before the engine.
  let wake = (): void => {};
  const scheme = open(pin === "per-io" ? 0 : bufferSlots, () => wake());
  if (typeof scheme === "string") return scheme;
  return {
    scheme,
    pin,
    degraded,
    onWoken: (run) => {
      wake = run;
    },
    openWatchdog: (ended) => {
      if (leases === undefined) throw new Error("a scheme without registrations has no leases to watch");
      return leases.openWatchdog(scheme, ended);
    },
  };
}
