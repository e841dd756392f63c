/** The three designs that a what-if compares: what each does when a request begins, and when memory management comes. */

import { PAGE_BYTES } from "pinless/portable";
import { CHANGED, type Chunks, HUGE, STALE, UNDER_WRITEBACK } from "./chunks.js";
import { COSTS, forkUs, HUGE_PAGES, perIoUs, takeUs } from "./costs.js";
import { Counters } from "./counters.js";
import type { EventKind } from "./event-rates.js";
import { LeaseCosts } from "./lease-costs.js";
import type { Plan } from "./plan.js";

export const DESIGNS = ["gup", "notifier", "pinless"] as const;
export type DesignName = (typeof DESIGNS)[number];

/** Whether an operation goes ahead at once, once the I/O in flight has ended, or not at all. */
export type Verdict = "goes" | "waits" | "refused";

export interface Design {
  readonly name: DesignName;
  readonly title: string;
  /** Device writes wait until a range isn't under writeback any more: before they begin, or before their data is copied there. */
  readonly writebackHolds: "begin" | "end" | "nothing";
  readonly counters: Counters;
  /** Milliseconds that it takes to begin with. */
  readonly startMs: number;
  /** What a request costs beside the request itself, in microseconds of its thread. */
  begin(slot: number, chunk: number, deviceWrite: boolean, nowMs: number): number;
  end(slot: number, chunk: number): void;
  /** `overlaps`: I/O that the event concerns is in flight there. */
  meets(kind: EventKind, chunk: number, overlaps: boolean): Verdict;
  /** An operation goes ahead. Microseconds that it costs the program's thread. */
  invalidate(kind: EventKind, chunk: number): number;
  /** The chunks of which pins can be asked back; null: nobody gives any. */
  revocable(): Iterable<number> | null;
  /** A child is started: microseconds. */
  fork(): number;
  /** Time passes; microseconds that it costs the program's thread. */
  tick(nowMs: number): number;
  /** Pages that can't be moved now, and the part of all chunks that has such. */
  pinnedPages(): number;
  pinnedShare(): number;
}

export function designOf(name: DesignName, plan: Plan, chunks: Chunks): Design {
  if (name === "gup") return new Gup(plan, chunks);
  if (name === "notifier") return new Notifier(plan, chunks);
  return new Pinless(plan, chunks);
}

function registers({ io }: Plan): boolean {
  return io.scheme === "io_uring" && io.registered;
}

abstract class Base {
  readonly counters = new Counters();
  protected readonly plan: Plan;
  protected readonly chunks: Chunks;
  protected readonly requestPages: number;
  /** Requests that hold their own pages for as long as they last. */
  readonly #holding: Uint8Array;
  #held = 0;

  constructor(plan: Plan, chunks: Chunks) {
    this.plan = plan;
    this.chunks = chunks;
    this.requestPages = plan.io.requestBytes / PAGE_BYTES;
    this.#holding = new Uint8Array(plan.io.threads * plan.io.depth);
  }

  /** A request finds its own pages and holds them. */
  protected hold(slot: number): number {
    this.#holding[slot] = 1;
    this.#held++;
    return perIoUs(this.requestPages);
  }

  protected holds(slot: number): boolean {
    return this.#holding[slot] === 1;
  }

  end(slot: number, _chunk: number): void {
    this.#held -= this.#holding[slot]!;
    this.#holding[slot] = 0;
  }

  tick(_nowMs: number): number {
    return 0;
  }

  revocable(): Iterable<number> | null {
    return [];
  }

  pinnedShare(): number {
    return Math.min(1, this.#held / this.chunks.count);
  }

  pinnedPages(): number {
    return this.#held * this.requestPages;
  }

  protected forkOfAll(pinned: boolean): number {
    const { count, flags } = this.chunks;
    if (!this.plan.buffers.inherited) return COSTS.fork.us;
    let huge = 0;
    for (let i = 0; i < count; i++) huge += flags[i]! & HUGE;
    return forkUs(count - huge, huge, pinned);
  }
}

/** Linux as it is: references, for a call (aio, direct) or for as long as a buffer is registered (io_uring): for life. */
class Gup extends Base implements Design {
  readonly name = "gup";
  readonly title: string;
  readonly writebackHolds = "nothing";
  readonly startMs: number;
  readonly #registered: boolean;

  constructor(plan: Plan, chunks: Chunks) {
    super(plan, chunks);
    // The kernel registers no mapping of a file.
    this.#registered = registers(plan) && plan.buffers.backing === "anonymous";
    this.title = this.#registered ? "registered for life" : "pinned for each call";
    this.startMs = this.#registered
      ? (chunks.count * takeUs(HUGE_PAGES, plan.buffers.pages === "huge" ? HUGE_PAGES : 1, chunks.count / 2)) / 1000
      : 0;
  }

  begin(slot: number, chunk: number, deviceWrite: boolean): number {
    const { chunks, counters } = this;
    if (deviceWrite && chunks.is(chunk, UNDER_WRITEBACK)) counters.unsafeWrites++;
    if (this.#registered) {
      if (deviceWrite && chunks.is(chunk, STALE)) counters.readsLost++;
      return 0;
    }
    return this.hold(slot);
  }

  meets(kind: EventKind, chunk: number, overlaps: boolean): Verdict {
    if (kind === "writeback") this.counters.unsafeWrites += this.chunks.deviceWrites[chunk]!;
    if (kind === "discard" || kind === "writeback") return "goes";
    return this.#registered || overlaps ? "refused" : "goes";
  }

