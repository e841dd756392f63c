/** Gives back what is idle or was held too long while an engine's own thread doesn't look after its leases (its heartbeat stalls). */

import type { Chunks } from "../core/announcements.js";
import { LEASE as CHUNK_LEASE, CHUNK_WORDS } from "../core/chunk-table.js";
import { claim, forEachDue, HEARTBEAT_MS, HELD_SLOTS, IDLE_MS, MAX_MS, returned } from "../core/lease-table.js";
import { BufferUpdate } from "../linux/buffer-update.js";
import { monotonicMs } from "../linux/clock.js";

interface Watched {
  readonly leases: Int32Array;
  readonly update: BufferUpdate;
}

export class LeaseClock {
  readonly #watched = new Map<number, Watched>();
  #timer: NodeJS.Timeout | null = null;

  watch(id: number, leases: Int32Array, ringFd: number): void {
    this.#watched.set(id, { leases, update: new BufferUpdate(ringFd) });
  }

  unwatch(id: number): void {
    this.#watched.delete(id);
  }

  /** Runs until no lease is held. */
  readonly tick = (): void => {
    if (this.#timer !== null) clearTimeout(this.#timer);
    const sleepMs = this.#lookAfterAll();
    this.#timer = sleepMs === Number.POSITIVE_INFINITY ? null : setTimeout(this.tick, sleepMs);
  };

  /** Drops the leases that these chunks have, if any. */
  dropLeasesOf(id: number, { words, first, last }: Chunks): void {
    const watched = this.#watched.get(id);
    if (watched === undefined) return;
    for (let c = first; c <= last; c++) {
      const slot = Atomics.load(words, c * CHUNK_WORDS + CHUNK_LEASE) - 1;
      if (slot >= 0) drop(watched, slot);
    }
  }

  /** Drops what is due; returns how long to sleep. */
  #lookAfterAll(): number {
    let sleepMs = Number.POSITIVE_INFINITY;
    const nowMs = monotonicMs() | 0;
    for (const watched of this.#watched.values()) {
      const { leases } = watched;
      if (Atomics.load(leases, HELD_SLOTS) === 0) continue;
      const periodMs = Math.max(1, Math.min(Atomics.load(leases, IDLE_MS), Atomics.load(leases, MAX_MS)) / 4);
      sleepMs = Math.min(sleepMs, periodMs);
      // The engine looks once a period; two missed are a stall.
      if (((nowMs - Atomics.load(leases, HEARTBEAT_MS)) | 0) < 2 * periodMs) continue;
      forEachDue(leases, nowMs, (slot) => drop(watched, slot));
    }
    return sleepMs;
  }
}

function drop({ leases, update }: Watched, slot: number): void {
  if (!claim(leases, slot)) return;
  update.set(slot, 0, 0, 0, 0);
  returned(leases, slot);
}
