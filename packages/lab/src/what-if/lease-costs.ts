/**
 * Lease policy of the what-if, close to the engine's (protocol/leases.ts): a chunk is leased on its second use within
 * `idle` if the budget allows it, and given back after `idle` without I/O, or after `max`. Unlike the engine, it evicts
 * the least recently used lease beyond the budget without asking whether that pays, and lets a chunk be leased again at
 * once.
 */

import { MAX_SEGMENTS, MAX_SLOTS } from "pinless/portable";
import { HUGE_PAGES } from "../model/tables.js";
import { CHANGED, type Chunks, HUGE, LEASED, LEAVING } from "./chunks.js";
import { COSTS, giveUs, HUGE_BYTES, takeUs } from "./costs.js";
import type { Counters } from "./counters.js";
import type { Plan } from "./plan.js";

/** Least time between two evictions. */
const EVICTION_MS = 1;

export class LeaseCosts {
  readonly #chunks: Chunks;
  readonly #counters: Counters;
  readonly #lease: Plan["lease"];
  readonly #most: number;
  readonly #populates: boolean;
  /** Time at which the lease of each chunk was taken. */
  readonly #live = new Map<number, number>();
  #segments = 0;
  #evictedAtMs = Number.NEGATIVE_INFINITY;

  constructor(plan: Plan, chunks: Chunks, counters: Counters) {
    this.#chunks = chunks;
    this.#counters = counters;
    this.#lease = plan.lease;
    this.#most = Math.min(MAX_SLOTS, Math.floor(plan.lease.budgetBytes / HUGE_BYTES));
    // Pages have to be dirty only if a device may write to them.
    this.#populates = plan.io.writeShare < 1;
  }

  get live(): number {
    return this.#live.size;
  }

  /** Chunks with a lease. */
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

  /** Ends a request that used a lease. A lease that was dropped meanwhile ends with its last request. */
  ended(chunk: number): void {
    const left = --this.#chunks.byLease[chunk]!;
    if (left === 0 && this.#chunks.is(chunk, LEAVING)) this.#bury(chunk);
  }

  /** Gives a lease back, if the chunk has one. Returns the cost in microseconds. */
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

  /** Gives leases back that are idle, or older than `max`. */
  giveDue(nowMs: number): number {
    const { idleMs, maxMs } = this.#lease;
    let us = 0;
    for (const [chunk, takenMs] of this.#live)
      if (nowMs - this.#chunks.usedMs[chunk]! >= idleMs || nowMs - takenMs >= maxMs) us += this.give(chunk);
    return us;
  }

  /** Evicts the least recently used lease, at most one every millisecond. */
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
