/**
 * The readers' side of the range lock: decides for every request whether it goes, waits or fails, with or without a
 * lease; and for every invalidation what it has to wait for. One engine has one gate; its arenas' segments are the
 * gate's tables.
 */

import { invariant, violated } from "./assert.js";
import {
  ANNOUNCED_BEGUN,
  AWAITS_LEASE,
  CHUNK_WORDS,
  type ChunkTable,
  DEVICE_READS,
  DEVICE_WRITES,
  DRAINING,
  EXCLUDES_DEVICE_READS,
  EXCLUDES_DEVICE_WRITES,
  GATE,
  HELD as HELD_COUNT,
  IN_PROGRESS,
  INVALIDATED,
  LEASE,
  LOOK,
  NO_LEASE,
  PARTLY_READ_ONLY,
  PROTECTED,
  READ_ONLY,
  REFUSED,
  REVALIDATE,
  UNLEASABLE,
  UNMAPPED,
  UNMAPPED_PART,
  USED_MS,
} from "./chunk-table.js";
import { CONCERNS, type MmuEvent } from "./events.js";
import type { Leases } from "./leases.js";
import { areUnmapsHeard, isBeingRead, isReading, isSettled } from "./monitor/deferred-changes.js";
import type { Invalidation, MmuNotifier, Subscriber, Subscription } from "./notifier.js";
import type { Parked } from "./parked-requests.js";
import type { Protection } from "./public-notifier.js";
import { RangeSet } from "./ranges/range-set.js";
import { contains, intersect, type Range } from "./ranges/ranges.js";
import {
  ACCEPTED,
  ANNOUNCED as REQUEST_ANNOUNCED,
  LEASE as REQUEST_LEASE,
  REQUEST_SHIFT,
  type RequestTable,
  STATE,
  SUBMITTED,
  UNREGISTERED,
  WRITE,
} from "./request-table.js";
import type { BufferLocation } from "./scheme.js";

/**
 * What `admit` says: go (counted in, `lease` is bound), or wait, or fail with EFAULT; or ask again once what the
 * monitor has announced is over (the gate doesn't know when).
 */
export const GO = 0;
export const WAIT = 1;
export const FAULT = 2;
export const UNTIL_SETTLED = 3;
export type GateVerdict = typeof GO | typeof WAIT | typeof FAULT | typeof UNTIL_SETTLED;

/** The dispatcher, as the gate sees it. */
export interface GateEvents {
  /** A held request may go, once it has a slot: then ask `admit` again, and call `letGo`. */
  goOn(parked: Parked): void;
  /** Leases were asked to go: their tags have to be looked for. */
  nudge(): void;
}

export interface GateParts {
  readonly requests: RequestTable;
  /** Filled by `addTable`. */
  readonly tables: ChunkTable[];
  /** Null: nothing is leased (per-io), or nothing is ever given back (lifetime). */
  readonly leases: Leases | null;
  readonly notifier: MmuNotifier;
  /** The monitor's word (deferred-changes.ts). */
  readonly reading: Int32Array;
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
  /** What of the segments is read-only, to the page: the chunks' flags are made of it. Nobody else changes it. */
  readonly readOnly = new RangeSet();
  /** Requests, and copies, that were ever held. */
  heldTotal = 0;

  constructor({ requests, tables, leases, notifier, reading }: GateParts) {
    this.#requests = requests;
    this.#tables = tables;
    this.#leases = leases;
    this.#notifier = notifier;
    this.#reading = reading;
  }

  /** Says who lets requests go, before the first is held. */
  connect(events: GateEvents): void {
    this.#events = events;
  }

  /** Requests that wait for an invalidation's end, in their order: what of the gate's state isn't in the chunks. */
  get held(): Parked[] {
    return this.#held;
  }

  /**
   * Watches a segment; returns the number that requests name it by. `leasable` false: its memory never takes a lease.
   */
  addTable(table: ChunkTable, { leasable = true } = {}): number {
    const unused = this.#subscriptions.indexOf(undefined);
    const index = unused >= 0 ? unused : this.#tables.length;
    this.#tables[index] = table;
    this.#subscriptions[index] = this.#notifier.insert(table.range, this, table.chunkBytes);
    if (!leasable) for (let c = 0; c < table.chunks; c++) table.setBits(c, UNLEASABLE);
    // An invalidation in progress holds for what comes to its range meanwhile: its end finds these chunks marked, like all others.
    for (const { range, event } of this.#notifier.on(table.range)) {
      const { first, last } = table.chunksOf(range)!;
      for (let c = first; c <= last; c++) this.#shut(table, c, gateBits(event));
    }
    return index;
  }

