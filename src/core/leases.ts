/**
 * When a lease is taken and when it goes: the policy over the lease table, the chunks and the ring's buffer table.
 * Clocks are handed in as numbers.
 */

import { type ChunkTable, DEVICE_READS, DEVICE_WRITES, LEASE, REVALIDATE, SEGMENTS, USED_MS } from "./chunk-table.js";
import {
  claim,
  DROPPING,
  forEachAbandoned,
  forEachDue,
  forEachGone,
  forEachLive,
  HEARTBEAT_MS,
  HELD_SLOTS,
  IDLE_MS,
  LEAVING,
  type LeaseTable,
  LIVE_CLEAN,
  returned,
} from "./lease-table.js";
import { EPERM, type Registrations } from "./ports.js";
import type { Pressure } from "./pressure.js";
import type { StateWords } from "./state-words.js";

/** After the kernel refused a lease (ENOMEM: the limit is the user's, and shared), it isn't asked again for so long. */
const REFUSAL_PAUSE_MS = 10;
const HUGE_PAGE_BYTES = 2 << 20;

export interface LeaseEvents {
  /** There was none before: clocks and the watchdog start. */
  firstTaken(nowMs: number): void;
  /** A lease is gone, and so its chunk's pages are free. */
  gone(table: number, chunk: number): void;
}

export class Leases {
  readonly table: LeaseTable;
  readonly #registrations: Registrations;
  readonly #tables: readonly ChunkTable[];
  readonly #events: LeaseEvents;
  /** Null: nobody looks whether memory is short. */
  readonly pressure: Pressure | null;
  #refusedUntilMs = 0;
  #refused = false;
  #evictedAtMs = -1;
  #lookedAtMs = -1;
  #givingUp = false;
  /** Leases taken again after an invalidation had dropped them. */
  revalidated = 0;
  /** The errno of the last refusal, or 0. EPERM: ours, since the process is another user's now. */
  lastRefusal = 0;

  constructor(
    table: LeaseTable,
    registrations: Registrations,
    tables: readonly ChunkTable[],
    events: LeaseEvents,
    pressure: Pressure | null = null,
  ) {
    this.table = table;
    this.#registrations = registrations;
    this.#tables = tables;
    this.#events = events;
    this.pressure = pressure;
  }

