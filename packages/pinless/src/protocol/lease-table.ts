/**
 * Table of an engine's leases: for each slot of the ring's buffer table the chunk that is registered in it, the time
 * when it was taken, and the time of its last use.
 *
 * State is one flat Int32Array that the monitor's thread shares. The monitor may begin to drop a lease at any moment
 * (`claim`, `returned`); only the engine's thread takes leases and frees their slots.
 */

import { invariant, violated } from "./assert.js";
import { type Direction, READ } from "./direction.js";
import { PAGE_BYTES } from "./ranges/pages.js";

/** States of a slot. A lease is gone once its tag was seen *and* the update has returned (REVOKED_MEANS_REVOKED). */
export const FREE = 0;
/** Registered, but its pages may be clean: for device reads only, until it's populated (DEVICE_WRITES_DIRTY). */
export const LIVE_CLEAN = 1;
export const LIVE = 2;
/** A thread has claimed it and is in the update that drops it. */
export const DROPPING = 3;
/** The update has returned, and its tag hasn't been seen. */
export const RETURNED = 4;
/** The tag was seen, and the update, which is the monitor's, hasn't returned. */
export const TAGGED = 5;
/** Both have happened; the engine has yet to free the slot. */
export const GONE = 6;

/** Words of the header. */
export const HELD_SLOTS = 0;
export const PINNED_PAGES = 1;
export const PINNED_SEGMENTS = 2;
/** Time at which the engine's own thread last checked its leases. */
export const HEARTBEAT_MS = 3;
export const IDLE_MS = 4;
export const MAX_MS = 5;
export const RESIDENCY_MAX_MS = 6;
export const TAKEN = 7;
export const DROPPED = 8;
/** Leases that are being dropped, until their slots are free. */
export const LEAVING = 9;
/** 1 if `max` is the default, which is longer while very many leases are held. */
const MAX_GROWS = 10;
const HEADER_WORDS = 16;

/** Words of a slot. */
const STATE = 0;
const TABLE = 1;
const CHUNK = 2;
const TAKEN_AT_MS = 3;
const LAST_USE_MS = 4;
const PAGES = 5;
const SEGMENTS = 6;
const SLOT_WORDS = 8;

/**
 * Limit on segments where the kernel compares a huge page with all of them (`comparesSegments`): with 51,200 of them
 * one lease cost 8 to 13 ms.
 */
export const MAX_SEGMENTS = 16_384;
/**
 * Limit on slots. To account one more huge page the kernel looks at every slot of the table and at every huge page that
 * is registered: 2.5 µs with 256 slots or 1,024 empty ones, 6.6 with 4,096, and 10 to 40 more with 8 GiB leased.
 */
export const MAX_SLOTS = 1024;
/**
 * Pages of a GiB: the default `max` is multiplied by the GiB that leases pin. Taking all leases again takes time by the
 * square of what they pin (14 ms for 2 GiB, 152 for 8), and so it stays below 2 % of the whole.
 */
const PAGES_OF_GIB = 262_144;
/**
 * Shift from `max` to a chunk's rest. After a lease was held for `max` the chunk goes per-io for that long, so that
 * memory management finds it without a pin.
 */
const REST_SHIFT = 4;

export interface LeaseLimits {
  readonly slots: number;
  readonly budgetBytes: number;
  readonly idleMs: number;
  readonly maxMs: number;
  /** True for the default `max`, which is longer while very many leases are held. */
  readonly maxGrows?: boolean;
  /** Most segments of all leases. Default: MAX_SEGMENTS. */
  readonly maxSegments?: number;
}

export interface LeaseTarget {
  readonly table: number;
  readonly chunk: number;
  readonly bytes: number;
  readonly segments: number;
}

/** Number of words of a lease table with this number of slots. */
export function leaseWords(slots: number): number {
  return HEADER_WORDS + slots * SLOT_WORDS;
}

export class LeaseTable {
  readonly words: Int32Array;
  readonly slots: number;
  readonly #budgetPages: number;
  readonly #maxSegments: number;
  /** Lowest slot that may be free. */
  #lowest = 0;

  /** `words` is memory for the state; by default the table allocates its own. */
  constructor(limits: LeaseLimits, words?: Int32Array) {
    invariant("BUDGET", limits.slots >= 1 && limits.slots <= MAX_SLOTS, `${limits.slots} slots`);
    this.slots = limits.slots;
    this.#budgetPages = Math.floor(limits.budgetBytes / PAGE_BYTES);
    this.#maxSegments = limits.maxSegments ?? MAX_SEGMENTS;
    this.words = words ?? new Int32Array(new SharedArrayBuffer(leaseWords(limits.slots) * 4));
    Atomics.store(this.words, IDLE_MS, limits.idleMs);
    Atomics.store(this.words, MAX_MS, limits.maxMs);
    Atomics.store(this.words, MAX_GROWS, limits.maxGrows === true ? 1 : 0);
  }

  get budgetBytes(): number {
    return this.#budgetPages * PAGE_BYTES;
  }

