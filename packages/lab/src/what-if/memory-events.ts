/** Memory operations: each kind arrives at random times, and each thread does one at a time. */

import { PAGE_BYTES } from "pinless/portable";
import type { NamedRandom } from "../model/random.js";
import { HUGE_PAGES } from "../model/tables.js";
import type { VirtualClock } from "../model/virtual-clock.js";
import type { Blocks } from "./blocks.js";
import { type Chunks, HUGE, SWAPPED, TAKEN, UNDER_WRITEBACK } from "./chunks.js";
import { BUSY_SHARE, COSTS } from "./costs.js";
import type { Design } from "./designs.js";
import { exponential } from "./distributions.js";
import { concernsDeviceReads, type EventKind, RATES, type Rated } from "./event-rates.js";
import { Times } from "./latency-histogram.js";
import type { Load } from "./machine-load.js";
import type { Plan } from "./plan.js";
import type { OperationFigures } from "./what-if-figures.js";

const ATTEMPTS = 64;
const GIB = 2 ** 30;

type Counts = { -readonly [K in keyof OperationFigures]: number };

export interface WhatIfWorld {
  readonly plan: Plan;
  readonly chunks: Chunks;
  readonly blocks: Blocks;
  readonly design: Design;
  readonly load: Load;
  readonly clock: VirtualClock;
  readonly random: NamedRandom;
}

/** Time in microseconds for which an operation makes the pages of a range unusable. */
const RANGE_US: Readonly<Partial<Record<Rated, number>>> = {
  numaBalancing: COSTS.movePage.us * HUGE_PAGES,
  khugepaged: COSTS.collapsePage.us * HUGE_PAGES,
  reclaim: COSTS.reclaimPage.us * HUGE_PAGES,
  discard: COSTS.zapPage.us * HUGE_PAGES,
  move: COSTS.movePage.us * HUGE_PAGES,
  writeback: 0,
};

export class Operations {
  readonly blocked = new Times();
  readonly forks = new Times();
  readonly #counts = new Map<Rated, Counts>();
  readonly #world: WhatIfWorld;
  readonly #endMs: number;

  constructor(world: WhatIfWorld) {
    this.#world = world;
    this.#endMs = world.plan.run.seconds * 1000;
  }

  get figures(): Partial<Record<Rated, OperationFigures>> {
    return Object.fromEntries(this.#counts);
  }

  begin(): void {
    for (const kind of RATES) {
      const perSecond = rateOf(this.#world.plan, kind);
      if (perSecond === 0) continue;
      this.#counts.set(kind, { asked: 0, done: 0, refused: 0, pagesRefused: 0 });
      const lanes = atATime(this.#world.plan, kind);
      for (let i = 0; i < lanes; i++) this.#schedule(kind, (1000 * lanes) / perSecond);
    }
  }

  #schedule(kind: Rated, meanMs: number): void {
    const { clock, random } = this.#world;
    clock.after(meanMs * exponential(random.stream(`${kind} ms`)), () => {
      if (clock.nowMs < this.#endMs) this.#run(kind, () => this.#schedule(kind, meanMs));
    });
  }

  #run(kind: Rated, then: () => void): void {
    if (kind === "compaction") this.#compact(then);
    else if (kind === "fork") this.#fork(then);
    else if (kind === "revoke") this.#revoke(then);
    else this.#range(kind, then);
  }

  #draw(kind: Rated, bound: number): number {
    return this.#world.random.stream(`${kind} place`).below(bound);
  }

  #fork(then: () => void): void {
    const { design, load, clock } = this.#world;
    const counts = this.#counts.get("fork")!;
    counts.asked++;
    const beganMs = clock.nowMs;
    // The thread that starts a child does nothing else meanwhile.
    const endedMs = load.work(0, design.fork());
    clock.after(endedMs - beganMs, () => {
      this.forks.record(clock.nowMs - beganMs);
      counts.done++;
      then();
    });
  }