  /**
   * A lease for a chunk that has none, or whose lease isn't fit for device writes yet. Returns its slot, or -1: go per-io.
   * Worth taking on the second use within `idle`: a single use costs less per-io, and on movable memory a lease makes the kernel migrate.
   */
  acquire(tableIndex: number, chunk: number, deviceWrite: boolean, nowMs: number): number {
    const table = this.#tables[tableIndex]!;
    const before = table.load(chunk, LEASE);
    const held = before - 1;
    if (held >= 0)
      return deviceWrite && this.table.state(held) === LIVE_CLEAN ? this.#populate(held, table, chunk, nowMs) : -1;
    const usedMs = table.load(chunk, USED_MS);
    if (usedMs === 0 || ((nowMs - usedMs) | 0) >= this.table.header(IDLE_MS)) return -1;
    if (this.#refused && ((nowMs - this.#refusedUntilMs) | 0) < 0) return -1;
    if (this.#isGivenUp(nowMs) || this.#isOutlived(nowMs)) return -1;
    const { start, end } = table.rangeOf(chunk);
    const bytes = end - start;
    const segments = table.load(chunk, SEGMENTS);
    // A part of a huge page pins all of it.
    const pinned = segments === 1 ? Math.max(bytes, HUGE_PAGE_BYTES) : bytes;
    const slot = this.#room(pinned, segments, nowMs);
    if (slot < 0) return -1;
    const errno = this.#registrations.take(slot, start, bytes);
    if (errno < 0) {
      this.#refusal(errno, nowMs);
      return -1;
    }
    this.#refused = false;
    this.table.taken(slot, { table: tableIndex, chunk, bytes: pinned, segments }, nowMs);
    table.store(chunk, LEASE, slot + 1);
    if (this.table.header(HELD_SLOTS) === 1) this.#events.firstTaken(nowMs);
    if (before === REVALIDATE) this.revalidated++;
    return deviceWrite ? this.#populate(slot, table, chunk, nowMs) : slot;
  }

  /** Looked at once a millisecond. The kernel would go on charging the user that made the ring: for root, nobody. */
  #isOutlived(nowMs: number): boolean {
    if (nowMs === this.#lookedAtMs) return false;
    this.#lookedAtMs = nowMs;
    if (!this.#registrations.outlived) return false;
    this.#refusal(-EPERM, nowMs);
    this.dropAll();
    return true;
  }

  /** Pin first, then populate: the pages that the device will write are dirty, and stay so while they're pinned (DEVICE_WRITES_DIRTY). */
  #populate(slot: number, table: ChunkTable, chunk: number, nowMs: number): number {
    const { start, end } = table.rangeOf(chunk);
    if (this.#registrations.populate(start, end - start) < 0) return -1;
    this.table.populated(slot);
    return this.table.use(slot, true, nowMs) ? slot : -1;
  }

  /** A free slot with room in the budget, or -1 after the least recently used lease was asked to make room. */
  #room(bytes: number, segments: number, nowMs: number): number {
    if (!this.table.couldFit(bytes, segments)) return -1;
    const slot = this.table.freeSlot();
    if (slot >= 0 && this.table.fits(bytes, segments)) return slot;
    // At most one a millisecond: memory used evenly and far beyond the budget would otherwise spend its time taking leases.
    if (this.#evictedAtMs === nowMs) return -1;
    const victim = this.table.leastRecentlyUsed(nowMs, (candidate) => this.#isUnused(candidate));
    if (victim < 0) return -1;
    this.#evictedAtMs = nowMs;
    this.drop(victim);
    return -1;
  }

  #isUnused(slot: number): boolean {
    const { table, chunk } = this.table.target(slot);
    const chunks = this.#tables[table]!;
    return chunks.inFlight(chunk, DEVICE_WRITES) === 0 && chunks.inFlight(chunk, DEVICE_READS) === 0;
  }

  #refusal(errno: number, nowMs: number): void {
    this.#refused = true;
    this.lastRefusal = errno;
    this.#refusedUntilMs = (nowMs + REFUSAL_PAUSE_MS) | 0;
  }

  /** Begins to give a lease back; `released` follows. Harmless on one that is on its way already. */
  drop(slot: number): void {
    if (!claim(this.table.words, slot)) return;
    const errno = this.#registrations.drop(slot);
    if (errno < 0) throw new Error(`the kernel refused to empty buffer slot ${slot}: errno ${-errno}`);
    returned(this.table.words, slot);
  }

  /** The tag completion of a buffer slot came. */
  released(slot: number, nowMs: number): void {
    if (this.table.tagged(slot)) this.#bury(slot, nowMs);
  }

  /** Gives back what is idle or held too long, and does the books of what the monitor dropped. */
  tick(nowMs: number): void {
    Atomics.store(this.table.words, HEARTBEAT_MS, nowMs);
    this.#isOutlived(nowMs);
    forEachDue(this.table.words, nowMs, (slot) => this.drop(slot));
    this.collect(nowMs);
  }

  /** Does the books of leases whose update returned, on the monitor's thread, only after their tag was seen. */
  collect(nowMs: number): void {
    if (!this.uncollected) return;
    forEachGone(this.table.words, (slot) => this.#bury(slot, nowMs));
  }

  /**
   * The monitor has ended, perhaps in the middle of a drop: what it had claimed is dropped here. Where it had got as far as the update, the
   * slot is empty already, and emptying it once more posts no tag.
   */
  mend(nowMs: number): void {
    forEachAbandoned(this.table.words, (slot, tagged) => {
      if (!tagged) this.#registrations.drop(slot);
      returned(this.table.words, slot);
    });
    this.collect(nowMs);
  }

  /** Whether a lease is on its way: its tag is still to be seen, or its update to return. Asked in every turn, so it's one look. */
  get uncollected(): boolean {
    return this.table.header(LEAVING) > 0;
  }

  /** Gives every lease back. */
  dropAll(): void {
    forEachLive(this.table.words, (slot) => this.drop(slot));
  }

  /** The slots whose lease is on its way: neither free nor, meanwhile, taken again. */
  onTheirWay(): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < this.table.slots; slot++) if (this.isOnItsWay(slot)) slots.push(slot);
    return slots;
  }

  isOnItsWay(slot: number): boolean {
    return this.table.state(slot) >= DROPPING;
  }

  /** While given up, no lease is taken. */
  giveUp(yes: boolean): void {
    this.#givingUp = yes;
    if (yes) this.dropAll();
  }

  /** Gives every lease up if memory has become short, until it has been quiet for a while. */
  checkPressure(nowMs: number): void {
    if (!this.#givingUp && this.pressure?.rises(nowMs) === true) this.giveUp(true);
  }

  /** Whether leases are still given up for a request that wants one. */
  #isGivenUp(nowMs: number): boolean {
    if (this.#givingUp && this.pressure?.isOver(nowMs) === true) this.giveUp(false);
    return this.#givingUp;
  }

  /** Leases that aren't given back yet. */
  get held(): number {
    return this.table.header(HELD_SLOTS);
  }

  /** What isn't in the table. */
  save(to: StateWords): void {
    to.put(this.#refused ? 1 : 0);
    to.put(this.#refusedUntilMs);
    to.put(this.#evictedAtMs);
    to.put(this.#givingUp ? 1 : 0);
  }

  restore(from: StateWords): void {
    this.#refused = from.take() === 1;
    this.#refusedUntilMs = from.take();
    this.#evictedAtMs = from.take();
    this.#givingUp = from.take() === 1;
  }

  #bury(slot: number, nowMs: number): void {
    const { table, chunk } = this.table.target(slot);
    this.table.free(slot, nowMs);
    this.#events.gone(table, chunk);
  }
}
