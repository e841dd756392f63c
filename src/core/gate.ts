/**
 * The readers' side of the range lock: decides for every request whether it goes, waits or fails, with or without a lease; and for every
 * invalidation what it has to wait for. One engine has one gate; its arenas' segments are the gate's tables.
 */

import { invariant, violated } from "./assert.js";
import {
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
  LEASE,
  NO_LEASE,
  READ_ONLY,
  REFUSED,
  REVALIDATE,
  SEQUENCE,
  UNMAPPED,
  UNSETTLED,
  USED_MS,
} from "./chunk-table.js";
import { CONCERNS, type MmuEvent } from "./events.js";
import type { Leases } from "./leases.js";
import type { Invalidation, MmuNotifier, Subscriber, Subscription } from "./notifier.js";
import type { Range } from "./ranges.js";
import {
  ACCEPTED,
  FIRST_CHUNK,
  HELD,
  LAST_CHUNK,
  LEASE as REQUEST_LEASE,
  SEQUENCE as REQUEST_SEQUENCE,
  REQUEST_SHIFT,
  type RequestTable,
  STATE,
  SUBMITTED,
  TABLE,
  WRITE,
} from "./request-table.js";

/** What `admit` says: go (counted in, `lease` is bound), or wait, or fail with EFAULT. */
export const GO = 0;
export const WAIT = 1;
export const FAULT = 2;
export type Verdict = typeof GO | typeof WAIT | typeof FAULT;

export interface GateEvents {
  /** A held request may go: ask `admit` again (it answers GO) and submit it. */
  released(slot: number): void;
}

export class Gate implements Subscriber {
  readonly #requests: RequestTable;
  /** Null: nothing is leased (per-io), or nothing is ever given back (lifetime). */
  readonly #leases: Leases | null;
  readonly #notifier: MmuNotifier;
  readonly #tables: ChunkTable[];
  readonly #subscriptions: (Subscription | undefined)[] = [];
  readonly #events: GateEvents;
  #held: number[] = [];
  /** Requests that were ever held. */
  heldTotal = 0;

  constructor(
    requests: RequestTable,
    tables: ChunkTable[],
    leases: Leases | null,
    notifier: MmuNotifier,
    events: GateEvents,
  ) {
    this.#requests = requests;
    this.#tables = tables;
    this.#leases = leases;
    this.#notifier = notifier;
    this.#events = events;
  }

  /** Watches a segment; returns the number that requests name it by. */
  addTable(table: ChunkTable): number {
    const unused = this.#subscriptions.indexOf(undefined);
    const index = unused >= 0 ? unused : this.#tables.length;
    this.#tables[index] = table;
    this.#subscriptions[index] = this.#notifier.insert(table.range, this);
    return index;
  }

  /** Forgets a segment that was unmapped: its addresses may be somebody else's now. */
  removeTable(index: number): void {
    const subscription = this.#subscriptions[index];
    if (subscription !== undefined) this.#notifier.remove(subscription);
    this.#subscriptions[index] = undefined;
  }

  /**
   * Decides about an accepted request, and counts it in if it goes; its LEASE word says by which lease, or -1. `nowMs` is for the clocks
   * of the lease.
   */
  admit(slot: number, nowMs: number): Verdict {
    const requests = this.#requests.words;
    const request = slot << REQUEST_SHIFT;
    const first = requests[request + FIRST_CHUNK]!;
    if (first !== requests[request + LAST_CHUNK]) return this.#admitSpan(slot);

    const words = this.#tables[requests[request + TABLE]!]!.words;
    const at = first * CHUNK_WORDS;
    const deviceWrite = requests[request + WRITE] === 0;
    // Counted in before looking: whoever makes the chunk odd on another thread either sees this count or is seen here.
    Atomics.add(words, deviceWrite ? at + DEVICE_WRITES : at + DEVICE_READS, 1);
    const gate = Atomics.load(words, at + GATE);
    if (gate !== 0) {
      const verdict = verdictOf(gate, deviceWrite);
      if (verdict !== GO) {
        this.#countOut(words, at, deviceWrite);
        return this.#keepOut(slot, verdict);
      }
    }
    requests[request + REQUEST_SEQUENCE] = words[at + SEQUENCE]!;
    requests[request + STATE] = SUBMITTED;
    requests[request + REQUEST_LEASE] = -1;
    if (this.#leases !== null && (gate & (NO_LEASE | IN_PROGRESS)) === 0) {
      const lease = words[at + LEASE]! - 1;
      requests[request + REQUEST_LEASE] =
        lease >= 0 && this.#leases.table.use(lease, deviceWrite, nowMs)
          ? lease
          : this.#leases.acquire(requests[request + TABLE]!, first, deviceWrite, nowMs);
      words[at + USED_MS] = nowMs;
    }
    return GO;
  }

