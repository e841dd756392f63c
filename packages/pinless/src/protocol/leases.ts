/**
 * Lease policy: decides when a chunk is registered in the ring's buffer table, and when the registration is dropped.
 * Clocks are handed in as numbers.
 */

import {
  type ChunkTable,
  DEVICE_READS,
  DEVICE_WRITES,
  LEASE,
  LEASED_AT,
  MISSED,
  MISSED_SINCE_MS,
  RESTS_UNTIL_MS,
  REVALIDATE,
  SEGMENTS,
  USED_MS,
} from "./chunk-table.js";
import { type Direction, READ } from "./direction.js";
import { EPERM } from "./errno.js";
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
  PINNED_PAGES,
  returned,
} from "./lease-table.js";
import type { Pressure } from "./pressure.js";
import { HUGE_PAGE_BYTES, PAGE_BYTES } from "./ranges/pages.js";
import type { Registrations } from "./scheme.js";

/**
 * Pause after the kernel has refused a lease. With ENOMEM the limit is the user's, and other processes may free some.
 */
const REFUSAL_PAUSE_MS = 10;
/** Leases of so few chunks, of a huge page at most, are cheap even if each is taken and dropped again and again. */
const MANY_CHUNKS = 128;
/** Time after a lease found no room during which room counts as scarce. */
const SCARCE_MS = 1000;
/** Upper bound of a rest, which is a sixteenth of `max`. */
const LONGEST_REST_MS = 240_000;
/** More pages than any lease costs, so that counting stops here. */
const MISSED_ENOUGH = 1 << 20;
/** Pages of all leases that are asked for their place, or one of each lease. */
const SAMPLED_PAGES = 256;
/** Leases looked at in a millisecond, at most, in search of one to drop: the search looks at all. */
const LOOKED_AT_PER_MS = 256;

export interface LeasesParts {
  /** Absent: leases are kept however short memory is. */
  readonly pressure?: Pressure | null;
  /** Called when the first lease is taken, and again each time that there was none left. */
  firstTaken?(nowMs: number): void;
}

/** The gate, as the leases see it. */
export interface LeaseEnds {
  /** The lease of this chunk is gone, and so its pages are free. */
  leaseGone(table: number, chunk: number): void;
}

export class Leases {
  readonly table: LeaseTable;
  readonly #registrations: Registrations;
  readonly #tables: readonly ChunkTable[];
  readonly #firstTaken: ((nowMs: number) => void) | undefined;
  #ends!: LeaseEnds;
  /** Null: leases are kept however short memory is. */
  readonly pressure: Pressure | null;
  private refusedUntilMs = 0;
  private refused = false;
  /** Time of the last attempt to make room; null: there was none. */
  private madeRoomAtMs: number | null = null;
  #lookedAtMs = -1;
  /** Time at which a lease found no room, null if it always did; and true if a lease was given back since. */
  private noRoomAtMs: number | null = null;
  private roomAgain = false;
  private givingUp = false;
  /** Leases taken again after an invalidation had dropped them. */
  revalidated = 0;
  /** The errno of the last refusal, or 0. EPERM is our own: the process runs as another user now. */
  lastRefusal = 0;

  constructor(
    table: LeaseTable,
    registrations: Registrations,
    tables: readonly ChunkTable[],
    { pressure = null, firstTaken }: LeasesParts = {},
  ) {
    this.table = table;
    this.#registrations = registrations;
    this.#tables = tables;
    this.#firstTaken = firstTaken;
    this.pressure = pressure;
  }

  /** Sets the receiver of leases' ends, before the first is taken. */
  connect(ends: LeaseEnds): void {
    this.#ends = ends;
  }

