/**
 * The invariants, stated a second time and naively: without the engine's counters, from what was asked for and what the
 * machine does. They are checked during each step and once more after it.
 */

import {
  ACCEPTED,
  ANNOUNCED_BEGUN,
  ANNOUNCED_ENDED,
  CHUNK_WORDS,
  LEASE,
  PAGE_BYTES,
  REQUEST_SHIFT,
  violated,
} from "pinless/portable";
import { SLOT_EMPTY, SLOT_FIRST_PAGE, SLOT_STATE, SLOT_USERS } from "../model/tables.js";
import { type CaseContext, nameOfRequest } from "./context.js";
import { InvalidationRanges } from "./invalidation-ranges.js";
import { RequestRules } from "./request-invariants.js";
import * as S from "./state.js";

export class Rules {
  readonly #ground: CaseContext;
  readonly #ranges: InvalidationRanges;
  readonly #requests: number;
  readonly #invalidations: number;
  /** The rules that requests are held to. */
  readonly requests: RequestRules;
  /** Functions that say if the engine holds a request, and if it has a slot left; set once the engine is there. */
  isHeld: (request: number) => boolean = () => false;
  hasRoom: () => boolean = () => true;
  /** Set while leases may go for the clock's sake. */
  clock = false;
  /** The chunk that a lease was taken on in this step, and how many announcements it had seen; -1: none was taken. */
  #takenOn = -1;
  #announcedBefore = 0;

