/**
 * Leases much as the engine takes and gives them back (protocol/leases.ts): on the second use of a chunk within `idle`,
 * within a budget, and back after `idle` without I/O or `max` in any case. Beyond the budget the least recently used
 * one goes, whether that pays or not, and no chunk rests.
 */

import { MAX_SEGMENTS, MAX_SLOTS } from "pinless/portable";
import { CHANGED, type Chunks, HUGE, LEASED, LEAVING } from "./chunks.js";
import { COSTS, giveUs, HUGE_BYTES, HUGE_PAGES, takeUs } from "./costs.js";
import type { Counters } from "./counters.js";
import type { Plan } from "./plan.js";

/** As often as one is evicted at most. */
const EVICTION_MS = 1;

export class LeaseCosts {
  readonly #chunks: Chunks;
  readonly #counters: Counters;
  readonly #lease: Plan["lease"];
  readonly #most: number;
  readonly #populates: boolean;
  /** When each was taken. */
  readonly #live = new Map<number, number>();
  #segments = 0;
  #evictedAtMs = Number.NEGATIVE_INFINITY;

  constructor(plan: Plan, chunks: Chunks, counters: Counters) {
    this.#chunks = chunks;
    this.#counters = counters;
    this.#lease = plan.lease;
    this.#most = Math.min(MAX_SLOTS, Math.floor(plan.lease.budgetBytes / HUGE_BYTES));
    // Only what a device may write has to be dirty.
    this.#populates = plan.io.writeShare < 1;
  }

  get live(): number {
    return this.#live.size;
  }

  /** Those with a lease now. */
  chunks(): readonly number[] {
    return [...this.#live.keys()];
  }

  has(chunk: number): boolean {
    return this.#chunks.is(chunk, LEASED);
  }

  /**
   * A request on a chunk: the microseconds that it costs by a lease, or -1 less those that it cost to find out that it
   * has to go without.
   */
  use(chunk: number, nowMs: number): number {
    const chunks = this.#chunks;
    if (chunks.is(chunk, LEAVING)) return -1;
    if (chunks.is(chunk, LEASED)) {
      chunks.byLease[chunk]!++;
      return 0;
    }
    if (nowMs - chunks.usedMs[chunk]! >= this.#lease.idleMs) return -1;
    const huge = chunks.is(chunk, HUGE);
    const segments = huge ? 1 : HUGE_PAGES;
    if (this.#live.size >= this.#most || this.#segments + segments > MAX_SEGMENTS) return -1 - this.#evict(nowMs);
    let us = takeUs(HUGE_PAGES, huge ? HUGE_PAGES : 1, this.#segments);
    if (this.#populates) us += huge ? COSTS.populateHugePage.us : COSTS.populatePage.us * HUGE_PAGES;
    this.#live.set(chunk, nowMs);
    this.#segments += segments;
    chunks.set(chunk, LEASED);
    chunks.byLease[chunk]!++;
    const counters = this.#counters;
    counters.leasesTaken++;
    counters.leaseUs += us;
    if (chunks.is(chunk, CHANGED)) {
      chunks.clear(chunk, CHANGED);
      counters.revalidations++;
      counters.revalidationUs += us;
    }
    return us;
  }

  /** A request that went by a lease has ended: a lease that was dropped meanwhile goes with the last one. */
  ended(chunk: number): void {
    const left = --this.#chunks.byLease[chunk]!;
    if (left === 0 && this.#chunks.is(chunk, LEAVING)) this.#bury(chunk);
  }

  /** Gives a lease back, if there is one; microseconds. */
  give(chunk: number): number {
    const chunks = this.#chunks;
    if (!chunks.is(chunk, LEASED) || chunks.is(chunk, LEAVING)) return 0;
    const us = giveUs(HUGE_PAGES, chunks.is(chunk, HUGE) ? HUGE_PAGES : 1);
    this.#counters.leaseUs += us;
    if (chunks.byLease[chunk]! > 0) chunks.set(chunk, LEAVING);
    else this.#bury(chunk);
    return us;
  }

  #bury(chunk: number): void {
    const chunks = this.#chunks;
    chunks.clear(chunk, LEASED | LEAVING);
    this.#live.delete(chunk);
    this.#segments -= chunks.is(chunk, HUGE) ? 1 : HUGE_PAGES;
    this.#counters.leasesGiven++;
  }

  /** What is idle, or held for too long. */
  giveDue(nowMs: number): number {
    const { idleMs, maxMs } = this.#lease;
    let us = 0;
    for (const [chunk, takenMs] of this.#live)
      if (nowMs - this.#chunks.usedMs[chunk]! >= idleMs || nowMs - takenMs >= maxMs) us += this.give(chunk);
    return us;
  }

  /** At most one a millisecond. */
  #evict(nowMs: number): number {
    if (nowMs - this.#evictedAtMs < EVICTION_MS) return 0;
    let oldest = -1;
    const { usedMs } = this.#chunks;
    for (const chunk of this.#live.keys())
      if (this.#chunks.inFlight(chunk) === 0 && (oldest < 0 || usedMs[chunk]! < usedMs[oldest]!)) oldest = chunk;
    if (oldest < 0) return 0;
    this.#evictedAtMs = nowMs;
    return this.give(oldest);
  }
}