  /**
   * Takes a lease for a chunk that has none, or populates one that isn't fit for device writes yet. Returns its slot;
   * -1 means per-io.
   *
   * A lease is worth taking on the second use within `idle`: a single use costs less per-io, and on movable memory a
   * lease makes the kernel migrate. With many or large chunks, or where room is scarce, the pages that went per-io
   * meanwhile must also have cost as much as the lease will. So a lease that is soon dropped, unused, at most doubles
   * the cost. `announced` is the number of changes that were announced so far.
   */
  acquire(
    tableIndex: number,
    chunk: number,
    direction: Direction,
    nowMs: number,
    requestBytes: number,
    announced = 0,
  ): number {
    const table = this.#tables[tableIndex]!;
    const before = table.load(chunk, LEASE);
    const held = before - 1;
    if (held >= 0)
      return direction === READ && this.table.state(held) === LIVE_CLEAN
        ? this.#populate(held, table, chunk, nowMs)
        : -1;
    const segments = table.load(chunk, SEGMENTS);
    if (!this.#isWorthIt(table, chunk, segments, nowMs, requestBytes)) return -1;
    if (this.refused && ((nowMs - this.refusedUntilMs) | 0) < 0) return -1;
    if (this.#isGivenUp(nowMs) || this.#givesUpForOtherUser(nowMs)) return -1;
    const { start, end } = table.rangeOf(chunk);
    const bytes = end - start;
    // A part of a huge page pins all of it.
    const pinned = segments === 1 ? Math.max(bytes, HUGE_PAGE_BYTES) : bytes;
    const slot = this.#room(pinned, segments, table, chunk, nowMs);
    if (slot < 0) return -1;
    const errno = this.#registrations.take(slot, start, bytes);
    if (errno < 0) {
      this.#refusal(errno, nowMs);
      return -1;
    }
    this.refused = false;
    this.table.taken(slot, { table: tableIndex, chunk, bytes: pinned, segments }, nowMs);
    table.store(chunk, LEASE, slot + 1);
    if (table.owner !== null) table.store(chunk, LEASED_AT, announced);
    if (this.table.header(HELD_SLOTS) === 1) this.#firstTaken?.(nowMs);
    if (before === REVALIDATE) this.revalidated++;
    return direction === READ ? this.#populate(slot, table, chunk, nowMs) : slot;
  }

  /** Counts a request without a lease. True if those before it would have paid for one, and the chunk doesn't rest. */
  #isWorthIt(table: ChunkTable, chunk: number, segments: number, nowMs: number, bytes: number): boolean {
    const usedMs = table.load(chunk, USED_MS);
    const pages = Math.ceil(bytes / PAGE_BYTES);
    if (usedMs === 0 || ((nowMs - usedMs) | 0) >= this.table.header(IDLE_MS)) {
      // Half of the count goes: uses with such pauses don't add up to a lease's cost, but one pause may be our
      // thread's.
      table.store(chunk, MISSED, (table.load(chunk, MISSED) >> 1) + pages);
      table.store(chunk, MISSED_SINCE_MS, nowMs);
      return false;
    }
    const missed = table.load(chunk, MISSED);
    if (missed < MISSED_ENOUGH) table.store(chunk, MISSED, missed + pages);
    const noRoomForMs = this.noRoomAtMs === null ? -1 : (nowMs - this.noRoomAtMs) | 0;
    // The search for room runs once a millisecond, not for every request.
    if (noRoomForMs === 0 && !this.roomAgain) return false;
    const scarce = noRoomForMs >= 0 && noRoomForMs < SCARCE_MS;
    const cheap = table.chunks <= MANY_CHUNKS && table.chunkBytes <= HUGE_PAGE_BYTES;
    if (!scarce && cheap) return !this.#rests(table, chunk, nowMs);
    const cost = this.#registrations.costPages(table.chunkBytes, segments, this.table.header(PINNED_PAGES));
    return missed >= cost && !this.#rests(table, chunk, nowMs);
  }

  #rests(table: ChunkTable, chunk: number, nowMs: number): boolean {
    const untilMs = table.load(chunk, RESTS_UNTIL_MS);
    if (untilMs === 0) return false;
    const leftMs = (untilMs - nowMs) | 0;
    // A time that is longer than any rest is of the clock's previous round.
    if (leftMs > 0 && leftMs <= LONGEST_REST_MS) return true;
    table.store(chunk, RESTS_UNTIL_MS, 0);
    return false;
  }

