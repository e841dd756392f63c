/**
 * The invariants, stated a second time and naively: without the engine's counters, from what was asked for and what the
 * machine does. They are checked during each step and once more after it.
 */

import {
  ACCEPTED,
  ANNOUNCED_BEGUN,
  ANNOUNCED_ENDED,
  CHUNK_WORDS,
  ECANCELED,
  EFAULT,
  type Invariant,
  LEASE,
  type MmuEvent,
  PAGE_BYTES,
  REQUEST_SHIFT,
  SUBMITTED,
  violated,
} from "pinless/portable";
import {
  BLOCK_CONTENT,
  FOLIO_DIRTY,
  IN_USE,
  PTE_DIRTY,
  PTE_SOFT_DIRTY,
  SLOT_EMPTY,
  SLOT_FIRST_PAGE,
  SLOT_STATE,
  SLOT_USERS,
  VM_MAPPED,
  VM_WRITE,
  WRITEBACK,
} from "../model/tables.js";
import { type CaseContext, nameOfInvalidation, nameOfRequest, namesOfThreads } from "./context.js";
import * as S from "./state.js";

/** The I/O that an event concerns, and its effect on leases: a second table, to compare the protocol's own with. */
interface Concern {
  readonly deviceWrites: boolean;
  readonly deviceReads: boolean;
  readonly lease: "drop" | "retire" | "keep";
}
const ALL: Concern = { deviceWrites: true, deviceReads: true, lease: "drop" };
const WRITES: Concern = { deviceWrites: true, deviceReads: false, lease: "drop" };
export const CONCERNED: Readonly<Record<MmuEvent, Concern>> = {
  UNMAP: ALL,
  CLEAR: ALL,
  MIGRATE: ALL,
  RELEASE: ALL,
  EXCLUSIVE: { ...ALL, lease: "keep" },
  PROTECTION_PAGE: WRITES,
  SOFT_DIRTY: WRITES,
  PROTECTION_VMA: { ...WRITES, lease: "retire" },
};

export class Rules {
  readonly #ground: CaseContext;
  readonly #requests: number;
  readonly #invalidations: number;
  /**
   * Bits for an invalidation and a request: their chunks overlap; the request is concerned. For two invalidations: they
   * overlap.
   */
  readonly #meets: Uint8Array;
  readonly #concerns: Uint8Array;
  readonly #meetEachOther: Uint8Array;
  readonly #concern: readonly Concern[];
  /** Functions that say if the engine holds a request, and if it has a slot left; set once the engine is there. */
  isHeld: (request: number) => boolean = () => false;
  hasRoom: () => boolean = () => true;
  /** The engine's words of its requests, once they're there. */
  words: Int32Array = new Int32Array(0);
  /** Set while leases may go for the clock's sake. */
  clock = false;
  /**
   * The chunk that a lease was taken on in this step, and how many announcements it had seen before; -1: none was
   * taken.
   */
  #takenOn = -1;
  #announcedBefore = 0;

  constructor(ground: CaseContext) {
    this.#ground = ground;
    const { requests, invalidations, chunkPages } = ground.scenario;
    this.#requests = requests.length;
    this.#invalidations = invalidations.length + S.startsOf(ground.scenario);
    this.#meets = new Uint8Array(this.#invalidations * this.#requests);
    this.#concerns = new Uint8Array(this.#invalidations * this.#requests);
    this.#meetEachOther = new Uint8Array(this.#invalidations ** 2);
    this.#concern = Array.from(
      { length: this.#invalidations },
      (_, j) => CONCERNED[invalidations[j]?.event ?? "CLEAR"],
    );
    for (let j = 0; j < this.#invalidations; j++) {
      const { first, last } = ground.chunksOf(j);
      const concern = this.#concernOf(j);
      requests.forEach((request, i) => {
        const meets = Math.floor(request.first / chunkPages) <= last && first <= Math.floor(request.last / chunkPages);
        const concerns = meets && (request.write ? concern.deviceReads : concern.deviceWrites);
        this.#meets[j * this.#requests + i] = meets ? 1 : 0;
        this.#concerns[j * this.#requests + i] = concerns ? 1 : 0;
      });
      for (let k = 0; k < this.#invalidations; k++) {
        const other = ground.chunksOf(k);
        this.#meetEachOther[j * this.#invalidations + k] = other.first <= last && first <= other.last ? 1 : 0;
      }
    }
  }

