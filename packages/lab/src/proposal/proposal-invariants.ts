/**
 * The invariants of the kernel without an engine, stated a second time and naively: not by the notifier's counters, but
 * by the steps of all actors and the state of the machine. On Linux (`gup`), where nothing waits, only the contents
 * that the program and its file see are checked.
 */

import { EFAULT, type MmuEvent, READ, violated, WRITE } from "pinless/portable";
import { inWords, nameOfInvalidation, nameOfRequest } from "../check/context.js";
import { CONCERNED } from "../check/invalidation-ranges.js";
import {
  BLOCK_CONTENT,
  FOLIO_DIRTY,
  IN_USE,
  PINS,
  PTE_DIRTY,
  PTE_SOFT_DIRTY,
  VM_WRITE,
  WRITEBACK,
} from "../model/tables.js";
import { BEGUN, DRAINING, RAISED, REFUSED } from "./mmu-notifier.js";
import type { ProposalGround } from "./proposal-context.js";
import * as G from "./proposal-context.js";

export class ProposalRules {
  readonly #ground: ProposalGround;

  constructor(ground: ProposalGround) {
    this.#ground = ground;
  }

  #event(invalidation: number): MmuEvent {
    return this.#ground.notifier.event(invalidation);
  }

  nameOf(invalidation: number): string {
    const { scenario, invalidations } = this.#ground;
    const own = invalidation - (invalidations - scenario.requests.length);
    if (own >= 0) return `what ${nameOfRequest(own)}'s own look-up does`;
    if (scenario.invalidations[invalidation] !== undefined)
      return `${nameOfInvalidation(invalidation)} (${this.#event(invalidation)})`;
    const daemon = ["", "kswapd", "compaction", "fork"][this.#ground.invalidation(invalidation, G.V_OPERATION)];
    return `${daemon} on ${inWords(this.#ground.notifier.rangeOf(invalidation))}`;
  }

  #meets(request: number, { first, last }: { first: number; last: number }): boolean {
    const of = this.#ground.scenario.requests[request]!;
    return of.first <= last && first <= of.last;
  }

  #concerns(invalidation: number, request: number): boolean {
    if (!this.#meets(request, this.#ground.notifier.rangeOf(invalidation))) return false;
    const concern = CONCERNED[this.#event(invalidation)];
    return this.#ground.scenario.requests[request]!.write ? concern.deviceReads : concern.deviceWrites;
  }

  /** Invalidations in progress: raised, and not ended. */
  #active(): number[] {
    const active: number[] = [];
    for (let j = 0; j < this.#ground.invalidations; j++) {
      const state = this.#ground.notifier.state(j);
      if (state === RAISED || state === DRAINING || state === BEGUN) active.push(j);
    }
    return active;
  }

  #isIn(request: number): boolean {
    const state = this.#ground.request(request, G.Q_STATE);
    return state === G.IN_FLIGHT || state === G.SERVED;
  }

  /** True if I/O was kept out or sent back, and hasn't been counted in since. */
  #isHeld(request: number): boolean {
    return this.#ground.request(request, G.Q_WAITED) === 1;
  }

  #requests(are: (request: number) => boolean): number[] {
    const those: number[] = [];
    for (let i = 0; i < this.#ground.scenario.requests.length; i++) if (are(i)) those.push(i);
    return those;
  }

  /** Checks the turn of an invalidation that isn't by I/O itself. */
  turn(invalidation: number): void {
    const [held] = this.#requests((i) => this.#isHeld(i) && this.#concerns(invalidation, i));
    if (held !== undefined)
      violated(
        "BOUNDED_HOLD",
        `${this.nameOf(invalidation)} gets its turn before ${nameOfRequest(held)}, which an earlier one held`,
      );
  }

  hasBegun(invalidation: number): void {
    this.#ground.tell?.(`${this.nameOf(invalidation)} has its range`);
    if (CONCERNED[this.#event(invalidation)].lease === "keep") return;
    const { first, last } = this.#ground.notifier.rangeOf(invalidation);
    for (let page = first; page <= last; page++) this.#ground.flag(page, 0, G.VALID_FOR_READS | G.VALID_FOR_WRITES);
  }

  refused(invalidation: number): void {
    const inTheWay = this.#requests((i) => {
      const counted = this.#ground.request(i, G.Q_STATE) === G.COUNTED;
      return this.#concerns(invalidation, i) && (counted || this.#isIn(i) || this.#isHeld(i));
    });
    if (inTheWay.length === 0)
      violated("BALANCED_VETO", `${this.nameOf(invalidation)} is refused, though nothing is in its way`);
  }

  /** Checks a page of a registered buffer that is looked up again. */
  lookedUp(request: number, page: number): void {
    const { write } = this.#ground.scenario.requests[request]!;
    if (this.#ground.has(page, write ? G.VALID_FOR_READS : G.VALID_FOR_WRITES))
      violated("FREE_WHEN_QUIET", `${nameOfRequest(request)} looks page ${page} up, though nothing has happened to it`);
  }

  #isExcluded(name: string, invalidation: number): void {
    const begun = this.#ground.notifier.state(invalidation) === BEGUN;
    const stage = begun ? "has" : "waits for";
    violated(
      begun ? "EXCLUSION" : "BOUNDED_WAIT",
      `${name} begins while ${this.nameOf(invalidation)} ${stage} its pages`,
    );
  }

  /** Notes that I/O was kept out or sent back. */
  waits(request: number): void {
    this.#ground.setRequest(request, G.Q_WAITED, 1);
  }

  /** Checks I/O whose pages are looked up, so that the device may begin. */
  began(request: number): void {
    const ground = this.#ground;
    ground.setRequest(request, G.Q_WAITED, 0);
    const { machine, scenario, registered } = ground;
    const { first, last, write } = scenario.requests[request]!;
    const name = nameOfRequest(request);
    const note = registered ? " (its buffer is registered)" : "";
    ground.tell?.(`the kernel begins ${name}`);
    for (let page = first; page <= last; page++) {
      if (machine.tables.frameOf(page) !== ground.frameFor(request, page - first))
        violated("NO_STALE_IO", `${name} goes to a frame that isn't page ${page}'s any more${note}`);
      if (registered) ground.flag(page, write ? G.VALID_FOR_READS : G.VALID_FOR_READS | G.VALID_FOR_WRITES);
    }
    if (!ground.notifies) return;
    for (const j of this.#active()) if (this.#concerns(j, request)) this.#isExcluded(name, j);
  }

  /** Checks a page that the device is about to read or write. */
  serving(request: number, i: number): void {
    const { machine, scenario, notifies } = this.#ground;
    const { write, first } = scenario.requests[request]!;
    const page = first + i;
    const frame = this.#ground.frameFor(request, i);
    const name = nameOfRequest(request);
    if (!machine.frames.frameIs(frame, IN_USE))
      violated("LINEAR", `the device serves ${name} in frame ${frame}, which is free`);
    const mapped = machine.tables.frameOf(page) === frame;
    // Linux pins the page, and I/O that began before an unmap may complete as if before it.
    if (!mapped && notifies)
      violated("LINEAR", `the device serves ${name} in a frame that isn't page ${page}'s any more`);
    if (write) return;
    if (machine.frames.frameIs(frame, WRITEBACK)) violated("EXCLUSION", `${name} changes page ${page} under writeback`);
    if (mapped && !machine.tables.is(page, VM_WRITE))
      violated("EXCLUSION", `${name} changes page ${page}, which is read-only`);
  }

  served(request: number, i: number): void {
    const ground = this.#ground;
    const { machine } = ground;
    const { write, first } = ground.scenario.requests[request]!;
    const page = first + i;
    if (write || machine.tables.frameOf(page) !== ground.frameFor(request, i)) return;
    ground.setPage(page, G.P_CONTENT, machine.cache.block(ground.blockOf(request) + i, BLOCK_CONTENT));
    if (ground.has(page, G.TRACKED) && !machine.tables.is(page, PTE_SOFT_DIRTY))
      violated("NO_STALE_IO", `${nameOfRequest(request)} leaves no trace in page ${page}'s soft-dirty bit`);
  }

  /** Checks a completed I/O: the pages that the device wrote must be dirty, so that they survive reclaim. */
  completing(request: number): void {
    const ground = this.#ground;
    const { machine } = ground;
    const { write, first } = ground.scenario.requests[request]!;
    for (let i = 0; i < ground.request(request, G.Q_SERVED) && !write; i++) {
      const page = first + i;
      const frame = ground.frameFor(request, i);
      if (
        machine.tables.frameOf(page) !== frame ||
        machine.tables.is(page, PTE_DIRTY) ||
        machine.frames.frameIs(frame, FOLIO_DIRTY)
      )
        continue;
      violated(
        "DEVICE_WRITES_DIRTY",
        `${nameOfRequest(request)} has written page ${page}, which is clean: reclaim will lose it`,
      );
    }
  }

  answered(request: number, errno: number): void {
    const ground = this.#ground;
    const { write, first, last } = ground.scenario.requests[request]!;
    const name = nameOfRequest(request);
    ground.setRequest(request, G.Q_WAITED, 0);
    ground.tell?.(`${name} ends with ${errno === 0 ? "success" : `errno ${errno}`}`);
    if (errno !== EFAULT) return;
    let reason = false;
    for (let page = first; page <= last; page++)
      reason ||= ground.has(page, G.UNMAPPED) || (!write && ground.has(page, G.READ_ONLY));
    if (!reason) violated("LINEAR", `${name} fails with EFAULT, but its memory is there and may be used`);
  }

  /** Checks a page that couldn't be moved: only I/O that uses it may be the reason. */
  notMoved(page: number): void {
    const { machine, scenario } = this.#ground;
    const frame = machine.tables.frameOf(page);
    if (frame < 0 || machine.frames.frameIs(frame, WRITEBACK) || this.#ground.page(page, G.P_CHILD) === frame + 1)
      return;
    const used = scenario.requests.some(
      ({ first, last }, i) =>
        first <= page &&
        page <= last &&
        this.#ground.request(i, G.Q_STATE) >= G.LOOKING &&
        this.#ground.request(i, G.Q_STATE) < G.ANSWERED,
    );
    if (machine.frames.frame(frame, PINS) > 0 && !used)
      violated("NO_IDLE_PIN", `page ${page} can't be moved: it's pinned, and no I/O uses it`);
  }

  /** Checks the invariants that hold between two steps. */
  check(): void {
    const ground = this.#ground;
    const { machine } = ground;
    if (ground.notifies) this.#order();
    for (let page = 0; page < ground.pages; page++) {
      const content = ground.page(page, G.P_CONTENT);
      if (machine.memory.peek(page) !== content)
        violated("LINEAR", `page ${page} holds ${machine.memory.peek(page)}, where ${content} was written last`);
      const child = ground.page(page, G.P_CHILD) - 1;
      if (child >= 0 && ground.contentOf(child) !== ground.page(page, G.P_CHILD_CONTENT))
        violated("LINEAR", `the child's page ${page} has been changed by its parent's I/O`);
    }
  }

  #order(): void {
    const ground = this.#ground;
    const { notifier } = ground;
    const active = this.#active();
    for (const j of active) {
      const inside = this.#requests((i) => this.#isIn(i) && this.#concerns(j, i));
      if (notifier.state(j) === BEGUN && inside.length > 0)
        violated("EXCLUSION", `${nameOfRequest(inside[0]!)} is in flight while ${this.nameOf(j)} has its pages`);
      if (notifier.state(j) === DRAINING) this.#drains(j, inside.length);
    }
    for (const i of this.#requests((r) => notifier.isAsleep(r))) {
      if (active.some((j) => this.#concerns(j, i))) continue;
      const met = active.find((j) => this.#meets(i, notifier.rangeOf(j)));
      if (met !== undefined)
        violated("FILTER", `${nameOfRequest(i)} is held for ${this.nameOf(met)}, which doesn't concern it`);
      violated("BOUNDED_HOLD", `${nameOfRequest(i)} sleeps, and no invalidation keeps it`);
    }
    this.#isBalanced(active);
  }

  #drains(invalidation: number, inFlight: number): void {
    const counted = this.#requests(
      (i) => this.#ground.request(i, G.Q_STATE) === G.COUNTED && this.#concerns(invalidation, i),
    );
    if (inFlight + counted.length > 0) return;
    const range = this.#ground.notifier.rangeOf(invalidation);
    const other = this.#requests((i) => this.#isIn(i) && this.#meets(i, range))[0];
    if (other !== undefined)
      violated("FILTER", `${this.nameOf(invalidation)} waits for ${nameOfRequest(other)}, which it doesn't concern`);
    violated("BOUNDED_WAIT", `${this.nameOf(invalidation)} waits, but for nothing`);
  }

  /** Checks that each page's counter equals its invalidations in progress: a refused one must have left no trace. */
  #isBalanced(active: readonly number[]): void {
    const { notifier, pages, invalidations } = this.#ground;
    let refused = 0;
    while (refused < invalidations && notifier.state(refused) !== REFUSED) refused++;
    for (let page = 0; page < pages && refused < invalidations; page++) {
      let deviceWrites = 0;
      let deviceReads = 0;
      for (const j of active) {
        const { first, last } = notifier.rangeOf(j);
        if (page < first || last < page) continue;
        if (CONCERNED[this.#event(j)].deviceWrites) deviceWrites++;
        if (CONCERNED[this.#event(j)].deviceReads) deviceReads++;
      }
      if (notifier.excluded(page, READ) > deviceWrites || notifier.excluded(page, WRITE) > deviceReads)
        violated("BALANCED_VETO", `the refusal of ${this.nameOf(refused)} still keeps I/O from page ${page}`);
    }
  }

  /** Checks a state without enabled actions. */
  atRest(): void {
    const ground = this.#ground;
    const { scenario, machine } = ground;
    for (let i = 0; i < scenario.requests.length; i++) {
      if (ground.request(i, G.Q_STATE) === G.ANSWERED) continue;
      if (ground.request(i, G.Q_STATE) === G.BREAKING)
        violated("SELF_EVENT", `${nameOfRequest(i)} waits for what its own look-up does, for ever`);
      violated("EXACTLY_ONCE", `nothing can happen any more, and ${nameOfRequest(i)} isn't answered`);
    }
    for (let j = 0; j < ground.invalidations; j++) {
      const step = ground.invalidation(j, G.V_STEP);
      if (step === G.STARTED || step === G.OPERATED || (step === G.NOT_STARTED && j < scenario.invalidations.length))
        violated("BOUNDED_WAIT", `nothing can happen any more, and ${this.nameOf(j)} never ended`);
    }
    if (!ground.notifies) return;
    for (let page = 0; page < ground.pages; page++) {
      const { excluded, inFlight, held } = ground.notifier.counters(page);
      if ([...excluded, ...inFlight, ...held].some((count) => count !== 0))
        violated("EXACTLY_ONCE", `page ${page} is still counted: ${[...excluded, ...inFlight, ...held].join(", ")}`);
    }
    if (machine.disk.pins !== 0) violated("NO_IDLE_PIN", `${machine.disk.pins} pins are left over`);
  }
}