  /** Time for which a chunk takes no lease after its last one was held for `max`. */
  get restMs(): number {
    return maxMsOf(this.words) >> REST_SHIFT;
  }

  /** Has to be called after the words were changed from outside. */
  changed(): void {
    this.#lowest = 0;
  }

  header(word: number): number {
    return Atomics.load(this.words, word);
  }

  /** Notes a use by a request. Returns false if the lease is being dropped, or its pages may be clean. */
  use(slot: number, direction: Direction, nowMs: number): boolean {
    const at = HEADER_WORDS + slot * SLOT_WORDS;
    // A plain load is enough: if the monitor claims the lease now, the kernel refuses the request, and it goes per-io.
    const state = this.words[at + STATE]!;
    if (state !== LIVE && (direction === READ || state !== LIVE_CLEAN)) return false;
    this.words[at + LAST_USE_MS] = nowMs;
    return true;
  }

  state(slot: number): number {
    return Atomics.load(this.words, HEADER_WORDS + slot * SLOT_WORDS + STATE);
  }

  target(slot: number): { table: number; chunk: number } {
    const at = HEADER_WORDS + slot * SLOT_WORDS;
    return { table: this.words[at + TABLE]!, chunk: this.words[at + CHUNK]! };
  }

  lastUseMs(slot: number): number {
    return this.words[HEADER_WORDS + slot * SLOT_WORDS + LAST_USE_MS]!;
  }

  /** True if one more lease of this size fits the budget and the limit on segments. */
  fits(bytes: number, segments: number): boolean {
    return (
      this.header(PINNED_PAGES) + Math.ceil(bytes / PAGE_BYTES) <= this.#budgetPages &&
      this.header(PINNED_SEGMENTS) + segments <= this.#maxSegments
    );
  }

  /** True if a lease of this size would fit with no other lease held. */
  couldFit(bytes: number, segments: number): boolean {
    return Math.ceil(bytes / PAGE_BYTES) <= this.#budgetPages && segments <= this.#maxSegments;
  }

  freeSlot(): number {
    if (this.header(HELD_SLOTS) === this.slots) return -1;
    for (let slot = this.#lowest; slot < this.slots; slot++) {
      this.#lowest = slot;
      if (this.state(slot) === FREE) return slot;
    }
    return violated("STATE", `none of ${this.slots} slots is free, with ${this.header(HELD_SLOTS)} held`);
  }

  /** Fills the slot of a lease just taken. */
  taken(slot: number, target: LeaseTarget, nowMs: number): void {
    const at = HEADER_WORDS + slot * SLOT_WORDS;
    if (this.state(slot) !== FREE) violated("STATE", `slot ${slot} was taken in state ${this.state(slot)}`);
    if (!this.fits(target.bytes, target.segments)) violated("BUDGET", `a lease of ${target.bytes} bytes doesn't fit`);
    const w = this.words;
    w[at + TABLE] = target.table;
    w[at + CHUNK] = target.chunk;
    w[at + TAKEN_AT_MS] = nowMs;
    w[at + LAST_USE_MS] = nowMs;
    w[at + PAGES] = Math.ceil(target.bytes / PAGE_BYTES);
    w[at + SEGMENTS] = target.segments;
    Atomics.add(w, PINNED_PAGES, w[at + PAGES]!);
    Atomics.add(w, PINNED_SEGMENTS, target.segments);
    Atomics.add(w, TAKEN, 1);
    Atomics.store(w, at + STATE, LIVE_CLEAN);
    Atomics.add(w, HELD_SLOTS, 1);
  }

  /** Notes that the pages were populated for writing after the lease was taken, so that device writes may use it. */
  populated(slot: number): void {
    Atomics.compareExchange(this.words, HEADER_WORDS + slot * SLOT_WORDS + STATE, LIVE_CLEAN, LIVE);
  }

  /** Notes the tag completion. Returns true if the lease is gone, so that its slot can be freed. */
  tagged(slot: number): boolean {
    const at = HEADER_WORDS + slot * SLOT_WORDS + STATE;
    if (Atomics.compareExchange(this.words, at, DROPPING, TAGGED) === DROPPING) return false;
    const was = Atomics.compareExchange(this.words, at, RETURNED, GONE);
    if (was !== RETURNED) violated("REVOKED_MEANS_REVOKED", `slot ${slot}: a tag in state ${was}`);
    return true;
  }

  /** Frees the slot of a lease that is gone. Returns true if it was held for `max`. */
  free(slot: number, nowMs: number): boolean {
    const at = HEADER_WORDS + slot * SLOT_WORDS;
    const w = this.words;
    if (this.state(slot) !== GONE)
      violated("REVOKED_MEANS_REVOKED", `slot ${slot} was freed in state ${this.state(slot)}`);
    const residencyMs = (nowMs - w[at + TAKEN_AT_MS]!) | 0;
    const heldForMax = residencyMs >= maxMsOf(w);
    if (residencyMs > this.header(RESIDENCY_MAX_MS)) Atomics.store(w, RESIDENCY_MAX_MS, residencyMs);
    Atomics.sub(w, PINNED_PAGES, w[at + PAGES]!);
    Atomics.sub(w, PINNED_SEGMENTS, w[at + SEGMENTS]!);
    Atomics.add(w, DROPPED, 1);
    Atomics.sub(w, LEAVING, 1);
    Atomics.store(w, at + STATE, FREE);
    Atomics.sub(w, HELD_SLOTS, 1);
    this.#lowest = Math.min(this.#lowest, slot);
    invariant("BUDGET", this.header(PINNED_PAGES) >= 0, "more pages were given back than taken");
    return heldForMax;
  }