  /** Asks for all pins back: new I/O on pinned chunks waits until their pins are gone. */
  #revoke(then: () => void): void {
    const { design, chunks } = this.#world;
    const counts = this.#counts.get("revoke")!;
    counts.asked++;
    const revocable = design.revocable();
    if (revocable === null) {
      counts.refused++;
      counts.pagesRefused += design.pinnedPages();
      then();
      return;
    }
    const held = [...revocable].filter((chunk) => !chunks.is(chunk, TAKEN));
    let left = held.length;
    const gone = (): void => {
      if (left > 0) return;
      counts.done++;
      then();
    };
    for (const chunk of held) {
      chunks.set(chunk, TAKEN);
      const give = (): void => {
        this.#invalidate("revoke", chunk);
        this.#let(chunk);
        left--;
        gone();
      };
      if (chunks.inFlight(chunk) > 0) this.#wait("revoke", chunk, "all", give);
      else give();
    }
    if (held.length === 0) gone();
  }

  /** Compacts one area of 2 MiB: moves its pages out, piece by piece. */
  #compact(then: () => void): void {
    const { blocks, plan } = this.#world;
    let block = this.#draw("compaction", blocks.count);
    for (let i = 0; i < ATTEMPTS && !blocks.worthCompacting(block); i++) block = this.#draw("compaction", blocks.count);
    if (!blocks.worthCompacting(block)) {
      then();
      return;
    }
    this.#counts.get("compaction")!.asked++;
    const piecePages = plan.buffers.pieceBytes / PAGE_BYTES;
    this.#movePieces(piecePages, blocks.bufferPages(block), 0, 0, (moved, stuck) =>
      this.#emptied(block, moved, stuck, then),
    );
  }

  /** Moves the pieces of buffers in an area. Pieces that no request uses are moved together, in one turn. */
  #movePieces(
    piecePages: number,
    left: number,
    moved: number,
    stuck: number,
    then: (moved: number, stuck: number) => void,
  ): void {
    while (left > 0) {
      const pages = Math.min(left, piecePages);
      left -= pages;
      const chunk = this.#draw("compaction", this.#world.chunks.count);
      const verdict = this.#meet(chunk, pages);
      if (verdict === "refused") stuck += pages;
      else moved += pages;
      if (verdict === "goes") this.#invalidate("compaction", chunk);
      if (verdict !== "waits") continue;
      this.#wait("compaction", chunk, "one", () => {
        this.#invalidate("compaction", chunk);
        this.#movePieces(piecePages, left, moved, stuck, then);
      });
      return;
    }
    then(moved, stuck);
  }

  #emptied(block: number, moved: number, stuck: number, then: () => void): void {
    const { blocks, clock, random } = this.#world;
    const counts = this.#counts.get("compaction")!;
    const pages = moved + blocks.otherPages(block);
    clock.after((COSTS.movePage.us * pages) / 1000, () => {
      blocks.evacuate(block, moved, pages - moved, random.stream("compaction finds room"));
      counts.pagesRefused += stuck;
      if (stuck > 0) counts.refused++;
      else if (!this.#anyBusy(pages)) counts.done++;
      then();
    });
  }

  #anyBusy(pages: number): boolean {
    const stream = this.#world.random.stream("a page is busy");
    for (let i = 0; i < pages; i++) if (stream.chance(BUSY_SHARE.share)) return true;
    return false;
  }

  /**
   * Asks the design about a piece of a chunk, which overlaps a request in flight with a probability given by their
   * sizes.
   */
  #meet(chunk: number, pages: number): "goes" | "waits" | "refused" {
    const { chunks, design, plan, random } = this.#world;
    const touched = plan.io.requestBytes / PAGE_BYTES + pages - 1;
    const share = (chunks.inFlight(chunk) * touched) / HUGE_PAGES;
    return design.meets("compaction", chunk, share > 0 && random.stream("overlap").chance(share));
  }

  /** Does an operation on a range of the buffers. */
  #range(kind: Rated, then: () => void): void {
    const chunk = this.#draw(kind, this.#world.chunks.count);
    const counts = this.#counts.get(kind)!;
    if (!this.#concerns(kind, chunk)) {
      then();
      return;
    }
    counts.asked++;
    const refused = (): void => {
      counts.refused++;
      counts.pagesRefused += HUGE_PAGES;
      then();
    };
    const take = (): void => this.#ask(kind, chunk, () => this.#take(kind, chunk, counts, then), refused);
    if (kind === "numaBalancing") this.#hint(chunk, take, refused, counts, then);
    else take();
  }

  /**
   * Does NUMA balancing on a range: makes it fault, which moves nothing, and then moves it if it's on the wrong node.
   */
  #hint(chunk: number, move: () => void, refused: () => void, counts: Counts, then: () => void): void {
    const { nodes } = this.#world.plan.machine;
    const misplaced = this.#world.random.stream("on the wrong node").chance((nodes - 1) / nodes);
    const hinted = (): void => {
      this.#invalidate("numaHint", chunk);
      this.#let(chunk);
      if (misplaced) move();
      else {
        counts.done++;
        then();
      }
    };
    this.#ask("numaHint", chunk, hinted, refused);
  }

  /** True if the operation has something to do on the chunk. */
  #concerns(kind: Rated, chunk: number): boolean {
    const { chunks, plan, clock } = this.#world;
    if (chunks.is(chunk, TAKEN)) return false;
    if (kind === "numaBalancing") return plan.machine.nodes > 1 && !chunks.is(chunk, SWAPPED);
    if (kind === "khugepaged") return !chunks.is(chunk, HUGE | SWAPPED);
    if (kind === "reclaim")
      return !chunks.is(chunk, SWAPPED) && clock.nowMs - chunks.usedMs[chunk]! >= plan.events.coldMs;
    if (kind === "writeback") return plan.buffers.backing === "file" && !chunks.is(chunk, UNDER_WRITEBACK);
    return !chunks.is(chunk, SWAPPED);
  }

  #overlaps(kind: EventKind, chunk: number): boolean {
    const { chunks } = this.#world;
    return (concernsDeviceReads(kind) ? chunks.inFlight(chunk) : chunks.deviceWrites[chunk]!) > 0;
  }

  /**
   * Takes a range for an operation as soon as I/O on it has ended; requests that arrive meanwhile wait until `#let`.
   * Calls `refused` if the design refuses the operation.
   */
  #ask(kind: EventKind, chunk: number, go: () => void, refused: () => void): void {
    const { design, chunks } = this.#world;
    const verdict = chunks.is(chunk, TAKEN) ? "refused" : design.meets(kind, chunk, this.#overlaps(kind, chunk));
    if (verdict === "refused") {
      refused();
      return;
    }
    chunks.set(chunk, TAKEN);
    if (verdict === "goes") go();
    else this.#wait(kind, chunk, "all", go);
  }

  #let(chunk: number): void {
    this.#world.chunks.clear(chunk, TAKEN);
    this.#world.load.resume(chunk);
  }

  /** Waits for all requests in flight, or for one of them. */
  #wait(kind: EventKind, chunk: number, requests: "all" | "one", then: () => void): void {
    const { load, clock } = this.#world;
    const beganMs = clock.nowMs;
    load.whenEnded(chunk, concernsDeviceReads(kind), requests === "one", () => {
      this.blocked.record(clock.nowMs - beganMs);
      then();
    });
  }

  #invalidate(kind: EventKind, chunk: number): void {
    const { design, load } = this.#world;
    load.notePins();
    const us = design.invalidate(kind, chunk);
    if (us > 0) load.work(0, us);
  }

  #take(kind: Rated, chunk: number, counts: Counts, then: () => void): void {
    const { clock, design } = this.#world;
    this.#invalidate(kind, chunk);
    const notifyUs = design.name === "notifier" ? COSTS.notify.us : 0;
    clock.after((RANGE_US[kind]! + notifyUs) / 1000, () => {
      if (this.#effect(kind, chunk)) counts.done++;
      this.#let(chunk);
      then();
    });
  }

  /** Applies the operation. Returns false if it failed. */
  #effect(kind: Rated, chunk: number): boolean {
    const { chunks, blocks, random, plan, clock, load } = this.#world;
    const place = random.stream("where pages go");
    const size = chunks.is(chunk, HUGE) ? "huge" : "small";
    if (kind === "khugepaged") {
      if (!blocks.takeFree()) return false;
      blocks.removeBuffers(HUGE_PAGES, "small", place);
      chunks.set(chunk, HUGE);
    } else if (kind === "reclaim") {
      blocks.removeBuffers(HUGE_PAGES, size, place);
      chunks.set(chunk, SWAPPED);
      chunks.clear(chunk, HUGE);
    } else if (kind === "writeback") {
      chunks.set(chunk, UNDER_WRITEBACK);
      clock.after(plan.events.writebackUs / 1000, () => {
        chunks.clear(chunk, UNDER_WRITEBACK);
        load.resume(chunk);
        load.resumeCopies(chunk);
      });
    }
    return true;
  }
}

/**
 * Number of operations of a kind at a time: kcompactd and kswapd have a thread for each node, khugepaged has one, and
 * the others are the program's own threads.
 */
function atATime({ machine, io }: Plan, kind: Rated): number {
  if (kind === "compaction" || kind === "reclaim") return machine.nodes;
  return kind === "khugepaged" || kind === "revoke" ? 1 : io.threads;
}

/** Operations a second, on the whole machine. */
function rateOf({ events, machine }: Plan, kind: Rated): number {
  return events[kind] * events.times * (events.per === "GiB" ? machine.bytes / GIB : 1);
}
