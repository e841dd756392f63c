// A second, naive implementation of the protocol: sets and lists, no counters, no bits. It watches the engine's calls
// to the kernel, and knows which must have been made by now.

import { ECANCELED, EFAULT } from "../../../dist/protocol/errno.js";
import { CONCERNS, type MmuEvent } from "../../../dist/protocol/events.js";
import type { Protection } from "../../../dist/protocol/public-notifier.js";
import type { Judge } from "./judge.js";
import { CHUNK, type Issue, newPages, PAGE, type Pages, type Registration, type Watch } from "./kernel.js";

export interface RefChunk {
  readonly number: number;
  readonly bytes: number;
  pages: Pages;
  unmapped: boolean;
  /** Numbers of its pages. */
  readonly readOnly: Set<number>;
  refused: boolean;
  /** Time when the last invalidation that drops leases ended. */
  droppedAt: number;
  /** The next lease here is taken again after an invalidation. */
  revalidate: boolean;
}

export interface RefInvalidation {
  readonly event: MmuEvent;
  readonly first: number;
  readonly last: number;
  state: "waiting" | "draining" | "begun";
  /** The I/O and the leases that it found when it got its turn. */
  readonly requests: Set<RefRequest>;
  readonly leases: Set<Registration>;
}

export interface RefRequest {
  readonly id: number;
  readonly write: boolean;
  readonly first: number;
  readonly last: number;
  readonly chunks: RefChunk[];
  /** ready: no invalidation keeps it any more, but it has no slot yet. */
  state: "new" | "held" | "ready" | "kernel" | "ended";
  cancelled: boolean;
  issues: number;
  /** Number of times that the request took effect. */
  effects: number;
  result: number;
}

function concerns(event: MmuEvent, write: boolean): boolean {
  const { deviceReads, deviceWrites } = CONCERNS[event];
  return write ? deviceReads : deviceWrites;
}

/** All of it. */
function isReadOnly({ readOnly, bytes }: RefChunk): boolean {
  return readOnly.size === bytes / PAGE;
}

export class Reference implements Watch {
  readonly chunks = new Map<number, RefChunk>();
  invalidations: RefInvalidation[] = [];
  readonly requests = new Map<number, RefRequest>();
  /** Those in state ready, in their order. */
  readonly ready: RefRequest[] = [];
  readonly #withoutSlot: () => number;
  /** Leases whose books aren't done. */
  registrations: Registration[] = [];
  revalidated = 0;
  /** Ended, but not yet answered: what waited for its first chunk may begin before its last is counted out. */
  ending: RefRequest | null = null;
  readonly #judge: Judge;
  /** Says why the engine may drop this lease now, if not for an invalidation. */
  readonly #mayDrop: (registration: Registration) => boolean;
  readonly #mayTake: (chunk: RefChunk, bytes: number) => void;
  readonly #nowMs: () => number;

  constructor(
    judge: Judge,
    withoutSlot: () => number,
    nowMs: () => number,
    mayDrop: (registration: Registration) => boolean,
    mayTake: (chunk: RefChunk, bytes: number) => void,
  ) {
    this.#judge = judge;
    this.#withoutSlot = withoutSlot;
    this.#nowMs = nowMs;
    this.#mayDrop = mayDrop;
    this.#mayTake = mayTake;
  }

  addChunk(number: number, bytes: number): void {
    const flags = { unmapped: false, refused: false, revalidate: false };
    const chunk = {
      number,
      bytes,
      pages: newPages(),
      readOnly: new Set<number>(),
      droppedAt: 0,
      ...flags,
    };
    this.chunks.set(number, chunk);
  }

  /** Invalidation that has its turn on a chunk. */
  turnAt(chunk: number): RefInvalidation | undefined {
    return this.invalidations.find((i) => i.state !== "waiting" && i.first <= chunk && chunk <= i.last);
  }

  inKernel(chunk: number): RefRequest[] {
    return [...this.requests.values()].filter((r) => r.state === "kernel" && r.first <= chunk && chunk <= r.last);
  }