  constructor(ground: CaseContext) {
    this.#ground = ground;
    this.#ranges = new InvalidationRanges(ground);
    this.#requests = ground.scenario.requests.length;
    this.#invalidations = this.#ranges.count;
    this.requests = new RequestRules(ground, this.#ranges);
  }

  taking(address: number, bytes: number): void {
    const ground = this.#ground;
    const first = ground.pageAt(address);
    const chunk = first / ground.scenario.chunkPages;
    this.#takenOn = chunk;
    this.#announcedBefore = ground.table.words[chunk * CHUNK_WORDS + ANNOUNCED_BEGUN]!;
    for (let page = first; page < first + bytes / PAGE_BYTES; page++) {
      const flags = ground.page(page, S.P_FLAGS);
      if ((flags & (S.GONE_KNOWN | S.IS_READ_ONLY | S.IS_REFUSED)) !== 0)
        violated("NO_STALE_IO", `a lease is taken with page ${page}, which may have none`);
    }
    for (let j = 0; j < this.#invalidations; j++) {
      const state = this.#ranges.stateOf(j);
      const chunks = ground.chunksOf(j);
      if ((state === S.DRAINING || state === S.BEGUN) && chunks.first <= chunk && chunk <= chunks.last)
        violated("NO_STALE_IO", `a lease is taken on chunk ${chunk} during ${this.#ranges.nameOf(j)}`);
    }
    let held = 0;
    for (let slot = 0; slot < ground.slots; slot++) if (!this.#isGone(slot)) held++;
    if (held >= ground.scenario.leases) violated("BUDGET", `${held + 1} leases are taken where ${held} fit`);
  }

  /** The engine empties a slot. */
  dropping(slot: number): void {
    const ground = this.#ground;
    const chunk = this.#chunkOf(slot);
    if (this.clock) return;
    for (let j = 0; j < this.#invalidations; j++) {
      const state = this.#ranges.stateOf(j);
      const { first, last } = ground.chunksOf(j);
      if (state !== S.WAITING && state !== S.DRAINING) continue;
      if (first <= chunk && chunk <= last && this.#ranges.concernOf(j).lease !== "keep") return;
    }
    const words = ground.table.words;
    // It was announced while it was taken, and that may be over already.
    if (chunk === this.#takenOn && words[chunk * CHUNK_WORDS + ANNOUNCED_BEGUN] !== this.#announcedBefore) return;
    if (words[chunk * CHUNK_WORDS + ANNOUNCED_BEGUN] !== words[chunk * CHUNK_WORDS + ANNOUNCED_ENDED]) return;
    let held = 0;
    for (let other = 0; other < ground.slots; other++) if (!this.#isGone(other)) held++;
    const used = ground.machine.disk.slot(slot, SLOT_USERS) > 0;
    if (held < ground.scenario.leases || used)
      violated("FILTER", `the lease on chunk ${chunk} is dropped, and nothing asked for that`);
  }

  #chunkOf(slot: number): number {
    return this.#ground.machine.disk.slot(slot, SLOT_FIRST_PAGE) / this.#ground.scenario.chunkPages;
  }

  /** Nothing of a lease is left: its pages are released, its tag was seen, its update has returned. */
  #isGone(slot: number): boolean {
    const { machine, w, at } = this.#ground;
    if (machine.disk.slot(slot, SLOT_STATE) !== SLOT_EMPTY || this.#ground.slot(slot, S.S_TAG) !== 0) return false;
    if (this.isMonitors(slot)) return false;
    for (let i = 1; i <= w[at.completions]!; i++)
      if (w[at.completions + i] === S.TAG_COMPLETION + 8 * slot) return false;
    return true;
  }

  /** An invalidation gets its turn. */
  turn(invalidation: number): void {
    for (let i = 0; i < this.#requests; i++)
      if (this.#ranges.meets(invalidation, i) && this.isHeld(i))
        violated(
          "BOUNDED_HOLD",
          `${this.#ranges.nameOf(invalidation)} gets its turn before ${nameOfRequest(i)}, which an earlier one held`,
        );
    for (let j = 0; j < this.#invalidations; j++) {
      if (j === invalidation || !this.#ranges.overlap(invalidation, j)) continue;
      const state = this.#ranges.stateOf(j);
      if (state === S.DRAINING || state === S.BEGUN)
        violated("EXCLUSION", `${this.#ranges.nameOf(invalidation)} gets its turn during ${this.#ranges.nameOf(j)}`);
    }
    const { w, at } = this.#ground;
    for (let i = 1; i <= w[at.waiting]! && w[at.waiting + i] !== invalidation; i++) {
      const other = w[at.waiting + i]!;
      if (this.#ranges.stateOf(other) === S.WAITING && this.#ranges.overlap(invalidation, other))
        violated("BOUNDED_WAIT", `${this.#ranges.nameOf(invalidation)} overtakes ${this.#ranges.nameOf(other)}`);
    }
  }

  /** The range is the caller's. */
  ready(invalidation: number): void {
    const ground = this.#ground;
    ground.tell?.(`${this.#ranges.nameOf(invalidation)} has its range`);
    if (ground.invalidation(invalidation, S.I_READY) === 1)
      violated("STATE", `${this.#ranges.nameOf(invalidation)} begins twice`);
    ground.setInvalidation(invalidation, S.I_READY, 1);
    for (let i = 0; i < this.#requests; i++)
      if (this.#ranges.concerns(invalidation, i) && this.requests.isSubmitted(i))
        violated("EXCLUSION", `${this.#ranges.nameOf(invalidation)} begins with ${nameOfRequest(i)} in flight`);
    if (this.#ranges.concernOf(invalidation).lease !== "drop") return;
    const { first, last } = ground.chunksOf(invalidation);
    for (let slot = 0; slot < ground.slots; slot++) {
      if (this.#isGone(slot)) continue;
      const chunk = this.#leased(slot);
      if (first <= chunk && chunk <= last)
        violated(
          "REVOKED_MEANS_REVOKED",
          `${this.#ranges.nameOf(invalidation)} begins before the lease in slot ${slot} is gone`,
        );
    }
  }

  /** The chunk of a lease that isn't gone: the machine may have forgotten it, the lease table hasn't. */
  #leased(slot: number): number {
    return this.leaseChunk(slot);
  }

  leaseChunk: (slot: number) => number = () => -1;
  leaseIsLive: (slot: number) => boolean = () => false;
  /** True if the monitor is dropping the lease in a slot. */
  isMonitors: (slot: number) => boolean = () => false;

  /**
   * The program's operation begins on its pages: what has been unmapped, and could be known to be, may be somebody
   * else's.
   */
  operating(invalidation: number): void {
    const { first, last } = this.#ground.pagesOf(invalidation);
    for (let page = first; page <= last; page++) {
      const flags = this.#ground.page(page, S.P_FLAGS);
      if ((flags & S.GONE_KNOWN) !== 0 && (flags & S.BURIED) === 0 && !this.#ownUnmap(page))
        violated(
          "NO_STALE_IO",
          `${this.#ranges.nameOf(invalidation)} changes page ${page}, which other code has unmapped`,
        );
    }
  }

  #ownUnmap(page: number): boolean {
    return this.#ground.scenario.invalidations.some(
      ({ event, first, last }, j) =>
        event === "UNMAP" && first <= page && page <= last && this.#ranges.stateOf(j) === S.ENDED,
    );
  }

  /** Its operation has happened, and it ends: leases from before are stale from here on. */
  ended(invalidation: number): void {
    const ground = this.#ground;
    if (this.#ranges.concernOf(invalidation).lease !== "drop") return;
    const { first, last } = ground.chunksOf(invalidation);
    for (let slot = 0; slot < ground.slots; slot++) {
      if (ground.machine.disk.slot(slot, SLOT_STATE) === SLOT_EMPTY) continue;
      const chunk = this.#chunkOf(slot);
      if (first <= chunk && chunk <= last) ground.setSlot(slot, S.S_STALE, 1);
    }
  }

  /** After every step. */
  check(): void {
    const ground = this.#ground;
    this.#takenOn = -1;
    for (let j = 0; j < this.#invalidations; j++) {
      const state = this.#ranges.stateOf(j);
      if (state === S.NOT_STARTED || state >= S.ENDED) continue;
      if (state === S.BEGUN) this.#excludes(j);
      else if (state === S.DRAINING) this.#drains(j);
      else this.#waits(j);
    }
    for (let i = 0; i < this.#requests; i++) if (this.isHeld(i)) this.#isHeldFor(i);
    this.#nothingHoldsASlot();
    for (let page = 0; page < ground.pages; page++) {
      if ((ground.page(page, S.P_FLAGS) & S.GONE_NOW) !== 0) ground.flag(page, S.GONE_KNOWN, S.GONE_NOW);
      const content = ground.page(page, S.P_CONTENT);
      if (ground.machine.memory.peek(page) !== content)
        violated("LINEAR", `page ${page} holds ${ground.machine.memory.peek(page)}, where ${content} was written last`);
    }
  }

  #excludes(invalidation: number): void {
    for (let i = 0; i < this.#requests; i++)
      if (this.#ranges.concerns(invalidation, i) && this.requests.isSubmitted(i))
        violated("EXCLUSION", `${nameOfRequest(i)} is in flight during ${this.#ranges.nameOf(invalidation)}`);
  }

  /** Two passes: all leases were asked to go before any of them is waited for. */
  #hasAskedAll(invalidation: number): void {
    if (this.#ranges.concernOf(invalidation).lease === "keep") return;
    const { first, last } = this.#ground.chunksOf(invalidation);
    for (let slot = 0; slot < this.#ground.slots; slot++) {
      const chunk = this.#leased(slot);
      if (first <= chunk && chunk <= last && this.leaseIsLive(slot))
        violated(
          "BOUNDED_WAIT",
          `${this.#ranges.nameOf(invalidation)} waits, and hasn't asked the lease in slot ${slot} to go`,
        );
    }
  }

  /** An invalidation that drains waits for something: I/O that it concerns, or a lease. */
  #drains(invalidation: number): void {
    this.#hasAskedAll(invalidation);
    let others = "";
    for (let i = 0; i < this.#requests; i++) {
      if (!this.#ranges.meets(invalidation, i) || !this.requests.isSubmitted(i)) continue;
      if (this.#ranges.concerns(invalidation, i)) return;
      others = nameOfRequest(i);
    }
    const ground = this.#ground;
    const { first, last } = ground.chunksOf(invalidation);
    const drops = this.#ranges.concernOf(invalidation).lease === "drop";
    let leased = false;
    for (let chunk = first; chunk <= last; chunk++) leased ||= ground.table.words[chunk * CHUNK_WORDS + LEASE]! > 0;
    if (leased && drops) return;
    const name = this.#ranges.nameOf(invalidation);
    if (others !== "" || leased)
      violated("FILTER", `${name} waits for ${leased ? "a lease" : others}, which it doesn't concern`);
    violated("BOUNDED_WAIT", `${name} waits, but for nothing`);
  }

  #waits(invalidation: number): void {
    const { w, at } = this.#ground;
    for (let i = 0; i < this.#requests; i++) if (this.#ranges.meets(invalidation, i) && this.isHeld(i)) return;
    for (let j = 0; j < this.#invalidations; j++) {
      const state = this.#ranges.stateOf(j);
      if (j === invalidation || !this.#ranges.overlap(invalidation, j)) continue;
      if (state === S.DRAINING || state === S.BEGUN) return;
    }
    for (let i = 1; i <= w[at.waiting]! && w[at.waiting + i] !== invalidation; i++)
      if (this.#ranges.overlap(invalidation, w[at.waiting + i]!)) return;
    violated("BOUNDED_WAIT", `${this.#ranges.nameOf(invalidation)} should have its turn`);
  }

  #isHeldFor(request: number): void {
    let met = "";
    for (let j = 0; j < this.#invalidations; j++) {
      const state = this.#ranges.stateOf(j);
      if (state !== S.DRAINING && state !== S.BEGUN) continue;
      if (this.#ranges.concerns(j, request)) return;
      if (this.#ranges.meets(j, request)) met = this.#ranges.nameOf(j);
    }
    const name = nameOfRequest(request);
    if (met !== "") violated("FILTER", `${name} is held for ${met}, which doesn't concern it`);
    // It goes when there's a slot.
    if (this.hasRoom()) violated("BOUNDED_HOLD", `${name} is held, but no invalidation keeps it`);
  }

  /** A request that waits for memory holds no slot. Those that are about to be answered wait for nothing. */
  #nothingHoldsASlot(): void {
    let waiting = 0;
    for (let at = 0; at < this.requests.words.length; at += 1 << REQUEST_SHIFT)
      if (this.requests.words[at] === ACCEPTED) waiting++;
    if (waiting > this.#ground.w[this.#ground.at.microtasks]!)
      violated("BOUNDED_WAIT", `a request that isn't with the kernel keeps its slot`);
  }
}
