/** Context that all actors of an exploration share: the scenario, the state and the machine. */

import {
  type BufferLocation,
  CHUNK_WORDS,
  ChunkTable,
  leaseWords,
  PAGE_BYTES,
  type Range,
  REQUEST_SHIFT,
  snapshotWords,
} from "pinless/portable";
import { Kernel } from "../model/model-kernel.js";
import { type MachineSize, layoutOf as machineLayout } from "../model/tables.js";
import type { Pages, Scenario } from "./scenario.js";
import * as S from "./state.js";
import { StateRow } from "./state-row.js";

/** First address of the arena: beyond 32 bits, like real addresses. */
const FIRST_ADDRESS = 2 ** 33;

/** Milliseconds after which a lease is idle, and for which one may be held; time advances by these amounts. */
export const IDLE_MS = 8;
export const MAX_MS = 64;

/**
 * Initial content of page 0, of the first block of a file, and of page 0 after a store by `exclusive`; those of other
 * pages and blocks follow.
 */
const FIRST_CONTENT = 1;
const BLOCK_CONTENT = 20;
const STORED_CONTENT = 80;

export class CaseContext {
  readonly scenario: Scenario;
  readonly slots: number;
  /** Number of the engine's request slots. */
  readonly requestSlots: number;
  readonly at: S.StateLayout;
  /** The whole state in one row. The following arrays are parts of it; the engine's own words are in `engine`. */
  readonly state: StateRow;
  /** Words that are neither the engine's nor the machine's (state.ts). */
  readonly w: Int32Array;
  readonly engine: Int32Array;
  readonly leaseWords: Int32Array;
  readonly requestWords: Int32Array;
  readonly machine: Kernel;
  readonly table: ChunkTable;
  readonly locations: readonly BufferLocation[];
  readonly pages: number;
  /** Pages of the program's invalidations, then of the monitor's starts; and their chunks. */
  readonly #pagesOf: readonly Pages[];
  readonly #chunksOf: readonly Pages[];
  /** Receives the lines of a trace; null while none is written. */
  tell: ((line: string) => void) | null = null;