  /** Slot of the least recently used live lease for which `spare` returns true, or -1. */
  leastRecentlyUsed(nowMs: number, spare: (slot: number) => boolean): number {
    let oldest = -1;
    let ageMs = -1;
    for (let slot = 0; slot < this.slots; slot++) {
      if (!isLive(this.state(slot))) continue;
      const idleMs = (nowMs - this.lastUseMs(slot)) | 0;
      if (idleMs > ageMs && spare(slot)) {
        oldest = slot;
        ageMs = idleMs;
      }
    }
    return oldest;
  }
}

/** Maximum time that a lease may be held, at present. */
function maxMsOf(words: Int32Array): number {
  const maxMs = Atomics.load(words, MAX_MS);
  if (Atomics.load(words, MAX_GROWS) === 0) return maxMs;
  return Math.max(maxMs, (maxMs * Atomics.load(words, PINNED_PAGES)) / PAGES_OF_GIB);
}

function isLive(state: number): boolean {
  return state === LIVE || state === LIVE_CLEAN;
}

/**
 * Calls `each` for every slot that isn't free. Leases take the lowest free slot, so that few slots have to be visited.
 * A lease that is taken during the call may be missed.
 */
function forEachHeld(words: Int32Array, each: (slot: number, state: number, at: number) => void): void {
  let left = Atomics.load(words, HELD_SLOTS);
  for (let at = HEADER_WORDS, slot = 0; left > 0 && at < words.length; at += SLOT_WORDS, slot++) {
    const state = Atomics.load(words, at + STATE);
    if (state === FREE) continue;
    left--;
    each(slot, state, at);
  }
}

/**
 * Calls `each` for every live lease that is idle or held for too long. The monitor calls it too, on the shared words.
 */
export function forEachDue(words: Int32Array, nowMs: number, each: (slot: number) => void): void {
  const idleMs = Atomics.load(words, IDLE_MS);
  const maxMs = maxMsOf(words);
  forEachHeld(words, (slot, state, at) => {
    if (!isLive(state)) return;
    const idle = (nowMs - words[at + LAST_USE_MS]!) | 0;
    const residency = (nowMs - words[at + TAKEN_AT_MS]!) | 0;
    if (idle >= idleMs || residency >= maxMs) each(slot);
  });
}

/** Calls `each` for every live lease. */
export function forEachLive(words: Int32Array, each: (slot: number) => void): void {
  forEachHeld(words, (slot, state) => {
    if (isLive(state)) each(slot);
  });
}

/** Calls `each` for every lease that is gone and whose slot hasn't been freed. */
export function forEachGone(words: Int32Array, each: (slot: number) => void): void {
  forEachHeld(words, (slot, state) => {
    if (state === GONE) each(slot);
  });
}

/**
 * Calls `each` for every lease whose update hasn't returned; `tagged` is true if its tag was seen. Updates of the
 * engine's own thread have always returned when it calls this, so these are the monitor's.
 */
export function forEachAbandoned(words: Int32Array, each: (slot: number, tagged: boolean) => void): void {
  forEachHeld(words, (slot, state) => {
    if (state === DROPPING || state === TAGGED) each(slot, state === TAGGED);
  });
}

/** Claims a lease for the caller to drop it; false if it isn't live. From now on no request uses it. */
export function claim(words: Int32Array, slot: number): boolean {
  const at = HEADER_WORDS + slot * SLOT_WORDS + STATE;
  // The count is incremented first, so that a thread that sees the new state also sees a lease being dropped.
  Atomics.add(words, LEAVING, 1);
  const mine =
    Atomics.compareExchange(words, at, LIVE, DROPPING) === LIVE ||
    Atomics.compareExchange(words, at, LIVE_CLEAN, DROPPING) === LIVE_CLEAN;
  if (!mine) Atomics.sub(words, LEAVING, 1);
  return mine;
}

/** Notes that the update that drops a lease has returned. Called by the thread that claimed it. */
export function returned(words: Int32Array, slot: number): void {
  const at = HEADER_WORDS + slot * SLOT_WORDS + STATE;
  if (Atomics.compareExchange(words, at, DROPPING, RETURNED) === DROPPING) return;
  const was = Atomics.compareExchange(words, at, TAGGED, GONE);
  if (was !== TAGGED) violated("REVOKED_MEANS_REVOKED", `slot ${slot}: an update returned in state ${was}`);
}
