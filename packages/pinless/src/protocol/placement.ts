/**
 * Placement of leased memory: decides when leases are given up, because their pages are on another NUMA node than the
 * thread that uses them, and when they may be taken again.
 *
 * The kernel's NUMA balancing scans memory from time to time, marks pages, and moves those that are used afterwards.
 * The scan passes over pinned pages, and nothing announces it. But the node of pages and of a thread can be asked for.
 */

import { isWithin } from "./elapsed.js";

const LOOK_MS = 1000;
const LOOK_WHILE_AWAITED_MS = 250;
/** Leases are given up if one of so many pages is on another node. Fewer aren't worth it. */
const ONE_OF = 16;
/** Time that the kernel has for the next page. Its scans are a minute apart, at most, by default. */
const PATIENCE_MS = 64_000;
/** Leases are held for at least so many times as long as they were given up, even if the kernel moves nothing. */
const HELD_AGAIN = 16;

export class Placement {
  readonly #elsewhere: (pages: readonly number[]) => number;
  #lookedAtMs: number | null = null;
  #pages: readonly number[] = [];
  /** Smallest number of `#pages` that were on another node, since leases were given up. */
  #left = 0;
  #movedAtMs = 0;
  #beganAtMs = 0;
  #settledAtMs: number | null = null;
  /** True while leases are given up for it. */
  isAwaited = false;

  /** `elsewhere`: counts those of the pages that NUMA balancing would move to the calling thread's node. */
  constructor(elsewhere: (pages: readonly number[]) => number) {
    this.#elsewhere = elsewhere;
  }

  /** Returns true if leases are to be given up now. Called while leases are held; looks at pages once a second. */
  isWrong(nowMs: number, pages: () => readonly number[]): boolean {
    if (this.#lookedAtMs !== null && isWithin(LOOK_MS, this.#lookedAtMs, nowMs)) return false;
    if (this.#settledAtMs !== null) {
      const awayMs = (this.#settledAtMs - this.#beganAtMs) | 0;
      if (isWithin(HELD_AGAIN * awayMs, this.#settledAtMs, nowMs)) return false;
      this.#settledAtMs = null;
    }
    this.#lookedAtMs = nowMs;
    this.#pages = pages();
    this.#left = this.#elsewhere(this.#pages);
    if (!this.#isApart(this.#left)) return false;
    this.#beganAtMs = nowMs;
    this.#movedAtMs = nowMs;
    this.isAwaited = true;
    return true;
  }

  /**
   * Returns true once the kernel has moved the pages, or hasn't moved one for so long that it won't. Called while
   * leases are given up for that.
   */
  isSettled(nowMs: number): boolean {
    if (this.#lookedAtMs !== null && isWithin(LOOK_WHILE_AWAITED_MS, this.#lookedAtMs, nowMs)) return false;
    this.#lookedAtMs = nowMs;
    const left = this.#elsewhere(this.#pages);
    if (left < this.#left) {
      this.#left = left;
      this.#movedAtMs = nowMs;
    }
    if (this.#isApart(left) && isWithin(PATIENCE_MS, this.#movedAtMs, nowMs)) return false;
    this.#settledAtMs = nowMs;
    this.isAwaited = false;
    return true;
  }

  #isApart(elsewhere: number): boolean {
    return elsewhere > 0 && elsewhere * ONE_OF >= this.#pages.length;
  }
}
