/**
 * When a lease is taken and when it goes: the policy over the lease table, the chunks and the ring's buffer table.
 * Clocks are handed in as numbers.
 */

import {
  type ChunkTable,
  DEVICE_READS,
  DEVICE_WRITES,
  LEASE,
  MISSED,
  MISSED_SINCE_MS,
  RESTS_UNTIL_MS,
  REVALIDATE,
  SEGMENTS,
  USED_MS,
} from "./chunk-table.js";
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
import { PAGE_BYTES } from "./ranges/pages.js";
import type { Registrations } from "./scheme.js";

/** After the kernel refused a lease (ENOMEM: the limit is the user's, and shared), it isn't asked again for so long. */
const REFUSAL_PAUSE_MS = 10;
const HUGE_PAGE_BYTES = 2 << 20;
/** So few, of a huge page at most, cost little, even if each of them is taken and dropped for want of use all the time. */
const MANY_CHUNKS = 128;
/** For so long after there was no room for a lease there isn't for all that want one. */
const SCARCE_MS = 1000;
/** A sixteenth of the longest `max` that is taken, and some. */
const LONGEST_REST_MS = 240_000;
/** More than any lease costs: counting on would tell nothing. */
const MISSED_ENOUGH = 1 << 20;
/** To look for a lease that can go takes a look at all of them: so many in a millisecond. */
const LOOKED_AT_PER_MS = 256;

export interface LeasesParts {
  /** Absent: nobody looks whether memory is short. */
  readonly pressure?: Pressure | null;
  /** A lease was taken, and there was none before. */
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
  /** Null: nobody looks whether memory is short. */
  readonly pressure: Pressure | null;
  private refusedUntilMs = 0;
  private refused = false;
  /** When it was last tried to make room; null: never. */
  private madeRoomAtMs: number | null = null;
  #lookedAtMs = -1;
  /** When there was no room for a lease; null: never. And whether one was given back since. */
  private noRoomAtMs: number | null = null;
  private roomAgain = false;
  private givingUp = false;
  /** Leases taken again after an invalidation had dropped them. */
  revalidated = 0;
  /** The errno of the last refusal, or 0. EPERM: ours, since the process is another user's now. */
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

  /** Says who hears of the ends of leases, before the first is taken. */
  connect(ends: LeaseEnds): void {
    this.#ends = ends;
  }

  /**
   * A lease for a chunk that has none, or whose lease isn't fit for device writes yet. Returns its slot, or -1: go per-io.
   *
   * Worth taking on the second use within `idle`: a single use costs less per-io, and on movable memory a lease makes the kernel migrate.
   * Where there are many chunks, or large ones, or no room for all, what went per-io meanwhile must have paid for it as well: a lease that is dropped for
   * want of use has then cost at most as much again.
   */
  acquire(tableIndex: number, chunk: number, deviceWrite: boolean, nowMs: number, requestBytes: number): number {
    const table = this.#tables[tableIndex]!;
    const before = table.load(chunk, LEASE);
    const held = before - 1;
    if (held >= 0)
      return deviceWrite && this.table.state(held) === LIVE_CLEAN ? this.#populate(held, table, chunk, nowMs) : -1;
    const segments = table.load(chunk, SEGMENTS);
    if (!this.#isWorthIt(table, chunk, segments, nowMs, requestBytes)) return -1;
    if (this.refused && ((nowMs - this.refusedUntilMs) | 0) < 0) return -1;
    if (this.#isGivenUp(nowMs) || this.#isOutlived(nowMs)) return -1;
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
    if (this.table.header(HELD_SLOTS) === 1) this.#firstTaken?.(nowMs);
    if (before === REVALIDATE) this.revalidated++;
    return deviceWrite ? this.#populate(slot, table, chunk, nowMs) : slot;
  }

  /** Counts a request that has no lease; whether those before it would have paid for one, and the chunk doesn't rest. */
  #isWorthIt(table: ChunkTable, chunk: number, segments: number, nowMs: number, bytes: number): boolean {
    const usedMs = table.load(chunk, USED_MS);
    const pages = Math.ceil(bytes / PAGE_BYTES);
    if (usedMs === 0 || ((nowMs - usedMs) | 0) >= this.table.header(IDLE_MS)) {
      // Not all that was before: uses with such pauses don't add up to what a lease costs. One pause may be this thread's own.
      table.store(chunk, MISSED, (table.load(chunk, MISSED) >> 1) + pages);
      table.store(chunk, MISSED_SINCE_MS, nowMs);
      return false;
    }
    const missed = table.load(chunk, MISSED);
    if (missed < MISSED_ENOUGH) table.store(chunk, MISSED, missed + pages);
    const noRoomForMs = this.noRoomAtMs === null ? -1 : (nowMs - this.noRoomAtMs) | 0;
    // That is found out once a millisecond, not by every request.
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
    // Longer than any rest: the clock has gone round since.
    if (leftMs > 0 && leftMs <= LONGEST_REST_MS) return true;
    table.store(chunk, RESTS_UNTIL_MS, 0);
    return false;
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

  /** A free slot with room in the budget, or -1: perhaps after another lease was asked to make room. */
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
   * Drops the least recently used lease if that pays: what this chunk has missed, and what pays for a lease, it must have missed since that one
   * was last used. Of memory that is used evenly and far beyond the budget no lease is worth another's.
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

  #rest(chunks: ChunkTable, chunk: number, nowMs: number): void {
    const { restMs } = this.table;
    // 0 says that it doesn't.
    if (restMs > 0) chunks.store(chunk, RESTS_UNTIL_MS, (nowMs + restMs) | 0 || 1);
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
    this.givingUp = yes;
    if (yes) this.dropAll();
  }

  /** Gives every lease up if memory has become short, until it has been quiet for a while. */
  checkPressure(nowMs: number): void {
    if (!this.givingUp && this.pressure?.rises(nowMs) === true) this.giveUp(true);
  }

  /** Whether leases are still given up for a request that wants one. */
  #isGivenUp(nowMs: number): boolean {
    if (this.givingUp && this.pressure?.isOver(nowMs) === true) this.giveUp(false);
    return this.givingUp;
  }

  /** Leases that aren't given back yet. */
  get held(): number {
    return this.table.header(HELD_SLOTS);
  }

  #bury(slot: number, nowMs: number): void {
    this.roomAgain = true;
    const { table, chunk } = this.table.target(slot);
    if (this.table.free(slot, nowMs)) this.#rest(this.#tables[table]!, chunk, nowMs);
    this.#ends.leaseGone(table, chunk);
  }
}
