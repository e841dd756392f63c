/**
 * The readers' side of the range lock. For each request it decides if it goes (by a lease or per-io), waits or fails;
 * for each invalidation it counts the chunks that still have to drain. An engine has one gate, with a chunk table for
 * each segment of its arenas.
 */

import { invariant, violated } from "./assert.js";
import {
  ANNOUNCED_BEGUN,
  ATTACHED,
  AWAITS_LEASE,
  CHUNK_WORDS,
  type ChunkTable,
  DRAINING,
  deviceAccess,
  GATE,
  HELD as HELD_COUNT,
  IN_PROGRESS,
  INVALIDATED,
  LEASE,
  NO_LEASE,
  PROTECTED,
  REVALIDATE,
  UNLEASABLE,
  UNMAPPED,
  UNMAPPED_PART,
  USED_MS,
} from "./chunk-table.js";
import type { Direction } from "./direction.js";
import { CONCERNS, type MmuEvent } from "./events.js";
import {
  FAULT,
  flagAfter,
  type GateVerdict,
  GO,
  gateBits,
  isDrained,
  protectionBits,
  UNTIL_CONCLUDED,
  verdictOf,
  WAIT,
} from "./gate-bits.js";
import type { Leases } from "./leases.js";
import { areUnmapsHeard, isBeingRead, isConcluded, isReading } from "./monitor/deferred-changes.js";
import type { Invalidation, MmuNotifier, Subscriber, Subscription } from "./notifier.js";
import { announcedByOwner, isConcludedByOwner } from "./owner-words.js";
import type { HeldObserver, Parked } from "./parked-requests.js";
import type { Protection } from "./public-notifier.js";
import { RangeSet } from "./ranges/range-set.js";
import { contains, intersect, type Range } from "./ranges/ranges.js";
import {
  ACCEPTED,
  DIRECTION,
  ANNOUNCED as REQUEST_ANNOUNCED,
  LEASE as REQUEST_LEASE,
  REQUEST_SHIFT,
  type RequestTable,
  STATE,
  SUBMITTED,
  UNREGISTERED,
} from "./request-table.js";
import type { BufferLocation } from "./scheme.js";

/** The dispatcher, as the gate sees it. */
export interface GateEvents {
  /** Continues a held request: the dispatcher gives it a slot, and calls `admit` again and then `letGo`. */
  goOn(parked: Parked): void;
  /** Schedules a turn, because leases were dropped whose completions have to be collected. */
  nudge(): void;
}

export interface GateParts {
  readonly requests: RequestTable;
  /** Tables of the segments, filled by `addTable`. */
  readonly tables: ChunkTable[];
  /** Null if nothing is leased: with pin `per-io` and `lifetime`. */
  readonly leases: Leases | null;
  readonly notifier: MmuNotifier;
  /** Word that the monitor raises while it reads events (deferred-changes.ts). */
  readonly reading: Int32Array;
  readonly observer: HeldObserver | null;
}

export class Gate implements Subscriber {
  readonly #requests: RequestTable;
  readonly #leases: Leases | null;
  readonly #notifier: MmuNotifier;
  readonly #tables: ChunkTable[];
  readonly #subscriptions: (Subscription | undefined)[] = [];
  #events!: GateEvents;
  readonly #reading: Int32Array;
  readonly #held: Parked[] = [];
  readonly #observer: HeldObserver | null;
  /** Read-only pages of the segments, from which the chunks' flags are derived. Only the gate changes it. */
  readonly readOnly = new RangeSet();
  /** Number of requests and copies that were held so far. */
  heldTotal = 0;

  constructor({ requests, tables, leases, notifier, reading, observer }: GateParts) {
    this.#requests = requests;
    this.#tables = tables;
    this.#leases = leases;
    this.#notifier = notifier;
    this.#reading = reading;
    this.#observer = observer;
  }

  /** Connects the dispatcher, before the first request is held. */
  connect(events: GateEvents): void {
    this.#events = events;
  }

  /** Requests that wait for an invalidation's end, in their order. The gate's other state is all in the tables. */
  get held(): Parked[] {
    return this.#held;
  }

  /** Adds a segment; returns its number for `BufferLocation.table`. With `leasable` false it never takes a lease. */
  addTable(table: ChunkTable, { leasable = true } = {}): number {
    const unused = this.#subscriptions.indexOf(undefined);
    const index = unused >= 0 ? unused : this.#tables.length;
    this.#tables[index] = table;
    this.#subscriptions[index] = this.#notifier.insert(table.range, this, table.chunkBytes);
    if (!leasable) for (let c = 0; c < table.chunks; c++) table.setBits(c, UNLEASABLE);
    // An invalidation in progress applies to the new chunks too: its end expects all chunks of its range to be marked.
    for (const { range, event } of this.#notifier.on(table.range)) {
      const { first, last } = table.chunksOf(range)!;
      for (let c = first; c <= last; c++) this.#shut(table, c, gateBits(event));
    }
    return index;
  }

