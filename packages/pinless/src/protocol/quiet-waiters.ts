/** Waiters for the end of the requests that use a range of memory, as of the moment of their call. */

import type { Parked } from "./parked-requests.js";
import { overlaps, type Range } from "./ranges/ranges.js";
import { FREE, type RequestTable, STATE } from "./request-table.js";
import type { BufferLocation } from "./scheme.js";

/** A request in its slot, or parked. */
type Accepted = number | Parked;

export class QuietWaiters {
  readonly #waiters: { left: Set<Accepted>; run: () => void }[] = [];

  get isEmpty(): boolean {
    return this.#waiters.length === 0;
  }

  /** Calls `run` once all of these requests that use the range have ended: at once if there are none. */
  add(requests: RequestTable, parked: Iterable<Parked>, range: Range, run: () => void): void {
    const met = ({ address, bytes }: BufferLocation): boolean =>
      overlaps(range, { start: address, end: address + bytes });
    const left = new Set<Accepted>();
    for (let slot = 0; slot < requests.capacity; slot++)
      if (requests.get(slot, STATE) !== FREE && met(requests.locations[slot]!)) left.add(slot);
    for (const each of parked) if (met(each.location)) left.add(each);
    if (left.size === 0) run();
    else this.#waiters.push({ left, run });
  }

  /** Notes that a request was parked, or has a slot again. */
  renamed(from: Accepted, to: Accepted): void {
    for (const { left } of this.#waiters) if (left.delete(from)) left.add(to);
  }

  /**
   * Notes that a request has ended. Returns the waiters that waited for nothing else, in the order of their calls; they
   * are to be called once the request was answered.
   */
  ended(slot: number): readonly (() => void)[] {
    const quiet: (() => void)[] = [];
    for (let i = 0; i < this.#waiters.length; ) {
      const { left, run } = this.#waiters[i]!;
      if (!left.delete(slot) || left.size > 0) i++;
      else {
        this.#waiters.splice(i, 1);
        quiet.push(run);
      }
    }
    return quiet;
  }
}
