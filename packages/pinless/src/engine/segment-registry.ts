/** Registry of one engine's segments, by the gate's number for them or by their buffer. */

import type { CallsInFlight } from "../files/calls-in-flight.js";
import type { Released } from "../ports/stats.js";
import { EFAULT } from "../protocol/errno.js";
import type { Protocol } from "../protocol/protocol.js";
import { overlaps, type Range } from "../protocol/ranges/ranges.js";
import { noteSegment, type Segment, segmentOf } from "../protocol/segment.js";
import type { LifetimeRegistrations } from "./lifetime-registrations.js";

/**
 * Buffers of which other code has unmapped a part. They are never freed, on purpose: V8 would unmap their whole address
 * range, where other memory may be mapped by then.
 */
const unmappedBuffers = new Set<ArrayBufferLike>();

export class SegmentRegistry {
  readonly #protocol: Protocol;
  readonly #calls: CallsInFlight;
  /** Lifetime registrations; null unless `pin` is "lifetime". */
  readonly #lifetime: LifetimeRegistrations | null;
  readonly #byTable: (Segment | undefined)[] = [];
  /** Segment that was found last, since the next call is often for the same one. */
  #last: Segment | null = null;

  constructor(protocol: Protocol, calls: CallsInFlight, lifetime: LifetimeRegistrations | null) {
    this.#protocol = protocol;
    this.#calls = calls;
    this.#lifetime = lifetime;
  }

  /**
   * Adds a segment, so that requests can use it. If `leased` is false it takes no leases: memory that waits for a pipe
   * may wait for ever, and a lease would pin it for as long; a mapped file can't be registered at all.
   */
  add(segment: Segment, leased: boolean): void {
    segment.index = this.#protocol.gate.addTable(segment.table, { leasable: leased });
    noteSegment(segment);
    this.#byTable[segment.index] = segment;
    if (leased) this.#lifetime?.register(segment);
  }

  /** Removes a segment. Its buffer stays registered as closed memory, so that I/O on its views fails with EFAULT. */
  remove(segment: Segment): void {
    this.#lifetime?.unregister(segment);
    this.#protocol.gate.removeTable(segment.index);
    this.#byTable[segment.index] = undefined;
    segment.index = -1;
    if (this.#last === segment) this.#last = null;
  }

  /** True if one of the segments has bytes of this range. */
  meet(range: Range): boolean {
    return this.#byTable.some((segment) => segment !== undefined && overlaps(segment.range, range));
  }

  /** Finds the segment by the gate's number. */
  at(table: number): Segment | undefined {
    return this.#byTable[table];
  }

  /** Finds the segment of a buffer; null for other memory, also for memory of another engine. */
  of(buffer: ArrayBufferLike): Segment | null {
    const last = this.#last;
    if (last !== null && last.buffer === buffer) return last;
    const segment = segmentOf(buffer);
    if (segment === null || segment.protocol !== this.#protocol) return null;
    this.#last = segment;
    return segment;
  }

  /** Keeps a range that other code has unmapped from being used again. */
  withdraw(gone: Range): void {
    this.#calls.cancelStreamCalls(gone, EFAULT);
    for (const segment of this.#byTable) {
      if (segment === undefined || !overlaps(segment.range, gone)) continue;
      unmappedBuffers.add(segment.buffer);
      segment.free.withdraw(gone.start - segment.range.start, gone.end - segment.range.start);
    }
  }

  /** Ends the lifetime registrations of all segments, and counts them. */
  unregisterAll(): Released {
    let leases = 0;
    let bytes = 0;
    for (const segment of this.#byTable) {
      if (segment === undefined || segment.registeredSlot < 0) continue;
      leases++;
      bytes += segment.range.end - segment.range.start;
      this.#lifetime?.unregister(segment);
    }
    return { leases, bytes };
  }
}
