/**
 * The monitor's part in leases: gives back what is idle or was held too long while an engine's own thread doesn't look after its leases
 * (its heartbeat stalls), and those of chunks that are announced.
 */

import { LEASE as CHUNK_LEASE, CHUNK_WORDS } from "../chunk-table.js";
import { claim, forEachDue, HEARTBEAT_MS, HELD_SLOTS, IDLE_MS, MAX_MS, returned } from "../lease-table.js";
import { GO_ON, type Steps } from "./coroutine.js";
import type { Chunks } from "./deferred-changes.js";

interface Watched {
  readonly leases: Int32Array;
  /** Empties a slot of the ring's buffer table. */
  readonly empty: (slot: number) => void;
}

export class LeaseClock {
  readonly #watched = new Map<number, Watched>();

  watch(id: number, leases: Int32Array, empty: (slot: number) => void): void {
    this.#watched.set(id, { leases, empty });
  }

  unwatch(id: number): void {
    this.#watched.delete(id);
  }

  /** Drops what is due; comes to how long to sleep, Infinity while no lease is held. */
  *tick(nowMs: number): Steps<number> {
    let sleepMs = Number.POSITIVE_INFINITY;
    for (const watched of [...this.#watched.values()]) {
      const { leases } = watched;
      if (Atomics.load(leases, HELD_SLOTS) === 0) continue;
      const periodMs = Math.max(1, Math.min(Atomics.load(leases, IDLE_MS), Atomics.load(leases, MAX_MS)) / 4);
      sleepMs = Math.min(sleepMs, periodMs);
      // The engine looks once a period; two missed are a stall.
      if (((nowMs - Atomics.load(leases, HEARTBEAT_MS)) | 0) < 2 * periodMs) continue;
      const due: number[] = [];
      forEachDue(leases, nowMs, (slot) => due.push(slot));
      for (const slot of due) yield* drop(watched, slot);
    }
    return sleepMs;
  }

  /** Drops the leases that these chunks have, if any. */
  *dropLeasesOf(id: number, { words, first, last }: Chunks): Steps {
    const watched = this.#watched.get(id);
    if (watched === undefined) return;
    for (let c = first; c <= last; c++) {
      const slot = Atomics.load(words, c * CHUNK_WORDS + CHUNK_LEASE) - 1;
      if (slot >= 0) yield* drop(watched, slot);
    }
  }
}

function* drop({ leases, empty }: Watched, slot: number): Steps {
  if (!claim(leases, slot)) return;
  yield GO_ON;
  empty(slot);
  yield GO_ON;
  returned(leases, slot);
}