  constructor(scenario: Scenario) {
    this.scenario = scenario;
    this.pages = scenario.chunks * scenario.chunkPages;
    // One more slot than leases fit into the budget.
    this.slots = scenario.scheme === "io_uring" ? scenario.leases + 1 : 0;
    this.requestSlots = Math.min(scenario.room, scenario.requests.length);
    this.at = S.layoutOf(scenario, this.slots);
    const starts = Array.from({ length: S.startsOf(scenario) }, (_, start) => this.#pagesOfAll(callersIn(start + 1)));
    this.#pagesOf = [...scenario.invalidations.map(({ first, last }) => ({ first, last })), ...starts];
    this.#chunksOf = this.#pagesOf.map(({ first, last }) => ({
      first: Math.floor(first / scenario.chunkPages),
      last: Math.floor(last / scenario.chunkPages),
    }));
    const requests = scenario.requests.length;
    const requestPages = Math.max(1, ...scenario.requests.map((r) => r.last - r.first + 1));
    const size: MachineSize = {
      frames: this.pages + 3,
      pages: this.pages,
      swapSlots: this.pages + 1,
      blocks: requests * requestPages,
      bufferSlots: this.slots,
      bufferPages: scenario.chunkPages,
      requests,
      requestPages,
    };
    const counts = [
      this.at.words,
      machineLayout(size).words,
      scenario.chunks * CHUNK_WORDS,
      leaseWords(this.slots),
      this.requestSlots << REQUEST_SHIFT,
      snapshotWords(requests, this.requestSlots),
    ];
    const [requestCount, engineCount] = counts.slice(-2) as [number, number];
    const all = counts.reduce((sum, count) => sum + count);
    this.state = new StateRow(all, all - requestCount - engineCount);
    let end = 0;
    const [w, machine, table, leases, requestWords, engine] = counts.map((count) => {
      end += count;
      return this.state.words.subarray(end - count, end);
    }) as [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];
    this.w = w;
    this.engine = engine;
    this.requestWords = requestWords;
    this.leaseWords = leases;
    this.machine = new Kernel(size, "gup", machine);
    const bytes = this.pages * PAGE_BYTES;
    this.table = new ChunkTable(
      { start: FIRST_ADDRESS, end: FIRST_ADDRESS + bytes },
      scenario.chunkPages * PAGE_BYTES,
      table,
    );
    this.table.notePages(this.table.range, () => false);
    this.locations = scenario.requests.map((request) => this.#location(request));
    this.#prepare(requestPages);
  }

  #location(pages: Pages): BufferLocation {
    const { start, end } = this.range(pages);
    return {
      buffer: new Uint8Array(1),
      address: start,
      addressLow: start | 0,
      addressHigh: Math.floor(start / 2 ** 32),
      bytes: end - start,
      table: 0,
      words: this.table.words,
      firstAt: this.table.chunkAt(start) * CHUNK_WORDS,
      lastAt: this.table.chunkAt(end - 1) * CHUNK_WORDS,
    };
  }

  #prepare(requestPages: number): void {
    const { machine, scenario, w, at } = this;
    for (let page = 0; page < this.pages; page++) {
      machine.memory.mmap(page);
      machine.memory.store(page, FIRST_CONTENT + page);
      w[at.pages + page * S.P_WORDS + S.P_CONTENT] = FIRST_CONTENT + page;
      if (scenario.pages === "dirty") continue;
      machine.memory.reclaim(page);
      machine.memory.load(page);
    }
    for (let block = 0; block < scenario.requests.length * requestPages; block++) {
      if (!scenario.requests[Math.floor(block / requestPages)]!.write)
        machine.cache.setBlock(block, 0, BLOCK_CONTENT + block);
    }
    w[S.RECLAIMS] = scenario.reclaims;
    w[S.MIGRATIONS] = scenario.migrations;
    w[S.EIOS] = scenario.eio;
    w[S.SHORTS] = scenario.short;
    w[S.REFUSALS] = scenario.refusals;
    w[S.TICKS] = scenario.ticks;
    w[S.STALLS] = scenario.stalls;
    w[S.CANCELS] = scenario.cancels;
    w[S.LATE_ENDS] = scenario.lateEnds;
    w[S.REFUSED_SUBMISSIONS] = scenario.refusedSubmissions;
    w[S.LOSSES] = scenario.losses;
    w[S.RESTARTS] = scenario.restarts;
    w[S.TIME_MS] = 1;
  }

  /** True if the monitor's thread has ended and no other follows the memory yet. */
  get hasLostMonitor(): boolean {
    const { losses, restarts } = this.scenario;
    return losses - this.w[S.LOSSES]! > restarts - this.w[S.RESTARTS]!;
  }

  /** First block of a request's file. */
  blockOf(request: number): number {
    return request * this.machine.size.requestPages;
  }

  storedBy(invalidation: number): number {
    return STORED_CONTENT + invalidation;
  }

  range({ first, last }: Pages): Range {
    return { start: FIRST_ADDRESS + first * PAGE_BYTES, end: FIRST_ADDRESS + (last + 1) * PAGE_BYTES };
  }

  pageAt(address: number): number {
    return (address - FIRST_ADDRESS) / PAGE_BYTES;
  }

  /** Chunks of one of the program's invalidations, or of one of the monitor's starts. */
  chunksOf(invalidation: number): Pages {
    return this.#chunksOf[invalidation]!;
  }

  /** Chunks of a foreign call. */
  chunksOfCall(call: number): Pages {
    return this.chunksOf(this.scenario.invalidations.length + 2 ** call - 1);
  }

  /** Pages of an invalidation. */
  pagesOf(invalidation: number): Pages {
    return this.#pagesOf[invalidation]!;
  }

  /** Pages of a start by the monitor. A start's number is the bit set of its callers, less 1. */
  #pagesOfAll(callers: readonly number[]): Pages {
    const calls = callers.map((call) => this.scenario.foreign[call]!);
    return { first: Math.min(...calls.map(({ first }) => first)), last: Math.max(...calls.map(({ last }) => last)) };
  }

  page(page: number, word: number): number {
    return this.w[this.at.pages + page * S.P_WORDS + word]!;
  }

  setContent(page: number, content: number): void {
    this.w[this.at.pages + page * S.P_WORDS + S.P_CONTENT] = content;
  }

  flag(page: number, on: number, off = 0): void {
    const at = this.at.pages + page * S.P_WORDS + S.P_FLAGS;
    this.w[at] = (this.w[at]! | on) & ~off;
  }

  request(request: number, word: number): number {
    return this.w[this.at.requests + request * S.R_WORDS + word]!;
  }

  setRequest(request: number, word: number, value: number): void {
    this.w[this.at.requests + request * S.R_WORDS + word] = value;
  }

  invalidation(invalidation: number, word: number): number {
    return this.w[this.at.invalidations + invalidation * S.I_WORDS + word]!;
  }

  setInvalidation(invalidation: number, word: number, value: number): void {
    this.w[this.at.invalidations + invalidation * S.I_WORDS + word] = value;
  }

  foreign(call: number, word: number): number {
    return this.w[this.at.foreign + call * S.F_WORDS + word]!;
  }

  setForeign(call: number, word: number, value: number): void {
    this.w[this.at.foreign + call * S.F_WORDS + word] = value;
  }

  slot(slot: number, word: number): number {
    return this.w[this.at.slots + slot * S.S_WORDS + word]!;
  }

  setSlot(slot: number, word: number, value: number): void {
    this.w[this.at.slots + slot * S.S_WORDS + word] = value;
  }
}

export function callersIn(bits: number): number[] {
  const callers: number[] = [];
  for (let call = 0; bits >> call !== 0; call++) if ((bits & (1 << call)) !== 0) callers.push(call);
  return callers;
}

/** Names in texts: requests are a, b, c …, the program's invalidations X, Y …, threads of other code T1, T2 … */
export function nameOfRequest(request: number): string {
  return String.fromCharCode(97 + request);
}

export function nameOfInvalidation(invalidation: number): string {
  return String.fromCharCode(88 + (invalidation % 3)) + (invalidation < 3 ? "" : String(Math.floor(invalidation / 3)));
}

export function nameOfThread(call: number): string {
  return `T${call + 1}`;
}

export function namesOfThreads(bits: number): string {
  return callersIn(bits).map(nameOfThread).join(" and ");
}

export function inWords({ first, last }: Pages): string {
  return first === last ? `page ${first}` : `pages ${first}-${last}`;
}