  /** Removes a segment that was unmapped, since its addresses may be used for other memory now. */
  removeTable(index: number): void {
    const subscription = this.#subscriptions[index];
    this.#subscriptions[index] = undefined;
    this.readOnly.remove(this.#tables[index]!.range);
    if (subscription !== undefined) this.#notifier.remove(subscription);
  }

  /**
   * Decides on an accepted request. If it goes, it's counted in, and its LEASE word is set to the slot of its lease, or
   * to -1. `nowMs` is for the lease's clocks.
   */
  admit(slot: number, location: BufferLocation, direction: Direction, nowMs: number): GateVerdict {
    const { words, firstAt: at } = location;
    if (at !== location.lastAt) return this.#admitSpan(slot, location, direction);
    const gate = words[at + GATE]!;
    const verdict = gate === 0 ? GO : this.#verdictOn(location, gate, direction);
    if (verdict !== GO) return verdict;
    // Loads the counter before the request is prepared: a later announcement makes its result doubtful (`isDoubtful`).
    let announced = words[at + ANNOUNCED_BEGUN]!;
    if (isReading(this.#reading) || !isConcluded(words, at)) return UNTIL_CONCLUDED;
    if ((gate & ATTACHED) !== 0) {
      const owner = this.#tables[location.table]!.owner!;
      announced = (announced + announcedByOwner(owner, location)) | 0;
      if (!isConcludedByOwner(owner, location)) return UNTIL_CONCLUDED;
      this.#leases?.dropIfOlder(words, at, announced);
    }
    words[at + deviceAccess(direction)]!++;
    const requests = this.#requests.words;
    const request = slot << REQUEST_SHIFT;
    requests[request + STATE] = SUBMITTED;
    requests[request + REQUEST_ANNOUNCED] = announced;
    const leases = this.#leases;
    if (leases === null || (gate & (NO_LEASE | IN_PROGRESS)) !== 0) {
      requests[request + REQUEST_LEASE] = (gate & PROTECTED) === 0 ? -1 : UNREGISTERED;
      return GO;
    }
    const lease = words[at + LEASE]! - 1;
    requests[request + REQUEST_LEASE] =
      lease >= 0 && leases.table.use(lease, direction, nowMs)
        ? lease
        : this.#acquire(leases, location, direction, nowMs, announced);
    words[at + USED_MS] = nowMs;
    return GO;
  }

  #acquire(leases: Leases, location: BufferLocation, direction: Direction, nowMs: number, announced: number): number {
    const { words, firstAt: at } = location;
    const lease = leases.acquire(location.table, at / CHUNK_WORDS, direction, nowMs, location.bytes, announced);
    // A change was announced meanwhile. The monitor may have missed the new lease, so it's dropped here.
    const byOwner = announcedByOwner(this.#tables[location.table]!.owner, location);
    if (((Atomics.load(words, at + ANNOUNCED_BEGUN) + byOwner) | 0) === announced) return lease;
    const taken = words[at + LEASE]! - 1;
    if (taken >= 0) leases.drop(taken);
    return -1;
  }

  /** Admits a request on several chunks: it's counted in on each, and goes per-io, because a lease covers one chunk. */
  #admitSpan(slot: number, location: BufferLocation, direction: Direction): GateVerdict {
    const { words, firstAt, lastAt } = location;
    let gates = 0;
    let announced = 0;
    let known = !isReading(this.#reading);
    for (let at = firstAt; at <= lastAt; at += CHUNK_WORDS) {
      const gate = words[at + GATE]!;
      gates |= gate;
      const verdict = this.#verdictOn(location, gate, direction);
      if (verdict !== GO) return verdict;
      announced = (announced + words[at + ANNOUNCED_BEGUN]!) | 0;
      known = known && isConcluded(words, at);
    }
    const { owner } = this.#tables[location.table]!;
    announced = (announced + announcedByOwner(owner, location)) | 0;
    if (!known || !isConcludedByOwner(owner, location)) return UNTIL_CONCLUDED;
    for (let at = firstAt; at <= lastAt; at += CHUNK_WORDS) words[at + deviceAccess(direction)]!++;
    const request = slot << REQUEST_SHIFT;
    this.#requests.words[request + STATE] = SUBMITTED;
    this.#requests.words[request + REQUEST_ANNOUNCED] = announced;
    this.#requests.words[request + REQUEST_LEASE] = (gates & PROTECTED) === 0 ? -1 : UNREGISTERED;
    return GO;
  }

  #verdictOn({ table, address, bytes }: BufferLocation, gate: number, direction: Direction): GateVerdict {
    if ((gate & UNMAPPED_PART) !== 0 && this.#tables[table]!.isGone({ start: address, end: address + bytes }))
      return FAULT;
    return verdictOf(gate, direction);
  }

  /**
   * True if the request's pages may have been discarded: a change was announced since `admit`, or is being read now.
   */
  isDoubtful(slot: number, location: BufferLocation): boolean {
    const { words, firstAt, lastAt } = location;
    const owner = (words[firstAt + GATE]! & ATTACHED) === 0 ? null : this.#tables[location.table]!.owner;
    if (isBeingRead(this.#reading) || (owner !== null && isBeingRead(owner.reading))) return true;
    let announced = words[firstAt + ANNOUNCED_BEGUN]! + announcedByOwner(owner, location);
    for (let at = firstAt + CHUNK_WORDS; at <= lastAt; at += CHUNK_WORDS) announced += words[at + ANNOUNCED_BEGUN]!;
    return (announced | 0) !== this.#requests.words[(slot << REQUEST_SHIFT) + REQUEST_ANNOUNCED];
  }

  /** True if all announced unmaps of a range have been reported to the gate. */
  knowsUnmaps(range: Range): boolean {
    return (
      !isReading(this.#reading) && this.#everyChunk(range, ({ words }, c) => areUnmapsHeard(words, c * CHUNK_WORDS))
    );
  }

  /** Marks a range that other code has unmapped: requests on it fail, and its chunks take no more leases. */
  markUnmapped(range: Range): void {
    for (const table of this.#watched()) {
      const gone = intersect(range, table.range);
      const chunks = table.chunksOf(gone);
      if (chunks === null) continue;
      table.gone.push(gone);
      for (let c = chunks.first; c <= chunks.last; c++)
        table.setBits(c, contains(gone, table.rangeOf(c)) ? UNMAPPED : UNMAPPED_PART);
    }
  }

  /** Holds a request with the verdict WAIT until the invalidation that excludes it has ended. */
  hold(parked: Parked): void {
    const { words, firstAt, lastAt } = parked.location;
    for (let at = firstAt; at <= lastAt; at += CHUNK_WORDS) Atomics.add(words, at + HELD_COUNT, 1);
    parked.held = true;
    this.#held.push(parked);
    this.heldTotal++;
    this.#observer?.held(parked);
  }

  /** Counts a held request out: it was submitted, or waits for another reason now. */
  letGo(parked: Parked): void {
    const { words, firstAt, lastAt } = parked.location;
    for (let at = firstAt; at <= lastAt; at += CHUNK_WORDS)
      invariant("BOUNDED_HOLD", Atomics.sub(words, at + HELD_COUNT, 1) > 0, "a chunk holds fewer than none");
    parked.held = false;
    this.#observer?.letGo(parked);
  }

  /** Counts out a request that has ended, which an invalidation may be waiting for. Doesn't free its slot. */
  complete(slot: number, location: BufferLocation): void {
    const requests = this.#requests.words;
    const request = slot << REQUEST_SHIFT;
    if (requests[request + STATE] !== SUBMITTED)
      violated("EXACTLY_ONCE", `request ${slot} completed in state ${requests[request + STATE]}`);
    requests[request + STATE] = ACCEPTED;
    const direction = requests[request + DIRECTION] as Direction;
    for (let at = location.firstAt; at <= location.lastAt; at += CHUNK_WORDS) this.#countOut(location, at, direction);
  }

  #countOut(location: BufferLocation, at: number, direction: Direction): void {
    const { words } = location;
    if (--words[at + deviceAccess(direction)]! < 0)
      violated("EXACTLY_ONCE", `a chunk counted out below 0 (word ${at})`);
    if ((words[at + GATE]! & DRAINING) !== 0) this.#reportDrained(this.#tables[location.table]!, at / CHUNK_WORDS);
  }

  /** Notes that the lease of a chunk has ended: the kernel has released its pages. */
  leaseGone(tableIndex: number, chunk: number): void {
    const table = this.#tables[tableIndex]!;
    table.store(chunk, LEASE, (table.load(chunk, GATE) & AWAITS_LEASE) !== 0 ? REVALIDATE : 0);
    if ((table.load(chunk, GATE) & DRAINING) !== 0) this.#reportDrained(table, chunk);
  }

  /** Reports the chunk to the invalidation that waits for it, if it's drained now. */
  #reportDrained(table: ChunkTable, chunk: number): void {
    const gate = table.load(chunk, GATE);
    if (!isDrained(table, chunk, gate)) return;
    table.clearBits(chunk, DRAINING);
    const invalidation = this.#notifier.at(table.rangeOf(chunk).start);
    if (invalidation === undefined) violated("EXCLUSION", `chunk ${chunk} drains for no invalidation`);
    invalidation.drained();
  }

  isQuiet(range: Range, event: MmuEvent): boolean {
    return this.#everyChunk(range, (table, c) => isDrained(table, c, gateBits(event)));
  }

  holds(range: Range): boolean {
    return !this.#everyChunk(range, (table, c) => table.load(c, HELD_COUNT) === 0);
  }

  stop(invalidation: Invalidation): number {
    const { range, event } = invalidation;
    const bits = gateBits(event);
    let draining = 0;
    // First all chunks are shut and all leases dropped; only then are the requests in flight counted.
    this.#everyChunk(range, (table, c) => this.#shut(table, c, bits));
    const leases = this.#leases;
    if (leases !== null && CONCERNS[event].lease !== "keep") {
      let dropped = false;
      this.#everyChunk(range, (table, c) => {
        const lease = table.load(c, LEASE) - 1;
        if (lease < 0) return;
        leases.drop(lease);
        dropped = true;
      });
      if (dropped) this.#events.nudge();
    }
    this.#everyChunk(range, (table, c) => {
      table.setBits(c, DRAINING);
      if (isDrained(table, c, bits)) table.clearBits(c, DRAINING);
      else draining++;
    });
    return draining;
  }

