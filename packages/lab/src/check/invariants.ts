/**
 * The invariants, stated a second time and naively: not by the engine's counters, but by the calls of the program and
 * the state of the machine. They are checked during each step and again after it.
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
  /** The invariants of requests. */
  readonly requests: RequestRules;
  /** Functions that return true if the engine holds a request, and if it has a free slot; set once it exists. */
  isHeld: (request: number) => boolean = () => false;
  hasRoom: () => boolean = () => true;
  /** True while leases may be dropped because of the clock. */
  clock = false;
  /** Chunk on which a lease was taken in this step, or -1; and its number of announcements before. */
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

  /** Checks the emptying of a slot by the engine. */
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
    // A change was announced while the lease was taken. It may be concluded already.
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

  /** True if a lease is gone: its pages are released, its tag was seen, its update has returned. */
  #isGone(slot: number): boolean {
    const { machine, w, at } = this.#ground;
    if (machine.disk.slot(slot, SLOT_STATE) !== SLOT_EMPTY || this.#ground.slot(slot, S.S_TAG) !== 0) return false;
    if (this.isMonitors(slot)) return false;
    for (let i = 1; i <= w[at.completions]!; i++)
      if (w[at.completions + i] === S.TAG_COMPLETION + 8 * slot) return false;
    return true;
  }

  /** Checks the turn of an invalidation. */
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

  /** Checks the begin of an invalidation. */
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

  /** Chunk of a lease that isn't gone, from the lease table: the machine's own slot may be empty already. */
  #leased(slot: number): number {
    return this.leaseChunk(slot);
  }

  leaseChunk: (slot: number) => number = () => -1;
  leaseIsLive: (slot: number) => boolean = () => false;
  /** True if the monitor is dropping the lease in a slot. */
  isMonitors: (slot: number) => boolean = () => false;

  /**
   * Checks the begin of the program's operation: it must not touch pages that the engine can know to be unmapped, since
   * other memory may be there.
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

  /** Notes the end of an invalidation: leases that were taken before are stale from now on. */
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

  /** Checks the invariants that hold between two steps. */
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

  /** Checks the two passes: all leases must have been asked to go before any of them is waited for. */
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

  /** Checks that a draining invalidation waits for something that it excludes: I/O, or a lease. */
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
    // It's submitted when there's a slot.
    if (this.hasRoom()) violated("BOUNDED_HOLD", `${name} is held, but no invalidation keeps it`);
  }

  /** Checks that requests that wait for memory hold no slot, except those that are about to be answered. */
  #nothingHoldsASlot(): void {
    let waiting = 0;
    for (let at = 0; at < this.requests.words.length; at += 1 << REQUEST_SHIFT)
      if (this.requests.words[at] === ACCEPTED) waiting++;
    if (waiting > this.#ground.w[this.#ground.at.microtasks]!)
      violated("BOUNDED_WAIT", `a request that isn't with the kernel keeps its slot`);
  }
}