  #verdict(request: RefRequest): "go" | "wait" | "fault" {
    for (const chunk of request.chunks) {
      if (chunk.unmapped || chunk.refused || (isReadOnly(chunk) && !request.write)) return "fault";
      const turn = this.chunks.get(chunk.number) === chunk ? this.turnAt(chunk.number) : undefined;
      if (turn !== undefined && concerns(turn.event, request.write)) return "wait";
    }
    return "go";
  }

  accept(request: RefRequest): void {
    this.requests.set(request.id, request);
    this.#decide(request);
  }

  /** Decides about a request that is new or comes out of a hold. */
  #decide(request: RefRequest): void {
    const verdict = request.cancelled ? "fault" : this.#verdict(request);
    if (verdict === "wait") request.state = "held";
    else if (verdict === "go") request.state = "kernel";
    else {
      request.state = "ended";
      request.result = request.cancelled ? -ECANCELED : -EFAULT;
    }
  }

  /** Requests that have slots. */
  get used(): number {
    return [...this.requests.values()].filter(({ state }) => state === "kernel" || state === "ended").length;
  }

  /**
   * Gives the free slots to the requests that have waited longest. The number of requests without a slot is the
   * engine's; `agree` checks it.
   */
  fill(): void {
    while (this.ready.length > this.#withoutSlot()) this.#decide(this.ready.shift()!);
  }

  /** True if an invalidation that may not wait succeeds. */
  isFree(event: MmuEvent, first: number, last: number): boolean {
    this.fill();
    const met = (o: { first: number; last: number }): boolean => o.first <= last && first <= o.last;
    if (this.invalidations.some(met)) return false;
    for (const request of this.requests.values()) {
      if (this.isHeldOn(request, first, last)) return false;
      if (met(request) && request.state === "kernel" && concerns(event, request.write)) return false;
    }
    return CONCERNS[event].lease !== "drop" || !this.registrations.some(({ chunk }) => first <= chunk && chunk <= last);
  }

  start(event: MmuEvent, first: number, last: number): RefInvalidation {
    const added: RefInvalidation = { event, first, last, state: "waiting", requests: new Set(), leases: new Set() };
    this.invalidations.push(added);
    return added;
  }

  /**
   * True if these chunks hold a request, other than one whose memory is gone and that waits for a slot to fail in.
   */
  isHeldOn({ state, chunks }: RefRequest, first: number, last: number): boolean {
    if (state !== "held" && state !== "ready") return false;
    return chunks.some((c) => first <= c.number && c.number <= last && this.chunks.get(c.number) === c);
  }

  /** Reason why an invalidation doesn't get its turn, or "". */
  blocked(next: RefInvalidation): string {
    const met = (o: { first: number; last: number }): boolean => o.first <= next.last && next.first <= o.last;
    for (const other of this.invalidations) {
      if (other === next) break;
      if (met(other)) return `${other.event}, which came before`;
    }
    if (this.invalidations.some((o) => o.state !== "waiting" && met(o))) return "another in progress";
    const held = [...this.requests.values()].find((r) => this.isHeldOn(r, next.first, next.last));
    return held === undefined ? "" : `request ${held.id}, which is held`;
  }

  /** It gets its turn: what it has to wait for is what it finds now. */
  turn(next: RefInvalidation): void {
    this.fill();
    const blocked = this.blocked(next);
    this.#judge.require("BOUNDED_HOLD", blocked === "", () => `${next.event} overtakes ${blocked}`);
    next.state = "draining";
    for (let c = next.first; c <= next.last; c++) {
      const chunk = this.chunks.get(c);
      if (chunk === undefined) continue;
      for (const request of this.inKernel(c)) if (concerns(next.event, request.write)) next.requests.add(request);
      if (CONCERNS[next.event].lease === "keep") continue;
      for (const lease of this.registrations.filter(({ chunk }) => chunk === c)) {
        // The turn doesn't wait for a lease that's only retired; a new one isn't counted as revalidated.
        if (CONCERNS[next.event].lease !== "drop") continue;
        chunk.revalidate = true;
        next.leases.add(lease);
      }
    }
    this.#look(next);
  }

  /** The leases that must be on their way now that an invalidation has its turn. */
  revokedBy({ event, state, first, last }: RefInvalidation): Registration[] {
    if (state === "waiting" || CONCERNS[event].lease === "keep") return [];
    return this.registrations.filter(({ chunk }) => first <= chunk && chunk <= last);
  }

  #look(invalidation: RefInvalidation): void {
    const { state, requests, leases } = invalidation;
    if (state === "draining" && requests.size === 0 && leases.size === 0) invalidation.state = "begun";
  }

  end(invalidation: RefInvalidation, protections: readonly Protection[]): void {
    const { event, first, last } = invalidation;
    this.invalidations.splice(this.invalidations.indexOf(invalidation), 1);
    for (let c = first; c <= last; c++) {
      const chunk = this.chunks.get(c);
      if (chunk === undefined) continue;
      if (CONCERNS[event].lease === "drop") chunk.droppedAt = ++this.#judge.step;
      if (event === "UNMAP") chunk.unmapped = true;
      for (const { range, readOnly } of protections) {
        for (let page = 0; page < chunk.bytes / PAGE; page++) {
          const address = c * CHUNK + page * PAGE;
          if (address < range.start || range.end <= address) continue;
          if (readOnly) chunk.readOnly.add(page);
          else chunk.readOnly.delete(page);
        }
      }
      if (event === "RELEASE") chunk.refused = true;
    }
    for (const request of this.requests.values()) if (request.state === "held") this.#decideHeld(request);
  }

  #decideHeld(request: RefRequest): void {
    if (this.#verdict(request) === "wait") return;
    request.state = "ready";
    this.ready.push(request);
  }

  answered(id: number): void {
    this.ending = null;
    this.requests.delete(id);
  }

  booked(registration: Registration): void {
    const { tagSeen, returned, chunk, slot } = registration;
    const why = (): string => `slot ${slot} is gone with tag ${tagSeen}, update returned ${returned}`;
    this.#judge.require("REVOKED_MEANS_REVOKED", tagSeen && returned, why);
    this.#judge.require("STATE", !registration.booked, () => `chunk ${chunk}: its end was counted twice`);
    registration.booked = true;
    this.registrations = this.registrations.filter((r) => r !== registration);
    for (const invalidation of this.invalidations) {
      invalidation.leases.delete(registration);
      this.#look(invalidation);
    }
  }

  prepared(issue: Issue): void {
    const request = this.requests.get(issue.request)!;
    const say = (what: string) => (): string =>
      `request ${request.id} on chunks ${request.first}–${request.last} ${what}`;
    // Those that waited before it have had their slots.
    while (request.state === "ready") this.#decide(this.ready.shift()!);
    this.#judge.require("EXCLUSION", request.state !== "held", say("goes, but may not"));
    this.#judge.require("EXACTLY_ONCE", request.state === "kernel", say(`goes in state ${request.state}`));
    for (const other of this.requests.values()) {
      if (other === request) break;
      const overtaken = other.state === "kernel" && other.issues === 0;
      this.#judge.require("BOUNDED_HOLD", request.issues > 0 || !overtaken, say(`overtakes ${other.id}`));
    }
    request.issues++;
    this.#judge.require("EXACTLY_ONCE", request.issues <= 2, say("is issued a third time"));
    const per = issue.intended === null;
    this.#judge.require("EXACTLY_ONCE", request.issues === 1 || per, say("is issued again by a lease"));
    if (issue.intended === null) return;
    this.#fresh(issue, issue.intended, request);
    issue.intended.lastUseMs = this.#nowMs();
  }

  /** No I/O by this lease that isn't allowed to go by it. */
  #fresh(issue: Issue, lease: Registration, request: RefRequest): void {
    const say = (what: string) => (): string => `request ${request.id} on chunk ${request.first} by a lease ${what}`;
    const chunk = request.chunks[0]!;
    this.#judge.require("NO_STALE_IO", request.chunks.length === 1 && lease.chunk === request.first, say("of another"));
    this.#judge.require("NO_STALE_IO", lease.takenAt > chunk.droppedAt, say("older than an invalidation"));
    this.#judge.require("NO_STALE_IO", chunk.readOnly.size === 0, say("on read-only memory"));
    this.#judge.require("NO_STALE_IO", lease.emptied !== "engine", say("that was given back"));
    const turn = this.turnAt(chunk.number);
    const dropping = turn !== undefined && CONCERNS[turn.event].lease !== "keep";
    this.#judge.require("BOUNDED_WAIT", !dropping, say(`that ${turn?.event} is dropping`));
    this.#judge.require("DEVICE_WRITES_DIRTY", issue.write || lease.populated, say("with clean pages"));
  }

  /** The kernel has looked up the registration: it may be another than the engine meant. */
  imported(issue: Issue): void {
    if (issue.used === null || issue.used === issue.intended) return;
    this.#fresh(issue, issue.used, this.requests.get(issue.request)!);
  }

  affecting(issue: Issue): void {
    const request = this.requests.get(issue.request)!;
    const say = (what: string) => (): string =>
      `request ${request.id} on chunks ${request.first}–${request.last} ${what}`;
    this.#judge.require("EXACTLY_ONCE", ++request.effects === 1, say("took effect twice"));
    request.chunks.forEach((chunk, i) => {
      const pages = issue.pages[i]!;
      // Discarded by other code while it was in flight, and not by a lease: it came first.
      const before = pages.byForeign && issue.used === null && pages.goneAt > issue.enteredAt;
      this.#judge.require("LINEAR", pages === chunk.pages || before, say(`found pages that were ${pages.gone}`));
      // Of a part of it the kernel takes care.
      this.#judge.require("LINEAR", issue.write || !isReadOnly(chunk), say("wrote to read-only memory"));
      const turn = this.chunks.get(chunk.number) === chunk ? this.turnAt(chunk.number) : undefined;
      const excluded = turn?.state === "begun" && concerns(turn.event, request.write);
      this.#judge.require("EXCLUSION", !excluded, say(`took effect within ${turn?.event}`));
    });
    if (issue.used === null) return;
    const stale = issue.used.takenAt <= request.chunks[0]!.droppedAt;
    this.#judge.require("NO_STALE_IO", !stale, say("took effect by a lease older than an invalidation"));
  }

  reaping(issue: Issue, result: number, again: boolean): void {
    const request = this.requests.get(issue.request)!;
    if (again && !request.cancelled) return;
    this.#judge.require("EXACTLY_ONCE", request.state === "kernel", () => `request ${request.id} ended twice`);
    request.state = "ended";
    request.result = again ? -ECANCELED : result;
    this.ending = request;
    for (const invalidation of this.invalidations) {
      invalidation.requests.delete(request);
      this.#look(invalidation);
    }
  }

  taking(chunk: number, bytes: number): void {
    const at = this.chunks.get(chunk);
    this.#judge.require("NO_STALE_IO", at !== undefined, () => `a lease on chunk ${chunk}, which belongs to no arena`);
    const barred = at.unmapped || at.readOnly.size > 0 || at.refused || this.turnAt(chunk) !== undefined;
    this.#judge.require("NO_STALE_IO", !barred, () => `a lease is taken on chunk ${chunk}, which may have none`);
    this.#mayTake(at, bytes);
  }

  taken(registration: Registration): void {
    this.registrations.push(registration);
    const chunk = this.chunks.get(registration.chunk)!;
    if (chunk.revalidate) this.revalidated++;
    chunk.revalidate = false;
  }

  emptying(registration: Registration): void {
    const turn = this.turnAt(registration.chunk);
    if (turn !== undefined && CONCERNS[turn.event].lease !== "keep") return;
    const allowed = this.#mayDrop(registration);
    this.#judge.require("FILTER", allowed, () => `the lease of chunk ${registration.chunk} is dropped without need`);
  }

  /** Pages of a chunk go: a memory operation took effect. */
  replacePages(chunk: RefChunk, gone: "moved" | "discarded" | "unmapped", byForeign = false): void {
    Object.assign(chunk.pages, { gone, goneAt: ++this.#judge.step, byForeign });
    chunk.pages = newPages();
  }
}

export function chunkOf(address: number): number {
  return Math.floor(address / CHUNK);
}