  /** Shuts a chunk: from now on no request begins on it that the invalidation excludes. */
  #shut(table: ChunkTable, chunk: number, bits: number): void {
    if ((table.load(chunk, GATE) & INVALIDATED) !== 0)
      violated("EXCLUSION", `two invalidations in progress on chunk ${chunk}`);
    table.setBits(chunk, INVALIDATED | bits);
  }

  resume(invalidation: Invalidation): void {
    const { range, event } = invalidation;
    const bits = gateBits(event);
    const flag = flagAfter(event);
    for (const protection of invalidation.protections) this.#protect(protection);
    this.#everyChunk(range, (table, c) => {
      if ((table.load(c, GATE) & INVALIDATED) === 0) violated("EXCLUSION", `${event} was never begun on chunk ${c}`);
      if (!isDrained(table, c, bits)) violated("EXCLUSION", `I/O or a lease on chunk ${c} at the end of ${event}`);
      table.clearBits(c, IN_PROGRESS | PROTECTED);
      const flags = flag | protectionBits(this.readOnly, table.rangeOf(c));
      if (flags !== 0) table.setBits(c, flags);
    });
    this.#releaseHeld();
  }

  #protect({ range, readOnly }: Protection): void {
    if (!readOnly) {
      this.readOnly.remove(range);
      return;
    }
    for (const table of this.#watched()) this.readOnly.add(intersect(range, table.range));
  }

  /** Continues every held request that no invalidation excludes any more; the others keep their order. */
  #releaseHeld(): void {
    for (const parked of this.#held.splice(0)) {
      const { words, firstAt, lastAt } = parked.location;
      let verdict: GateVerdict = GO;
      for (let at = firstAt; at <= lastAt && verdict === GO; at += CHUNK_WORDS)
        verdict = verdictOf(Atomics.load(words, at + GATE), parked.direction);
      if (verdict === WAIT) this.#held.push(parked);
      else this.#events.goOn(parked);
    }
  }

  /** Notes which pages of a range are huge, as a memory operation has found or made them. */
  notePages(range: Range, isHuge: (area: Range) => boolean): void {
    for (const table of this.#watched()) table.notePages(range, isHuge);
  }

  /** Visits the chunks of a range until a visit returns false; true if none did. */
  #everyChunk(range: Range, visit: (table: ChunkTable, chunk: number) => unknown): boolean {
    for (const table of this.#watched()) {
      const chunks = table.chunksOf(range);
      if (chunks === null) continue;
      for (let c = chunks.first; c <= chunks.last; c++) if (visit(table, c) === false) return false;
    }
    return true;
  }

  /** Tables of the segments that haven't been removed. */
  #watched(): ChunkTable[] {
    return this.#tables.filter((_, t) => this.#subscriptions[t] !== undefined);
  }
}