  /**
   * Gives all leases up once the process runs as another user, because the kernel would go on charging the ring's
   * maker, and root not at all. Looks once a millisecond.
   */
  #givesUpForOtherUser(nowMs: number): boolean {
    if (nowMs === this.#lookedAtMs) return false;
    this.#lookedAtMs = nowMs;
    if (!this.#registrations.userChanged) return false;
    this.#refusal(-EPERM, nowMs);
    this.dropAll();
    return true;
  }

  /** Populates after pinning, so that the pages are dirty and stay so while they're pinned (DEVICE_WRITES_DIRTY). */
  #populate(slot: number, table: ChunkTable, chunk: number, nowMs: number): number {
    const { start, end } = table.rangeOf(chunk);
    if (this.#registrations.populate(start, end - start) < 0) return -1;
    this.table.populated(slot);
    return this.table.use(slot, READ, nowMs) ? slot : -1;
  }

  /** Finds a free slot with room in the budget. Else -1, after asking another lease to go where that pays. */
  #room(bytes: number, segments: number, chunks: ChunkTable, chunk: number, nowMs: number): number {
    if (!this.table.couldFit(bytes, segments)) return -1;
    if (this.table.fits(bytes, segments)) {
      const slot = this.table.freeSlot();
      if (slot >= 0) return slot;
    }
    this.noRoomAtMs = nowMs;
    this.roomAgain = false;
    const sinceMs = this.madeRoomAtMs === null ? Number.POSITIVE_INFINITY : (nowMs - this.madeRoomAtMs) | 0;
    if (sinceMs >= 0 && sinceMs * LOOKED_AT_PER_MS < this.table.header(HELD_SLOTS)) return -1;
    this.madeRoomAtMs = nowMs;
    this.#makeRoom(chunks, chunk, nowMs);
    return -1;
  }

  /**
   * Drops the least recently used lease if that pays: this chunk must have missed a lease's cost since that lease was
   * last used. In memory that is used evenly and far beyond the budget, no lease is worth another's place.
   */
  #makeRoom(chunks: ChunkTable, chunk: number, nowMs: number): void {
    const victim = this.table.leastRecentlyUsed(nowMs, (candidate) => this.#isUnused(candidate));
    if (victim < 0) return;
    if (((chunks.load(chunk, MISSED_SINCE_MS) - this.table.lastUseMs(victim)) | 0) > 0) {
      this.drop(victim);
      return;
    }
    chunks.store(chunk, MISSED, 0);
    chunks.store(chunk, MISSED_SINCE_MS, nowMs);
  }