  /** Forgets a segment that was unmapped: its addresses may be somebody else's now. */
  removeTable(index: number): void {
    const subscription = this.#subscriptions[index];
    this.#subscriptions[index] = undefined;
    this.readOnly.remove(this.#tables[index]!.range);
    if (subscription !== undefined) this.#notifier.remove(subscription);
  }

  /**
   * Decides about an accepted request, and counts it in if it goes; its LEASE word says by which lease, or -1. `nowMs`
   * is for the clocks of the lease.
   */
  admit(slot: number, location: BufferLocation, write: boolean, nowMs: number): GateVerdict {
    const { words, firstAt: at } = location;
    if (at !== location.lastAt) return this.#admitSpan(slot, location, write);
    // Counted in before looking: whoever shuts the chunk on another thread either sees this count or is seen here.
    const look = (Atomics.add(words, write ? at + DEVICE_READS : at + DEVICE_WRITES, 1) & LOOK) !== 0;
    const gate = look ? Atomics.load(words, at + GATE) : 0;
    const verdict = look ? this.#verdictOn(location, gate, write) : GO;
    if (verdict !== GO) {
      this.#countOut(location, at, write);
      return verdict;
    }
    // Remembered before anything is prepared: if another begins from here on, what the request did is doubtful (see `isDoubtful`).
    const announced = words[at + ANNOUNCED_BEGUN]!;
    if (isReading(this.#reading) || !isSettled(words, at)) {
      this.#countOut(location, at, write);
      return UNTIL_SETTLED;
    }
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
      lease >= 0 && leases.table.use(lease, !write, nowMs)
        ? lease
        : this.#acquire(leases, location, !write, nowMs, announced);
    words[at + USED_MS] = nowMs;
    return GO;
  }

  #acquire(leases: Leases, location: BufferLocation, deviceWrite: boolean, nowMs: number, announced: number): number {
    const { words, firstAt: at } = location;
    const lease = leases.acquire(location.table, at / CHUNK_WORDS, deviceWrite, nowMs, location.bytes);
    // Announced while it was taken: the monitor may have looked for a lease before there was one, so it's ours to drop.
    if (Atomics.load(words, at + ANNOUNCED_BEGUN) === announced) return lease;
    const taken = words[at + LEASE]! - 1;
    if (taken >= 0) leases.drop(taken);
    return -1;
  }

  /** More than one chunk: counted in on each, never by a lease (a registration ends at its chunk's edge). */
  #admitSpan(slot: number, location: BufferLocation, write: boolean): GateVerdict {
    const { words, firstAt, lastAt } = location;
    let gates = 0;
    let announced = 0;
    let settled = !isReading(this.#reading);
    for (let at = firstAt; at <= lastAt; at += CHUNK_WORDS) {
      Atomics.add(words, write ? at + DEVICE_READS : at + DEVICE_WRITES, 1);
      const gate = Atomics.load(words, at + GATE);
      gates |= gate;
      const verdict = this.#verdictOn(location, gate, write);
      if (verdict !== GO) {
        for (let back = firstAt; back <= at; back += CHUNK_WORDS) this.#countOut(location, back, write);
        return verdict;
      }
      announced = (announced + words[at + ANNOUNCED_BEGUN]!) | 0;
      settled = settled && isSettled(words, at);
    }
    if (!settled) {
      for (let at = firstAt; at <= lastAt; at += CHUNK_WORDS) this.#countOut(location, at, write);
      return UNTIL_SETTLED;
    }
    const request = slot << REQUEST_SHIFT;
    this.#requests.words[request + STATE] = SUBMITTED;
    this.#requests.words[request + REQUEST_ANNOUNCED] = announced;
    this.#requests.words[request + REQUEST_LEASE] = (gates & PROTECTED) === 0 ? -1 : UNREGISTERED;
    return GO;
  }

  #verdictOn({ table, address, bytes }: BufferLocation, gate: number, write: boolean): GateVerdict {
    if ((gate & UNMAPPED_PART) !== 0 && this.#tables[table]!.isGone({ start: address, end: address + bytes }))
      return FAULT;
    return verdictOf(gate, write);
  }

  /**
   * Whether a change was announced since `admit` let the request go, or is just being learnt of: the pages it used may
   * have been taken away meanwhile.
   */
  isDoubtful(slot: number, { words, firstAt, lastAt }: BufferLocation): boolean {
    if (isBeingRead(this.#reading)) return true;
    let announced = words[firstAt + ANNOUNCED_BEGUN]!;
    for (let at = firstAt + CHUNK_WORDS; at <= lastAt; at += CHUNK_WORDS)
      announced = (announced + words[at + ANNOUNCED_BEGUN]!) | 0;
    return announced !== this.#requests.words[(slot << REQUEST_SHIFT) + REQUEST_ANNOUNCED];
  }

  /** Whether it's known what of a range is unmapped: the monitor tells of nothing that hasn't arrived here. */
  knowsUnmaps(range: Range): boolean {
    return (
      !isReading(this.#reading) && this.#everyChunk(range, ({ words }, c) => areUnmapsHeard(words, c * CHUNK_WORDS))
    );
  }

  /** Other code has unmapped a range: from here on nothing touches it, and what's left of a chunk takes no lease. */
  bury(range: Range): void {
    for (let t = 0; t < this.#tables.length; t++) {
      if (this.#subscriptions[t] === undefined) continue;
      const table = this.#tables[t]!;
      const gone = intersect(range, table.range);
      const chunks = table.chunksOf(gone);
      if (chunks === null) continue;
      table.gone.push(gone);
      for (let c = chunks.first; c <= chunks.last; c++)
        table.setBits(c, contains(gone, table.rangeOf(c)) ? UNMAPPED : UNMAPPED_PART);
    }
  }

  /** Keeps a request that `admit` said WAIT to until what excludes it has ended. */
  hold(parked: Parked): void {
    const { words, firstAt, lastAt } = parked.location;
    for (let at = firstAt; at <= lastAt; at += CHUNK_WORDS) Atomics.add(words, at + HELD_COUNT, 1);
    parked.held = true;
    this.#held.push(parked);
    this.heldTotal++;
  }

  /** A held request has gone, or waits for something else than an invalidation. */
  letGo(parked: Parked): void {
    const { words, firstAt, lastAt } = parked.location;
    for (let at = firstAt; at <= lastAt; at += CHUNK_WORDS)
      invariant("BOUNDED_HOLD", Atomics.sub(words, at + HELD_COUNT, 1) > 0, "a chunk holds fewer than none");
    parked.held = false;
  }

  /**
   * A submitted request has ended: counts it out, and lets an invalidation begin that waited for it. Doesn't free its
   * slot.
   */
  complete(slot: number, location: BufferLocation): void {
    const requests = this.#requests.words;
    const request = slot << REQUEST_SHIFT;
    if (requests[request + STATE] !== SUBMITTED)
      violated("EXACTLY_ONCE", `request ${slot} completed in state ${requests[request + STATE]}`);
    requests[request + STATE] = ACCEPTED;
    const write = requests[request + WRITE] === 1;
    for (let at = location.firstAt; at <= location.lastAt; at += CHUNK_WORDS) this.#countOut(location, at, write);
  }

  #countOut(location: BufferLocation, at: number, write: boolean): void {
    const before = Atomics.sub(location.words, write ? at + DEVICE_READS : at + DEVICE_WRITES, 1);
    if ((before & ~LOOK) === 0) violated("EXACTLY_ONCE", `a chunk counted out below 0 (word ${at})`);
    if ((before & LOOK) === 0) return;
    const table = this.#tables[location.table]!;
    if ((table.load(at / CHUNK_WORDS, GATE) & DRAINING) !== 0) this.#settle(table, at / CHUNK_WORDS);
  }

  /** The lease of this chunk is gone. */
  leaseGone(tableIndex: number, chunk: number): void {
    const table = this.#tables[tableIndex]!;
    table.store(chunk, LEASE, (table.load(chunk, GATE) & AWAITS_LEASE) !== 0 ? REVALIDATE : 0);
    if ((table.load(chunk, GATE) & DRAINING) !== 0) this.#settle(table, chunk);
  }

  /** Tells the invalidation that counted this chunk, if the chunk is quiet now. */
  #settle(table: ChunkTable, chunk: number): void {
    const gate = table.load(chunk, GATE);
    if (!isDrained(table, chunk, gate)) return;
    table.clearBits(chunk, DRAINING);
    const invalidation = this.#notifier.at(table.rangeOf(chunk).start);
    if (invalidation === undefined) violated("EXCLUSION", `chunk ${chunk} drains for nobody`);
    invalidation.drained();
  }

  isQuiet(range: Range, event: MmuEvent): boolean {
    const gate = gateBits(event);
    return this.#everyChunk(range, (table, c) => isDrained(table, c, gate));
  }

  holds(range: Range): boolean {
    return !this.#everyChunk(range, (table, c) => table.load(c, HELD_COUNT) === 0);
  }

  stop(invalidation: Invalidation): number {
    const { range, event } = invalidation;
    const bits = gateBits(event);
    let draining = 0;
    // Shut first, everywhere; then ask all leases to go; only then look who is still in: two passes.
    this.#everyChunk(range, (table, c) => {
      this.#shut(table, c, bits);
      return true;
    });
    const leases = this.#leases;
    if (leases !== null && CONCERNS[event].lease !== "keep") {
      let dropped = false;
      this.#everyChunk(range, (table, c) => {
        const lease = table.load(c, LEASE) - 1;
        if (lease < 0) return true;
        leases.drop(lease);
        dropped = true;
        return true;
      });
      if (dropped) this.#events.nudge();
    }
    this.#everyChunk(range, (table, c) => {
      // Marked before looking: who counts out in between either sees the mark or isn't seen here.
      table.setBits(c, DRAINING);
      if (isDrained(table, c, bits)) table.clearBits(c, DRAINING);
      else draining++;
      return true;
    });
    return draining;
  }

  /** From here on nothing begins on the chunk that the invalidation concerns. */
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
      const flags = flag | this.#protectionOf(table.rangeOf(c));
      if (flags !== 0) table.setBits(c, flags);
      return true;
    });
    this.#releaseHeld();
  }

  #protect({ range, readOnly }: Protection): void {
    if (!readOnly) {
      this.readOnly.remove(range);
      return;
    }
    this.#tables.forEach((table, t) => {
      if (this.#subscriptions[t] !== undefined) this.readOnly.add(intersect(range, table.range));
    });
  }

  #protectionOf(chunk: Range): number {
    if (!this.readOnly.meets(chunk)) return 0;
    return this.readOnly.covers(chunk) ? READ_ONLY : PARTLY_READ_ONLY;
  }

  /** Every held request that nothing keeps out any more goes; the others stay in their order. */
  #releaseHeld(): void {
    for (const parked of this.#held.splice(0)) {
      const { words, firstAt, lastAt } = parked.location;
      let verdict: GateVerdict = GO;
      for (let at = firstAt; at <= lastAt && verdict === GO; at += CHUNK_WORDS)
        verdict = verdictOf(Atomics.load(words, at + GATE), parked.write);
      if (verdict === WAIT) this.#held.push(parked);
      else this.#events.goOn(parked);
    }
  }

  /** Notes what a memory operation found out about, or did to, the pages of a range. */
  notePages(range: Range, isHuge: (area: Range) => boolean): void {
    for (let t = 0; t < this.#tables.length; t++)
      if (this.#subscriptions[t] !== undefined) this.#tables[t]!.notePages(range, isHuge);
  }

  #everyChunk(range: Range, visit: (table: ChunkTable, chunk: number) => boolean): boolean {
    for (let t = 0; t < this.#tables.length; t++) {
      if (this.#subscriptions[t] === undefined) continue;
      const table = this.#tables[t]!;
      const chunks = table.chunksOf(range);
      if (chunks === null) continue;
      for (let c = chunks.first; c <= chunks.last; c++) if (!visit(table, c)) return false;
    }
    return true;
  }
}

function verdictOf(gate: number, write: boolean): GateVerdict {
  if (gate === 0) return GO;
  // At once, also during another invalidation: what it holds on memory that's forgotten meanwhile would never be let go.
  if ((gate & (UNMAPPED | REFUSED)) !== 0 || (!write && (gate & READ_ONLY) !== 0)) return FAULT;
  return (gate & (write ? EXCLUDES_DEVICE_READS : EXCLUDES_DEVICE_WRITES)) !== 0 ? WAIT : GO;
}

function gateBits(event: MmuEvent): number {
  const concern = CONCERNS[event];
  return (
    (concern.deviceWrites ? EXCLUDES_DEVICE_WRITES : 0) |
    (concern.deviceReads ? EXCLUDES_DEVICE_READS : 0) |
    (concern.lease === "drop" ? AWAITS_LEASE : 0)
  );
}

function flagAfter(event: MmuEvent): number {
  switch (CONCERNS[event].afterwards) {
    case "efault":
      return UNMAPPED;
    case "refuse":
      return REFUSED;
    // What is read-only is known to the page.
    case "readOnly":
    case "revalidate":
    case "goOn":
      return 0;
  }
}

function isDrained(table: ChunkTable, chunk: number, gate: number): boolean {
  if ((gate & EXCLUDES_DEVICE_WRITES) !== 0 && table.inFlight(chunk, DEVICE_WRITES) !== 0) return false;
  if ((gate & EXCLUDES_DEVICE_READS) !== 0 && table.inFlight(chunk, DEVICE_READS) !== 0) return false;
  return (gate & AWAITS_LEASE) === 0 || table.load(chunk, LEASE) <= 0;
}
