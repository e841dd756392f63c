/** Lanes of invalidations, held requests and calls of other code, as the protocol reports them. */

import { READ } from "../protocol/direction.js";
import { CONCERNS } from "../protocol/events.js";
import type { Invalidation } from "../protocol/notifier.js";
import type { Parked } from "../protocol/parked-requests.js";
import type { ProtocolObserver } from "../protocol/protocol.js";
import { overlaps, type Range } from "../protocol/ranges/ranges.js";
import type { ChromeTrace } from "./chrome-trace.js";

export class ProtocolLanes implements ProtocolObserver {
  readonly #trace: ChromeTrace;
  /** Invalidations that haven't ended, with their number and lane. */
  readonly #invalidations = new Map<Invalidation, { readonly number: number; readonly lane: number }>();
  /** Numbers of the held requests. */
  readonly #held = new Map<Parked, number>();
  /** Pieces of memory of each call of other code. */
  readonly #calls = new Map<number, number>();
  #last = 0;

  constructor(trace: ChromeTrace) {
    this.#trace = trace;
  }

  started(invalidation: Invalidation): void {
    const { event, range } = invalidation;
    const number = ++this.#last;
    const concern = CONCERNS[event];
    const lane = this.#trace.begin("invalidations", number, event, detailsOf(range), { range });
    this.#invalidations.set(invalidation, { number, lane });
    this.#trace.causedBy("other threads", "is drained for", "invalidations", number);
    this.#trace.waitsFor("invalidations", number, "requests", "waits for I/O", (name) =>
      name === "read" ? concern.deviceWrites : name === "write" && concern.deviceReads,
    );
  }

  begun(invalidation: Invalidation): void {
    const { number, lane } = this.#invalidations.get(invalidation)!;
    this.#trace.begin("invalidations", `${number} begun`, "begun: the memory may change", {}, { lane });
  }

  ended(invalidation: Invalidation): void {
    const { number } = this.#invalidations.get(invalidation)!;
    this.#invalidations.delete(invalidation);
    this.#trace.end("invalidations", `${number} begun`);
    this.#trace.end("invalidations", number);
  }

  held(parked: Parked): void {
    const { direction, location, position } = parked;
    const { address, bytes } = location;
    const range = { start: address, end: address + bytes };
    const number = ++this.#last;
    const key = `held ${number}`;
    this.#held.set(parked, number);
    this.#trace.begin("requests", key, direction === READ ? "held read" : "held write", { position, bytes }, { range });
    for (const [invalidation, { number: cause }] of this.#invalidations)
      if (excludes(invalidation, parked, range))
        this.#trace.leadsTo(["invalidations", cause], ["requests", key], "holds");
  }

  letGo(parked: Parked): void {
    this.#trace.end("requests", `held ${this.#held.get(parked)}`);
    this.#held.delete(parked);
  }

  callStarted(id: number, ranges: readonly Range[]): void {
    this.#trace.instant("monitor", "asks to drain", { id });
    this.#calls.set(id, ranges.length);
    for (const [i, range] of ranges.entries())
      this.#trace.begin("other threads", `${id} ${i}`, "memory call", detailsOf(range), { range });
  }

  callEnded(id: number): void {
    this.#trace.instant("monitor", "says that the call is over", { id });
    for (let i = 0; i < (this.#calls.get(id) ?? 0); i++) this.#trace.end("other threads", `${id} ${i}`);
    this.#calls.delete(id);
  }

  monitorSaid(what: string): void {
    this.#trace.instant("monitor", what);
  }
}

/** True if an invalidation that has had its turn keeps a request waiting. */
function excludes({ event, range, state }: Invalidation, { direction }: Parked, of: Range): boolean {
  const { deviceReads, deviceWrites } = CONCERNS[event];
  return state !== "waiting" && overlaps(range, of) && (direction === READ ? deviceWrites : deviceReads);
}

function detailsOf({ start, end }: Range): { address: string; bytes: number } {
  return { address: `0x${start.toString(16)}`, bytes: end - start };
}
