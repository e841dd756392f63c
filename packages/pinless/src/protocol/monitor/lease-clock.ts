/**
 * The leases that the monitor may have to drop: those of chunks that it announces, and those that are idle or held too
 * long while the engine's own thread is busy (its heartbeat stalls).
 */

import { LEASE as CHUNK_LEASE, CHUNK_WORDS } from "../chunk-table.js";
import { claim, forEachDue, HEARTBEAT_MS, HELD_SLOTS, IDLE_MS, MAX_MS, returned } from "../lease-table.js";

interface Watched {
  readonly leases: Int32Array;
  /** Empties a slot of the ring's buffer table. */
  readonly emptySlot: (slot: number) => void;
}

export interface Lease {
  readonly of: Watched;
  readonly slot: number;
}

export class LeaseClock {
  readonly #watched = new Map<number, Watched>();

  watch(id: number, leases: Int32Array, emptySlot: (slot: number) => void): void {
    this.#watched.set(id, { leases, emptySlot });
  }

  unwatch(id: number): void {
    this.#watched.delete(id);
  }

  /** Milliseconds between two looks for leases that are due; Infinity while none is held. */
  periodMs(): number {
    let ms = Number.POSITIVE_INFINITY;
    for (const { leases } of this.#watched.values())
      if (Atomics.load(leases, HELD_SLOTS) > 0) ms = Math.min(ms, periodMsOf(leases));
    return ms;
  }

  /** A lease that is due in an engine whose heartbeat stalls, or null. */
  nextDue(nowMs: number): Lease | null {
    for (const watched of this.#watched.values()) {
      const { leases } = watched;
      if (Atomics.load(leases, HELD_SLOTS) === 0) continue;
      // The engine looks once a period; two missed are a stall.
      if (((nowMs - Atomics.load(leases, HEARTBEAT_MS)) | 0) < 2 * periodMsOf(leases)) continue;
      let due = -1;
      forEachDue(leases, nowMs, (slot) => {
        if (due < 0) due = slot;
      });
      if (due >= 0) return { of: watched, slot: due };
    }
    return null;
  }

  /** The lease of a chunk, or null. */
  leaseOf(id: number, words: Int32Array, chunk: number): Lease | null {
    const of = this.#watched.get(id);
    const slot = Atomics.load(words, chunk * CHUNK_WORDS + CHUNK_LEASE) - 1;
    return of === undefined || slot < 0 ? null : { of, slot };
  }

  /** Takes over the dropping of a lease; returns false if it isn't live any more, or is being dropped already. */
  claim({ of, slot }: Lease): boolean {
    return claim(of.leases, slot);
  }

  empty({ of, slot }: Lease): void {
    of.emptySlot(slot);
  }

  returned({ of, slot }: Lease): void {
    returned(of.leases, slot);
  }
}

function periodMsOf(leases: Int32Array): number {
  return Math.max(1, Math.min(Atomics.load(leases, IDLE_MS), Atomics.load(leases, MAX_MS)) / 4);
}
