/** The three designs that a what-if compares, each with its behaviour at requests and at memory operations. */

import { PAGE_BYTES } from "pinless/portable";
import { HUGE_PAGES } from "../model/tables.js";
import { CHANGED, type Chunks, HUGE, STALE, UNDER_WRITEBACK } from "./chunks.js";
import { COSTS, forkUs, perIoUs, takeUs } from "./costs.js";
import { Counters } from "./counters.js";
import type { EventKind } from "./event-rates.js";
import { LeaseCosts } from "./lease-costs.js";
import type { Plan } from "./plan.js";

export const DESIGNS = ["gup", "notifier", "pinless"] as const;
export type DesignName = (typeof DESIGNS)[number];

/** Answer to a memory operation: it runs at once, after the I/O in flight, or not at all. */
export type Verdict = "goes" | "waits" | "refused";

export interface Design {
  readonly name: DesignName;
  readonly title: string;
  /**
   * Point at which device writes wait for the end of a range's writeback: before they begin, or before their data is
   * copied there.
   */
  readonly writebackHolds: "begin" | "end" | "nothing";
  readonly counters: Counters;
  /** Time in milliseconds before the first request, for registrations. */
  readonly startMs: number;
  /** Begins a request. Returns its cost beyond the request itself, in microseconds of its thread. */
  begin(slot: number, chunk: number, deviceWrite: boolean, nowMs: number): number;
  end(slot: number, chunk: number): void;
  /** Asks for a memory operation. `overlaps` is true if I/O that the event concerns is in flight there. */
  meets(kind: EventKind, chunk: number, overlaps: boolean): Verdict;
  /** Runs an operation. Returns its cost in microseconds of the program's thread. */
  invalidate(kind: EventKind, chunk: number): number;
  /** Chunks that can be asked to give up their pins; null if the design gives up none. */
  revocable(): Iterable<number> | null;
  /** Starts a child process. Returns the cost in microseconds. */
  fork(): number;
  /** Does periodic work. Returns its cost in microseconds of the program's thread. */
  tick(nowMs: number): number;
  /** Number of pages that can't be moved now, and the share of chunks with such pages. */
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
  /** Flags of the requests that pin their own pages until they end. */
  readonly #holding: Uint8Array;
  #held = 0;

  constructor(plan: Plan, chunks: Chunks) {
    this.plan = plan;
    this.chunks = chunks;
    this.requestPages = plan.io.requestBytes / PAGE_BYTES;
    this.#holding = new Uint8Array(plan.io.threads * plan.io.depth);
  }

  /** Pins the pages of a request. Returns the cost in microseconds. */
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

  protected forkOfAll(pages: "pinned" | "unpinned"): number {
    const { count, flags } = this.chunks;
    if (!this.plan.buffers.inherited) return COSTS.fork.us;
    let huge = 0;
    for (let i = 0; i < count; i++) huge += flags[i]! & HUGE;
    return forkUs(count - huge, huge, pages === "pinned");
  }
}

/**
 * Linux as it is: page references for the duration of a call (aio, direct), or for as long as a buffer is registered
 * (io_uring), which is for the program's life.
 */
class Gup extends Base implements Design {
  readonly name = "gup";
  readonly title: string;
  readonly writebackHolds = "nothing";
  readonly startMs: number;
  readonly #registered: boolean;

  constructor(plan: Plan, chunks: Chunks) {
    super(plan, chunks);
    // The kernel doesn't register mappings of files.
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
    return this.forkOfAll(this.#registered ? "pinned" : "unpinned");
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

/**
 * The proposal inside the kernel: no page references. Invalidations wait for I/O in flight, and a registration looks
 * its pages up again after one.
 */
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
    // Because of copy-on-write, the next device write needs a page of its own.
    if (this.#registered && this.plan.buffers.inherited)
      for (let chunk = 0; chunk < this.chunks.count; chunk++) this.chunks.set(chunk, CHANGED);
    return this.forkOfAll("unpinned");
  }
}

/**
 * pinless: leases in user space. Operations that the kernel starts by itself aren't announced to it, and are refused
 * only on pages in use.
 */
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
    // The device writes to a bounce buffer of the engine, which is leased for as long as there is I/O.
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
    // Device writes go to a bounce buffer, so no I/O that writeback concerns is in flight there.
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