  #concernOf(invalidation: number): Concern {
    return this.#concern[invalidation]!;
  }

  #nameOf(invalidation: number): string {
    const { invalidations } = this.#ground.scenario;
    const own = invalidations[invalidation];
    if (own !== undefined) return `${nameOfInvalidation(invalidation)} (${own.event})`;
    return `the start for ${namesOfThreads(invalidation - invalidations.length + 1)}`;
  }

  #state(invalidation: number): number {
    return this.#ground.invalidation(invalidation, S.I_STATE);
  }

  /** An entry for the kernel is made. */
  prepared(request: number, bufferSlot: number): void {
    const ground = this.#ground;
    const name = nameOfRequest(request);
    const { write, first, last } = ground.scenario.requests[request]!;
    if (ground.request(request, S.R_STATUS) !== S.ACCEPTED)
      violated("EXACTLY_ONCE", `${name} is handed to the kernel, but was answered`);
    if (ground.request(request, S.R_CANCELLED) === 1)
      violated("EXACTLY_ONCE", `${name} is handed to the kernel after it was cancelled`);
    if (write && ground.request(request, S.R_BEGUN) > 0)
      violated("EXACTLY_ONCE", `${name} writes the file, and is handed to the kernel again after it had begun`);
    const prepared = ground.request(request, S.R_PREPARED) + 1;
    ground.setRequest(request, S.R_PREPARED, prepared);
    // Once, once more where its lease has just gone, and both again for each announcement; the monitor's end is one.
    if (prepared > 2 + 2 * (ground.scenario.foreign.length + ground.scenario.losses))
      violated("BOUNDED_WAIT", `${name} is handed to the kernel again and again`);
    for (let page = first; page <= last; page++) {
      const flags = ground.page(page, S.P_FLAGS);
      if ((flags & S.GONE_KNOWN) !== 0)
        violated("NO_STALE_IO", `${name} is handed to the kernel with page ${page}, which was unmapped`);
      if ((flags & S.IS_REFUSED) !== 0)
        violated("EXCLUSION", `${name} is handed to the kernel with page ${page} after RELEASE`);
      if (bufferSlot >= 0 && (flags & S.IS_READ_ONLY) !== 0)
        violated("NO_STALE_IO", `${name} goes by a lease with page ${page}, which is read-only`);
    }
    // What the kernel refused before it began is the same submission once more.
    const again = ground.request(request, S.R_PREPARED) > 1 && ground.request(request, S.R_BEGUN) === 0;
    this.#isExcluded(request, again ? S.BEGUN : S.DRAINING, "BOUNDED_WAIT");
    if (bufferSlot >= 0 && ground.slot(bufferSlot, S.S_STALE) !== 0)
      violated(
        "NO_STALE_IO",
        `${name} goes by the lease in slot ${bufferSlot}, which is older than an invalidation that has ended`,
      );
  }

  #isExcluded(request: number, from: number, name: Invariant): void {
    for (let j = 0; j < this.#invalidations; j++) {
      if (this.#concerns[j * this.#requests + request] === 0) continue;
      const state = this.#state(j);
      if (state < from || state >= S.ENDED) continue;
      violated(
        state === S.BEGUN ? "EXCLUSION" : name,
        `${nameOfRequest(request)} begins while ${this.#nameOf(j)} ${state === S.BEGUN ? "has" : "waits for"} its pages`,
      );
    }
  }

  /** The kernel has found the frames. */
  began(request: number, bufferSlot: number): void {
    const { machine, scenario, tell } = this.#ground;
    const ground = this.#ground;
    const { write, first, last } = scenario.requests[request]!;
    const name = nameOfRequest(request);
    tell?.(`the kernel begins ${name}`);
    const begun = ground.request(request, S.R_BEGUN) + 1;
    if (write && begun > 1) violated("EXACTLY_ONCE", `${name} writes the file, and is begun a second time`);
    ground.setRequest(request, S.R_BEGUN, begun);
    ground.setRequest(request, S.R_LOST, 0);
    for (let page = first; page <= last; page++) {
      if (machine.disk.requestFrame(request, page - first) === machine.tables.frameOf(page)) continue;
      const known = (ground.page(page, S.P_FLAGS) & S.GONE_KNOWN) !== 0;
      // What was unmapped without notice can't be known before the monitor has heard of it.
      if (!machine.tables.is(page, VM_MAPPED) && !known) ground.setRequest(request, S.R_LOST, 2);
      // The monitor had to read the event to know whose it is, or it has ended: a request that had been prepared may
      // begin, but mustn't be delivered.
      else if (this.#isSeenLate(page) || ground.hasLostMonitor) ground.setRequest(request, S.R_LOST, 1);
      else
        violated(
          "NO_STALE_IO",
          `${name} goes to a frame that isn't page ${page}'s any more${bufferSlot < 0 ? "" : ` (slot ${bufferSlot})`}`,
        );
    }
    this.#isExcluded(request, S.BEGUN, "EXCLUSION");
  }

  #isSeenLate(page: number): boolean {
    return this.#ground.scenario.foreign.some(({ unseen, first, last }) => unseen && first <= page && page <= last);
  }

  /** The device is about to read or write a page. */
  serving(request: number, i: number): void {
    const ground = this.#ground;
    const { machine, scenario } = ground;
    const { write, first } = scenario.requests[request]!;
    const page = first + i;
    const frame = machine.disk.requestFrame(request, i);
    const name = nameOfRequest(request);
    if (!machine.frames.frameIs(frame, IN_USE))
      violated("LINEAR", `the device serves ${name} in frame ${frame}, which is free`);
    const mapped = machine.tables.frameOf(page) === frame;
    if (!mapped && ground.request(request, S.R_LOST) === 0)
      violated("LINEAR", `the device serves ${name} in a frame that isn't page ${page}'s any more`);
    if (write) return;
    if (machine.frames.frameIs(frame, WRITEBACK)) violated("EXCLUSION", `${name} changes page ${page} under writeback`);
    if (mapped && !machine.tables.is(page, VM_WRITE))
      violated("EXCLUSION", `${name} changes page ${page}, which is read-only`);
    if (
      mapped &&
      machine.disk.isRegistered(request) &&
      !machine.tables.is(page, PTE_DIRTY) &&
      !machine.frames.frameIs(frame, FOLIO_DIRTY)
    )
      violated(
        "DEVICE_WRITES_DIRTY",
        `${name} writes by a lease to page ${page}, which is clean: reclaim will lose it`,
      );
  }

  /** The device has written or read one. */
  served(request: number, i: number): void {
    const ground = this.#ground;
    const { machine, scenario } = ground;
    const { write, first } = scenario.requests[request]!;
    if (write) return;
    const page = first + i;
    if (machine.tables.frameOf(page) !== machine.disk.requestFrame(request, i)) return;
    ground.setContent(page, machine.cache.block(ground.blockOf(request) + i, BLOCK_CONTENT));
    if ((ground.page(page, S.P_FLAGS) & S.TRACKED) !== 0 && !machine.tables.is(page, PTE_SOFT_DIRTY))
      violated("NO_STALE_IO", `${nameOfRequest(request)} leaves no trace in page ${page}'s soft-dirty bit`);
  }

  /** Pages of a range are taken away. `known`: whoever asked for it has told of it before. */
  taken(first: number, last: number, known: boolean): void {
    const ground = this.#ground;
    for (let page = first; page <= last; page++) ground.setContent(page, 0);
    for (let i = 0; i < this.#requests; i++) {
      const request = ground.scenario.requests[i]!;
      if (!this.isSubmitted(i) || request.last < first || last < request.first) continue;
      if (!this.#isWithKernel(i)) continue;
      ground.setRequest(i, S.R_LOST, known ? 1 : 2);
    }
  }

  #isWithKernel(request: number): boolean {
    return this.#ground.machine.disk.request(request, 0) === 1;
  }

  isSubmitted(request: number): boolean {
    const slot = this.#ground.request(request, S.R_SLOT) - 1;
    return slot >= 0 && this.words[slot << REQUEST_SHIFT] === SUBMITTED;
  }

  /** From here on the engine can know that they're gone. */
  goneIsKnown(first: number, last: number): void {
    const ground = this.#ground;
    // What another thread does in the middle of a step of the engine's, the engine knows in the next.
    for (let page = first; page <= last; page++) ground.flag(page, S.GONE_NOW);
    for (let i = 0; i < this.#requests; i++)
      if (ground.request(i, S.R_LOST) === 2 && ground.request(i, S.R_STATUS) === S.ACCEPTED)
        ground.setRequest(i, S.R_LOST, 1);
  }

  answered(request: number, errno: number): void {
    const ground = this.#ground;
    const { write, first, last } = ground.scenario.requests[request]!;
    const name = nameOfRequest(request);
    ground.tell?.(`the engine answers ${name} with ${errno === 0 ? "success" : `errno ${-errno}`}`);
    if (ground.request(request, S.R_STATUS) !== S.ACCEPTED)
      violated("EXACTLY_ONCE", `${name} is answered a second time`);
    ground.setRequest(request, S.R_STATUS, S.ANSWERED);
    ground.setRequest(request, S.R_SLOT, 0);
    if (errno === 0) {
      if (ground.request(request, S.R_BEGUN) === 0) violated("EXACTLY_ONCE", `${name} succeeds, but never began`);
      if (!write && ground.request(request, S.R_LOST) === 1)
        violated("LINEAR", `${name} succeeds, but what it read went to pages that had been taken away under it`);
      return;
    }
    if (errno === -ECANCELED && ground.request(request, S.R_CANCELLED) === 1) return;
    if (errno !== -EFAULT) return;
    let reason = false;
    for (let page = first; page <= last; page++) {
      const flags = ground.page(page, S.P_FLAGS);
      const gone = !ground.machine.tables.is(page, VM_MAPPED);
      reason ||= gone || (flags & S.IS_REFUSED) !== 0 || (!write && (flags & S.IS_READ_ONLY) !== 0);
    }
    if (!reason) violated("LINEAR", `${name} fails with EFAULT, but its memory is there and may be used`);
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
      const state = this.#state(j);
      const chunks = ground.chunksOf(j);
      if ((state === S.DRAINING || state === S.BEGUN) && chunks.first <= chunk && chunk <= chunks.last)
        violated("NO_STALE_IO", `a lease is taken on chunk ${chunk} during ${this.#nameOf(j)}`);
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
      const state = this.#state(j);
      const { first, last } = ground.chunksOf(j);
      if (state !== S.WAITING && state !== S.DRAINING) continue;
      if (first <= chunk && chunk <= last && this.#concernOf(j).lease !== "keep") return;
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
      if (this.#meets[invalidation * this.#requests + i] === 1 && this.isHeld(i))
        violated(
          "BOUNDED_HOLD",
          `${this.#nameOf(invalidation)} gets its turn before ${nameOfRequest(i)}, which an earlier one held`,
        );
    for (let j = 0; j < this.#invalidations; j++) {
      if (j === invalidation || this.#meetEachOther[invalidation * this.#invalidations + j] === 0) continue;
      const state = this.#state(j);
      if (state === S.DRAINING || state === S.BEGUN)
        violated("EXCLUSION", `${this.#nameOf(invalidation)} gets its turn during ${this.#nameOf(j)}`);
    }
    const { w, at } = this.#ground;
    for (let i = 1; i <= w[at.waiting]! && w[at.waiting + i] !== invalidation; i++) {
      const other = w[at.waiting + i]!;
      if (this.#state(other) === S.WAITING && this.#meetEachOther[invalidation * this.#invalidations + other] === 1)
        violated("BOUNDED_WAIT", `${this.#nameOf(invalidation)} overtakes ${this.#nameOf(other)}`);
    }
  }

  /** The range is the caller's. */
  ready(invalidation: number): void {
    const ground = this.#ground;
    ground.tell?.(`${this.#nameOf(invalidation)} has its range`);
    if (ground.invalidation(invalidation, S.I_READY) === 1)
      violated("STATE", `${this.#nameOf(invalidation)} begins twice`);
    ground.setInvalidation(invalidation, S.I_READY, 1);
    for (let i = 0; i < this.#requests; i++)
      if (this.#concerns[invalidation * this.#requests + i] === 1 && this.isSubmitted(i))
        violated("EXCLUSION", `${this.#nameOf(invalidation)} begins with ${nameOfRequest(i)} in flight`);
    if (this.#concernOf(invalidation).lease !== "drop") return;
    const { first, last } = ground.chunksOf(invalidation);
    for (let slot = 0; slot < ground.slots; slot++) {
      if (this.#isGone(slot)) continue;
      const chunk = this.#leased(slot);
      if (first <= chunk && chunk <= last)
        violated(
          "REVOKED_MEANS_REVOKED",
          `${this.#nameOf(invalidation)} begins before the lease in slot ${slot} is gone`,
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
        violated("NO_STALE_IO", `${this.#nameOf(invalidation)} changes page ${page}, which other code has unmapped`);
    }
  }

  #ownUnmap(page: number): boolean {
    return this.#ground.scenario.invalidations.some(
      ({ event, first, last }, j) => event === "UNMAP" && first <= page && page <= last && this.#state(j) === S.ENDED,
    );
  }

  /** Its operation has happened, and it ends: leases from before are stale from here on. */
  ended(invalidation: number): void {
    const ground = this.#ground;
    if (this.#concernOf(invalidation).lease !== "drop") return;
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
      const state = this.#state(j);
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
      if (this.#concerns[invalidation * this.#requests + i] === 1 && this.isSubmitted(i))
        violated("EXCLUSION", `${nameOfRequest(i)} is in flight during ${this.#nameOf(invalidation)}`);
  }

  /** Two passes: all leases were asked to go before any of them is waited for. */
  #hasAskedAll(invalidation: number): void {
    if (this.#concernOf(invalidation).lease === "keep") return;
    const { first, last } = this.#ground.chunksOf(invalidation);
    for (let slot = 0; slot < this.#ground.slots; slot++) {
      const chunk = this.#leased(slot);
      if (first <= chunk && chunk <= last && this.leaseIsLive(slot))
        violated(
          "BOUNDED_WAIT",
          `${this.#nameOf(invalidation)} waits, and hasn't asked the lease in slot ${slot} to go`,
        );
    }
  }

  /** An invalidation that drains waits for something: I/O that it concerns, or a lease. */
  #drains(invalidation: number): void {
    this.#hasAskedAll(invalidation);
    let others = "";
    for (let i = 0; i < this.#requests; i++) {
      if (this.#meets[invalidation * this.#requests + i] === 0 || !this.isSubmitted(i)) continue;
      if (this.#concerns[invalidation * this.#requests + i] === 1) return;
      others = nameOfRequest(i);
    }
    const ground = this.#ground;
    const { first, last } = ground.chunksOf(invalidation);
    const drops = this.#concernOf(invalidation).lease === "drop";
    let leased = false;
    for (let chunk = first; chunk <= last; chunk++) leased ||= ground.table.words[chunk * CHUNK_WORDS + LEASE]! > 0;
    if (leased && drops) return;
    const name = this.#nameOf(invalidation);
    if (others !== "" || leased)
      violated("FILTER", `${name} waits for ${leased ? "a lease" : others}, which it doesn't concern`);
    violated("BOUNDED_WAIT", `${name} waits, but for nothing`);
  }

  #waits(invalidation: number): void {
    const { w, at } = this.#ground;
    for (let i = 0; i < this.#requests; i++)
      if (this.#meets[invalidation * this.#requests + i] === 1 && this.isHeld(i)) return;
    for (let j = 0; j < this.#invalidations; j++) {
      const state = this.#state(j);
      if (j === invalidation || this.#meetEachOther[invalidation * this.#invalidations + j] === 0) continue;
      if (state === S.DRAINING || state === S.BEGUN) return;
    }
    for (let i = 1; i <= w[at.waiting]! && w[at.waiting + i] !== invalidation; i++)
      if (this.#meetEachOther[invalidation * this.#invalidations + w[at.waiting + i]!] === 1) return;
    violated("BOUNDED_WAIT", `${this.#nameOf(invalidation)} should have its turn`);
  }

  #isHeldFor(request: number): void {
    let met = "";
    for (let j = 0; j < this.#invalidations; j++) {
      const state = this.#state(j);
      if (state !== S.DRAINING && state !== S.BEGUN) continue;
      if (this.#concerns[j * this.#requests + request] === 1) return;
      if (this.#meets[j * this.#requests + request] === 1) met = this.#nameOf(j);
    }
    const name = nameOfRequest(request);
    if (met !== "") violated("FILTER", `${name} is held for ${met}, which doesn't concern it`);
    // It goes when there's a slot.
    if (this.hasRoom()) violated("BOUNDED_HOLD", `${name} is held, but no invalidation keeps it`);
  }

  /** A request that waits for memory holds no slot. Those that are about to be answered wait for nothing. */
  #nothingHoldsASlot(): void {
    let waiting = 0;
    for (let at = 0; at < this.words.length; at += 1 << REQUEST_SHIFT) if (this.words[at] === ACCEPTED) waiting++;
    if (waiting > this.#ground.w[this.#ground.at.microtasks]!)
      violated("BOUNDED_WAIT", `a request that isn't with the kernel keeps its slot`);
  }
}