  #isUnused(slot: number): boolean {
    const { table, chunk } = this.table.target(slot);
    const chunks = this.#tables[table]!;
    return chunks.inFlight(chunk, DEVICE_WRITES) === 0 && chunks.inFlight(chunk, DEVICE_READS) === 0;
  }

  #refusal(errno: number, nowMs: number): void {
    this.refused = true;
    this.lastRefusal = errno;
    this.refusedUntilMs = (nowMs + REFUSAL_PAUSE_MS) | 0;
  }

  /** Begins to give a lease back; `released` follows. Does nothing if the lease is being dropped already. */
  drop(slot: number): void {
    if (!claim(this.table.words, slot)) return;
    const errno = this.#registrations.drop(slot);
    if (errno < 0) throw new Error(`the kernel refused to empty buffer slot ${slot}: errno ${-errno}`);
    returned(this.table.words, slot);
  }

  /** Drops the lease of a chunk of another engine's memory if a change was announced there since it was taken. */
  dropIfOlder(words: Int32Array, at: number, announced: number): void {
    const lease = words[at + LEASE]! - 1;
    if (lease >= 0 && words[at + LEASED_AT] !== announced) this.drop(lease);
  }

  /** Handles the tag completion of a buffer slot: its pages are unpinned. */
  released(slot: number, nowMs: number): void {
    if (this.table.tagged(slot)) this.#free(slot, nowMs);
  }

  /** Gives back leases that are idle or held too long, and frees the slots of those that the monitor dropped. */
  tick(nowMs: number): void {
    Atomics.store(this.table.words, HEARTBEAT_MS, nowMs);
    this.#givesUpForOtherUser(nowMs);
    forEachDue(this.table.words, nowMs, (slot) => this.drop(slot));
    this.collect(nowMs);
  }

  /** Frees the slots of leases whose tag was seen before the monitor's update returned. */
  collect(nowMs: number): void {
    if (!this.uncollected) return;
    forEachGone(this.table.words, (slot) => this.#free(slot, nowMs));
  }

  /**
   * Completes the drops that a monitor that has ended had begun. If its update had run, the slot is empty, and emptying
   * it once more posts no tag.
   */
  completeAbandonedDrops(nowMs: number): void {
    forEachAbandoned(this.table.words, (slot, tagged) => {
      if (!tagged) this.#registrations.drop(slot);
      returned(this.table.words, slot);
    });
    this.collect(nowMs);
  }

  #rest(chunks: ChunkTable, chunk: number, nowMs: number): void {
    const { restMs } = this.table;
    // 0 means no rest.
    if (restMs > 0) chunks.store(chunk, RESTS_UNTIL_MS, (nowMs + restMs) | 0 || 1);
  }

  /**
   * True while a lease is being dropped: its tag or its update's return is still to come. One load, since every turn
   * asks.
   */
  get uncollected(): boolean {
    return this.table.header(LEAVING) > 0;
  }

  /** Gives every lease back. */
  dropAll(): void {
    forEachLive(this.table.words, (slot) => this.drop(slot));
  }

  /** Slots whose lease is being dropped: they are neither free nor live. */
  beingDropped(): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < this.table.slots; slot++) if (this.isBeingDropped(slot)) slots.push(slot);
    return slots;
  }

  isBeingDropped(slot: number): boolean {
    return this.table.state(slot) >= DROPPING;
  }

  /** Drops all leases and takes none until `takeAgain`. */
  giveUp(): void {
    this.givingUp = true;
    this.dropAll();
  }

  takeAgain(): void {
    this.givingUp = false;
  }

  /** Gives every lease up if memory has become short, until it has been quiet for a while. */
  checkPressure(nowMs: number): void {
    if (!this.givingUp && this.pressure?.rises(nowMs, () => this.#sample()) === true) this.giveUp();
  }

  /** Addresses of some pages of each lease. */
  #sample(): number[] {
    const pages: number[] = [];
    const each = Math.ceil(SAMPLED_PAGES / this.held);
    forEachLive(this.table.words, (slot) => {
      const { table, chunk } = this.table.target(slot);
      const { start, end } = this.#tables[table]!.rangeOf(chunk);
      const step = Math.ceil((end - start) / PAGE_BYTES / each) * PAGE_BYTES;
      for (let at = start; at < end; at += step) pages.push(at);
    });
    return pages;
  }

  /** True while leases are given up. Called for a request that wants one: if memory is quiet again, that ends it. */
  #isGivenUp(nowMs: number): boolean {
    if (this.givingUp && this.pressure?.isOver(nowMs) === true) this.takeAgain();
    return this.givingUp;
  }

  /** Number of leases that aren't given back yet. */
  get held(): number {
    return this.table.header(HELD_SLOTS);
  }

  #free(slot: number, nowMs: number): void {
    this.roomAgain = true;
    const { table, chunk } = this.table.target(slot);
    if (this.table.free(slot, nowMs)) this.#rest(this.#tables[table]!, chunk, nowMs);
    this.#ends.leaseGone(table, chunk);
  }
}
