/** Lanes of leases in a trace: one for each buffer slot, and one for all drops. */

import type { ChromeTrace } from "./chrome-trace.js";

/** Lane of the drops, beyond those of the slots. */
const DROPS = 10_000;

export class LeaseLanes {
  readonly #trace: ChromeTrace;
  readonly #name: string;

  constructor(trace: ChromeTrace, name = "lease") {
    this.#trace = trace;
    this.#name = name;
  }

  taken(slot: number, address: number, bytes: number): void {
    const range = { start: address, end: address + bytes };
    this.#trace.begin("leases", slot, this.#name, { slot }, { lane: slot, range });
  }

  /** Shows a drop as a slice, with flows from its lease, and from the invalidations that ask for it. */
  dropped(slot: number): void {
    const range = this.#trace.rangeOf("leases", slot);
    if (range === null) return;
    const drop = `drop of ${slot}`;
    this.#trace.begin("leases", drop, "drop", { slot }, { lane: DROPS, range });
    this.#trace.causedBy("invalidations", "asks for the drop", "leases", drop);
    this.#trace.leadsTo(["leases", slot], ["leases", drop], "is dropped");
    this.#trace.end("leases", drop);
  }

  /** Ends a lease, whose pages are unpinned now; without effect if none is shown in the slot. */
  ended(slot: number): void {
    this.#trace.end("leases", slot);
  }
}