  invalidate(kind: EventKind, chunk: number): number {
    if (kind === "discard" && this.#registered) this.chunks.set(chunk, STALE);
    return 0;
  }

  fork(): number {
    return this.forkOfAll(this.#registered);
  }

  override revocable(): Iterable<number> | null {
    return this.#registered ? null : [];
  }

  override pinnedPages(): number {
    return this.#registered ? this.chunks.pages : super.pinnedPages();
  }

  override pinnedShare(): number {
    return this.#registered ? 1 : super.pinnedShare();
  }
}

/** The proposal, in the kernel: nothing is held. Invalidations wait for what is in flight; a registration looks its pages up after one. */
class Notifier extends Base implements Design {
  readonly name = "notifier";
  readonly title: string;
  readonly writebackHolds = "begin";
  readonly startMs: number;
  readonly #registered: boolean;

  constructor(plan: Plan, chunks: Chunks) {
    super(plan, chunks);
    this.#registered = registers(plan);
    this.title = this.#registered ? "registered, validated again after events" : "waited for by events";
    this.startMs = this.#registered ? (chunks.count * this.#findUs(plan.buffers.pages === "huge")) / 1000 : 0;
  }

  #findUs(huge: boolean): number {
    return huge ? COSTS.findHugePage.us : COSTS.findPage.us * HUGE_PAGES;
  }

  begin(_slot: number, chunk: number): number {
    if (!this.#registered) return perIoUs(this.requestPages);
    if (!this.chunks.is(chunk, CHANGED)) return COSTS.checkSequence.us;
    this.chunks.clear(chunk, CHANGED);
    const us = this.#findUs(this.chunks.is(chunk, HUGE));
    this.counters.revalidations++;
    this.counters.revalidationUs += us;
    return COSTS.checkSequence.us + us;
  }

  meets(kind: EventKind, _chunk: number, overlaps: boolean): Verdict {
    if (kind === "numaHint" && this.plan.notifier.filter) {
      this.counters.filtered++;
      return "goes";
    }
    return overlaps ? "waits" : "goes";
  }

  invalidate(kind: EventKind, chunk: number): number {
    if (this.#registered && !(kind === "numaHint" && this.plan.notifier.filter)) this.chunks.set(chunk, CHANGED);
    return 0;
  }

  fork(): number {
    // Copy on write: the next device write has to find (or make) a page of its own.
    if (this.#registered && this.plan.buffers.inherited)
      for (let chunk = 0; chunk < this.chunks.count; chunk++) this.chunks.set(chunk, CHANGED);
    return this.forkOfAll(false);
  }
}

/** pinless: leases, from user space. What the kernel does of its own accord isn't told to it, and meets no pins but those in use. */
class Pinless extends Base implements Design {
  readonly name = "pinless";
  readonly title: string;
  readonly writebackHolds: "end" | "nothing";
  readonly startMs = 0;
  readonly #leases: LeaseCosts | null;
  readonly #ofFile: boolean;

  constructor(plan: Plan, chunks: Chunks) {
    super(plan, chunks);
    this.#ofFile = plan.buffers.backing === "file";
    this.#leases = registers(plan) && !this.#ofFile ? new LeaseCosts(plan, chunks, this.counters) : null;
    this.writebackHolds = this.#ofFile ? "end" : "nothing";
    this.title = this.#ofFile ? "disk reads are copied" : this.#leases === null ? "pinned for each call" : "leases";
  }

  begin(slot: number, chunk: number, deviceWrite: boolean, nowMs: number): number {
    // The device writes memory of the engine's own, which is leased for as long as there's I/O at all.
    if (this.#ofFile && deviceWrite) return COSTS.copyPage.us * this.requestPages;
    const us = this.#leases?.use(chunk, nowMs) ?? -1;
    return us >= 0 ? us : this.hold(slot) - 1 - us;
  }

  override end(slot: number, chunk: number): void {
    if (!this.holds(slot)) this.#leases?.ended(chunk);
    super.end(slot, chunk);
  }

  meets(kind: EventKind, chunk: number, overlaps: boolean): Verdict {
    if (kind === "discard" || kind === "move") return overlaps ? "waits" : "goes";
    // Device writes go elsewhere, and so no I/O that writeback concerns is ever in flight there.
    if (kind === "writeback") return "goes";
    return overlaps || this.#leases?.has(chunk) === true ? "refused" : "goes";
  }

  invalidate(kind: EventKind, chunk: number): number {
    if (kind === "revoke") return this.#leases?.give(chunk) ?? 0;
    if (kind !== "discard" && kind !== "move") return 0;
    this.chunks.set(chunk, CHANGED);
    return this.#leases?.give(chunk) ?? 0;
  }

  fork(): number {
    return COSTS.fork.us;
  }

  override revocable(): Iterable<number> {
    return this.#leases?.chunks() ?? [];
  }

  override tick(nowMs: number): number {
    return this.#leases?.giveDue(nowMs) ?? 0;
  }

  override pinnedPages(): number {
    return super.pinnedPages() + (this.#leases?.live ?? 0) * HUGE_PAGES;
  }

  override pinnedShare(): number {
    return Math.min(1, super.pinnedShare() + (this.#leases?.live ?? 0) / this.chunks.count);
  }
}
