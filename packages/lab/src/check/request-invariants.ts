/**
 * The invariants of requests: checked at submission, when the kernel begins them, at each page that the device
 * transfers, and at completion.
 */

import { ECANCELED, EFAULT, type Invariant, REQUEST_SHIFT, SUBMITTED, violated } from "pinless/portable";
import {
  BLOCK_CONTENT,
  FOLIO_DIRTY,
  IN_USE,
  PTE_DIRTY,
  PTE_SOFT_DIRTY,
  VM_MAPPED,
  VM_WRITE,
  WRITEBACK,
} from "../model/tables.js";
import { type CaseContext, nameOfRequest } from "./context.js";
import type { InvalidationRanges } from "./invalidation-ranges.js";
import type { Pages } from "./scenario.js";
import * as S from "./state.js";

export class RequestRules {
  readonly #ground: CaseContext;
  readonly #ranges: InvalidationRanges;
  /** Words of the engine's request table, once the engine exists. */
  words: Int32Array = new Int32Array(0);

  constructor(ground: CaseContext, ranges: InvalidationRanges) {
    this.#ground = ground;
    this.#ranges = ranges;
  }

  /** Checks a request that is prepared for the kernel. */
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
    // A request is prepared once, once more if its lease has just been dropped, and as often again for each
    // announcement, of which the monitor's end is one.
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
    // A request that the kernel refused before it began is submitted again.
    const again = ground.request(request, S.R_PREPARED) > 1 && ground.request(request, S.R_BEGUN) === 0;
    this.#isExcluded(request, again ? S.BEGUN : S.DRAINING, "BOUNDED_WAIT");
    if (bufferSlot >= 0 && ground.slot(bufferSlot, S.S_STALE) !== 0)
      violated(
        "NO_STALE_IO",
        `${name} goes by the lease in slot ${bufferSlot}, which is older than an invalidation that has ended`,
      );
  }

  #isExcluded(request: number, from: number, name: Invariant): void {
    for (let j = 0; j < this.#ranges.count; j++) {
      if (!this.#ranges.concerns(j, request)) continue;
      const state = this.#ranges.stateOf(j);
      if (state < from || state >= S.ENDED) continue;
      const [rule, stage] = state === S.BEGUN ? (["EXCLUSION", "has"] as const) : ([name, "waits for"] as const);
      violated(rule, `${nameOfRequest(request)} begins while ${this.#ranges.nameOf(j)} ${stage} its pages`);
    }
  }

  /** Checks a request whose frames the kernel has looked up. */
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
      // The engine can't know of an unmap before the monitor has read its event.
      if (!machine.tables.is(page, VM_MAPPED) && !known) ground.setRequest(request, S.R_LOST, 2);
      // The monitor had to read the event to know its range, or the monitor has ended. A request that had been prepared
      // may begin, but mustn't be delivered.
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

  /** Checks a page that the device is about to read or write. */
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

  /** Checks a page that the device has read or written. */
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

  /** Notes that pages are taken away, before or after the engine can be notified of that. */
  taken({ first, last }: Pages, notified: "before" | "after"): void {
    const ground = this.#ground;
    for (let page = first; page <= last; page++) ground.setContent(page, 0);
    for (let i = 0; i < this.#ground.scenario.requests.length; i++) {
      const request = ground.scenario.requests[i]!;
      if (!this.isSubmitted(i) || request.last < first || last < request.first) continue;
      if (!this.#isWithKernel(i)) continue;
      ground.setRequest(i, S.R_LOST, notified === "before" ? 1 : 2);
    }
  }

  #isWithKernel(request: number): boolean {
    return this.#ground.machine.disk.request(request, 0) === 1;
  }

  isSubmitted(request: number): boolean {
    const slot = this.#ground.request(request, S.R_SLOT) - 1;
    return slot >= 0 && this.words[slot << REQUEST_SHIFT] === SUBMITTED;
  }

  /** Notes that from now on the engine can know that these pages are gone. */
  goneIsKnown(first: number, last: number): void {
    const ground = this.#ground;
    // If another thread does this in the middle of a step of the engine, the engine knows it in its next step.
    for (let page = first; page <= last; page++) ground.flag(page, S.GONE_NOW);
    for (let i = 0; i < this.#ground.scenario.requests.length; i++)
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
}