  /** More than one chunk: counted in on each, never by a lease (a registration ends at its chunk's edge). */
  #admitSpan(slot: number): Verdict {
    const request = slot << REQUEST_SHIFT;
    const requests = this.#requests.words;
    const { words } = this.#tables[requests[request + TABLE]!]!;
    const deviceWrite = requests[request + WRITE] === 0;
    const first = requests[request + FIRST_CHUNK]!;
    const last = requests[request + LAST_CHUNK]!;
    let sequence = 0;
    for (let c = first; c <= last; c++) {
      const at = c * CHUNK_WORDS;
      Atomics.add(words, at + (deviceWrite ? DEVICE_WRITES : DEVICE_READS), 1);
      const verdict = verdictOf(Atomics.load(words, at + GATE), deviceWrite);
      if (verdict !== GO) {
        for (let back = first; back <= c; back++) this.#countOut(words, back * CHUNK_WORDS, deviceWrite);
        return this.#keepOut(slot, verdict);
      }
      sequence = (sequence + words[at + SEQUENCE]!) | 0;
    }
    requests[request + REQUEST_SEQUENCE] = sequence;
    requests[request + STATE] = SUBMITTED;
    requests[request + REQUEST_LEASE] = -1;
    return GO;
  }

  #keepOut(slot: number, verdict: Verdict): Verdict {
    if (verdict === FAULT) return FAULT;
    const request = slot << REQUEST_SHIFT;
    const requests = this.#requests.words;
    if (requests[request + STATE] === HELD) return WAIT;
    requests[request + STATE] = HELD;
    const table = this.#tables[requests[request + TABLE]!]!;
    for (let c = requests[request + FIRST_CHUNK]!; c <= requests[request + LAST_CHUNK]!; c++)
      table.add(c, HELD_COUNT, 1);
    this.#held.push(slot);
    this.heldTotal++;
    return WAIT;
  }

  /** A submitted request has ended: counts it out, and lets an invalidation begin that waited for it. Doesn't free its slot. */
  complete(slot: number): void {
    const requests = this.#requests.words;
    const request = slot << REQUEST_SHIFT;
    if (requests[request + STATE] !== SUBMITTED)
      violated("EXACTLY_ONCE", `request ${slot} completed in state ${requests[request + STATE]}`);
    requests[request + STATE] = ACCEPTED;
    const { words } = this.#tables[requests[request + TABLE]!]!;
    const deviceWrite = requests[request + WRITE] === 0;
    const last = requests[request + LAST_CHUNK]!;
    for (let c = requests[request + FIRST_CHUNK]!; c <= last; c++) this.#countOut(words, c * CHUNK_WORDS, deviceWrite);
  }

  #countOut(words: Int32Array, at: number, deviceWrite: boolean): void {
    const before = Atomics.sub(words, deviceWrite ? at + DEVICE_WRITES : at + DEVICE_READS, 1);
    if (before <= 0) violated("EXACTLY_ONCE", `a chunk counted out below 0 (word ${at})`);
    if ((Atomics.load(words, at + GATE) & DRAINING) !== 0) this.#settleWords(words, at);
  }

  #settleWords(words: Int32Array, at: number): void {
    const table = this.#tables.find((t, index) => t.words === words && this.#subscriptions[index] !== undefined)!;
    this.#settle(table, at / CHUNK_WORDS);
  }

  /** The lease of this chunk is gone. */
  leaseGone(tableIndex: number, chunk: number): void {
    const table = this.#tables[tableIndex]!;
    table.store(chunk, LEASE, 0);
    if ((table.load(chunk, GATE) & DRAINING) !== 0) this.#settle(table, chunk);
  }

  /** Tells the invalidation that counted this chunk, if the chunk is quiet now. */
  #settle(table: ChunkTable, chunk: number): void {
    const gate = table.load(chunk, GATE);
    if (!isDrained(table, chunk, gate)) return;
    table.clearBits(chunk, DRAINING);
    const invalidation = this.#notifier.at(table.rangeOf(chunk).start);
    invariant("EXCLUSION", invalidation !== undefined, `chunk ${chunk} drains for nobody`);
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
    // Odd first, everywhere; then ask all leases to go; only then look who is still in: two passes.
    this.#everyChunk(range, (table, c) => {
      table.setBits(c, bits);
      const sequence = table.add(c, SEQUENCE, 1);
      invariant("EXCLUSION", (sequence & 1) === 1, `two invalidations in progress on chunk ${c}`);
      return true;
    });
    const leases = this.#leases;
    if (leases !== null && CONCERNS[event].lease !== "keep") {
      this.#everyChunk(range, (table, c) => {
        const lease = table.load(c, LEASE) - 1;
        if (lease < 0) return true;
        table.setBits(c, REVALIDATE);
        leases.drop(lease);
        return true;
      });
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

  resume(invalidation: Invalidation): void {
    const { range, event } = invalidation;
    const bits = gateBits(event);
    const flag = flagAfter(event);
    this.#everyChunk(range, (table, c) => {
      invariant("EXCLUSION", isDrained(table, c, bits), `I/O or a lease on chunk ${c} at the end of ${event}`);
      table.clearBits(c, IN_PROGRESS);
      if (flag !== 0) table.setBits(c, flag);
      const sequence = table.add(c, SEQUENCE, 1);
      invariant("EXCLUSION", (sequence & 1) === 0, `chunk ${c} is odd after ${event}`);
      return true;
    });
    this.#releaseHeld();
  }

  /** Every held request that nothing keeps out any more goes; the others stay in their order. */
  #releaseHeld(): void {
    const held = this.#held;
    this.#held = [];
    for (const slot of held) {
      const table = this.#tables[this.#requests.get(slot, TABLE)]!;
      const first = this.#requests.get(slot, FIRST_CHUNK);
      const last = this.#requests.get(slot, LAST_CHUNK);
      const deviceWrite = this.#requests.get(slot, WRITE) === 0;
      let verdict: Verdict = GO;
      for (let c = first; c <= last && verdict === GO; c++) verdict = verdictOf(table.load(c, GATE), deviceWrite);
      if (verdict === WAIT) {
        this.#held.push(slot);
        continue;
      }
      for (let c = first; c <= last; c++) {
        invariant("BOUNDED_HOLD", table.add(c, HELD_COUNT, -1) >= 0, `chunk ${c} holds fewer than none`);
      }
      this.#requests.words[(slot << REQUEST_SHIFT) + STATE] = ACCEPTED;
      this.#events.released(slot);
    }
  }

  /** The kernel has announced a change that it makes later: no lease on the range until `settle`. */
  unsettle(range: Range): void {
    this.#everyChunk(range, (table, c) => {
      table.setBits(c, UNSETTLED);
      return true;
    });
  }

  settle(range: Range): void {
    this.#everyChunk(range, (table, c) => {
      table.clearBits(c, UNSETTLED);
      return true;
    });
  }

  /** Notes what a memory operation found out about, or did to, the pages of a range. */
  notePages(range: Range, isHuge: (chunk: Range) => boolean): void {
    this.#everyChunk(range, (table, c) => {
      const chunk = table.rangeOf(c);
      table.setSegments(c, chunk, isHuge(chunk));
      return true;
    });
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

function verdictOf(gate: number, deviceWrite: boolean): Verdict {
  if (gate === 0) return GO;
  if ((gate & (deviceWrite ? EXCLUDES_DEVICE_WRITES : EXCLUDES_DEVICE_READS)) !== 0) return WAIT;
  if ((gate & (UNMAPPED | REFUSED)) !== 0 || (deviceWrite && (gate & READ_ONLY) !== 0)) return FAULT;
  return GO;
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
    case "readOnly":
      return READ_ONLY;
    case "refuse":
      return REFUSED;
    case "revalidate":
    case "goOn":
      return 0;
  }
}

function isDrained(table: ChunkTable, chunk: number, gate: number): boolean {
  if ((gate & EXCLUDES_DEVICE_WRITES) !== 0 && table.load(chunk, DEVICE_WRITES) !== 0) return false;
  if ((gate & EXCLUDES_DEVICE_READS) !== 0 && table.load(chunk, DEVICE_READS) !== 0) return false;
  return (gate & AWAITS_LEASE) === 0 || table.load(chunk, LEASE) === 0;
}
