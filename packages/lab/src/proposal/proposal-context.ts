/**
 * Context that all actors of the kernel without an engine share: the scenario, the machine, and one row of words for
 * the whole state.
 */

import { READ } from "pinless/portable";
import type { Scenario } from "../check/scenario.js";
import { StateRow } from "../check/state-row.js";
import { Kernel } from "../model/model-kernel.js";
import { CONTENT, type MachineSize, layoutOf as machineLayout, PINS } from "../model/tables.js";
import { type NotifierSize, notifierWords, ProposedNotifier } from "./mmu-notifier.js";

/** Contents: initially of a page, of a block that is read, and after a store by `exclusive`. */
const FIRST_CONTENT = 1;
const BLOCK_CONTENT = 20;
const STORED_CONTENT = 80;

/** Single words: numbers of events that may still happen. */
export const RECLAIMS = 0;
export const MIGRATIONS = 1;
export const FORKS = 2;
export const EIOS = 3;
export const SHORTS = 4;
export const SIGNALS = 5;
export const NO_MEMORY = 6;
const SINGLE_WORDS = 7;

/** Words of a request, followed by its frames (+ 1), one for each page. */
export const Q_STATE = 0;
/** Index of the page that is looked up next. */
export const Q_PAGE = 1;
/** Number of pages that the device has transferred; and the result, 0 or an errno. */
export const Q_SERVED = 2;
export const Q_ERRNO = 3;
/** 1 if it was kept out or sent back, and hasn't begun since; for the invariants. */
export const Q_WAITED = 4;
export const Q_FRAMES = 5;

/** Values of Q_STATE. */
export const NEW = 0;
/** `readBegin` is next. */
export const READY = 1;
export const LOOKING = 2;
/** Its own look-up invalidates a page: a copy-on-write is broken. */
export const BREAKING = 3;
/** All pages are looked up; next it's counted in. */
export const FOUND = 4;
/** `readRetry` is next. */
export const COUNTED = 5;
export const IN_FLIGHT = 6;
/** The device is done with it. */
export const SERVED = 7;
export const ANSWERED = 8;

/** Words of an invalidation, followed by the frames (+ 1) that it writes back, one for each page. */
export const V_STEP = 0;
/** The call's `Operation`. */
export const V_OPERATION = 1;
export const V_FRAMES = 2;

/** Values of V_STEP. */
export const NOT_STARTED = 0;
export const STARTED = 1;
export const OPERATED = 2;
export const OVER = 3;

/** Words of a page: its right content, its flags, and its state in a child. */
export const P_CONTENT = 0;
const P_FLAGS = 1;
/** The child's frame + 1, and its right content. */
export const P_CHILD = 2;
export const P_CHILD_CONTENT = 3;
const P_WORDS = 4;
/** Bits of P_FLAGS. */
export const READ_ONLY = 1;
export const UNMAPPED = 2;
export const TRACKED = 4;
/** The registered buffer needs no look-up for a device's reads, or its writes. */
export const VALID_FOR_READS = 8;
export const VALID_FOR_WRITES = 16;

export class ProposalGround {
  readonly scenario: Scenario;
  readonly pages: number;
  /**
   * Number of invalidations: the program's, then one for each possible event of kswapd, compaction and fork, then one
   * for each request itself.
   */
  readonly invalidations: number;
  readonly state: StateRow;
  readonly w: Int32Array;
  readonly machine: Kernel;
  readonly notifier: ProposedNotifier;
  /** True if requests go by a buffer that is registered for life. */
  readonly registered: boolean;
  tell: ((line: string) => void) | null = null;
  readonly #requestsAt: number;
  readonly #requestWords: number;
  readonly #invalidationsAt: number;
  readonly #invalidationWords: number;
  readonly #pagesAt: number;
  readonly #buffer: number;

  constructor(scenario: Scenario) {
    this.scenario = scenario;
    const { requests, reclaims, migrations, forks } = scenario;
    this.pages = scenario.chunks * scenario.chunkPages;
    this.registered = scenario.scheme === "io_uring";
    this.invalidations = scenario.invalidations.length + reclaims + migrations + forks + requests.length;
    const requestPages = Math.max(1, ...requests.map((r) => r.last - r.first + 1));
    const size: MachineSize = {
      frames: this.pages + 3 + (forks > 0 ? this.pages : 0),
      pages: this.pages,
      swapSlots: this.pages + 1,
      blocks: requests.length * requestPages,
      bufferSlots: 0,
      bufferPages: 0,
      requests: 0,
      requestPages: 0,
    };
    const notifierSize: NotifierSize = {
      pages: this.pages,
      invalidations: this.invalidations,
      requests: requests.length,
    };
    this.#requestWords = Q_FRAMES + requestPages;
    this.#requestsAt = SINGLE_WORDS;
    this.#invalidationWords = V_FRAMES + this.pages;
    this.#invalidationsAt = this.#requestsAt + requests.length * this.#requestWords;
    this.#pagesAt = this.#invalidationsAt + this.invalidations * this.#invalidationWords;
    // On Linux: the frames that the registration has pinned.
    this.#buffer = this.#pagesAt + this.pages * P_WORDS;
    const own = this.#buffer + this.pages;
    const machineSize = machineLayout(size).words;
    this.state = new StateRow(own + machineSize + notifierWords(notifierSize));
    const { words } = this.state;
    this.w = words.subarray(0, own);
    // The machine itself pins no page, so that waits are due to the notifier only.
    this.machine = new Kernel(size, "gup", words.subarray(own, own + machineSize));
    this.notifier = new ProposedNotifier(notifierSize, words.subarray(own + machineSize), requests);
    this.#prepare(requestPages);
  }

  #prepare(requestPages: number): void {
    const { machine, scenario, w } = this;
    for (let page = 0; page < this.pages; page++) {
      machine.memory.mmap(page);
      machine.memory.store(page, FIRST_CONTENT + page);
      this.setPage(page, P_CONTENT, FIRST_CONTENT + page);
      if (scenario.pages === "clean") {
        machine.memory.reclaim(page);
        machine.memory.load(page);
      }
      if (!this.registered) continue;
      const frame = machine.tables.frameOf(page);
      if (!this.notifies) {
        machine.frames.setFrame(frame, PINS, 1);
        w[this.#buffer + page] = frame + 1;
      } else {
        this.notifier.publish(page, frame, READ);
        this.flag(page, VALID_FOR_READS | VALID_FOR_WRITES);
      }
    }
    scenario.requests.forEach(({ write }, i) => {
      for (let p = 0; p < requestPages && !write; p++)
        machine.cache.setBlock(i * requestPages + p, 0, BLOCK_CONTENT + i * requestPages + p);
    });
    scenario.invalidations.forEach(({ event, first, last }, j) => {
      this.notifier.ask(j, event, first, last);
    });
    w[RECLAIMS] = scenario.reclaims;
    w[MIGRATIONS] = scenario.migrations;
    w[FORKS] = scenario.forks;
    w[EIOS] = scenario.eio;
    w[SHORTS] = scenario.short;
    w[SIGNALS] = scenario.cancels;
    w[NO_MEMORY] = scenario.noMemory;
  }

  /** True for the proposal's kernel, false for Linux. */
  get notifies(): boolean {
    return this.scenario.kernel === "notifier";
  }

  /** First block of a request's file. */
  blockOf(request: number): number {
    return request * (this.#requestWords - Q_FRAMES);
  }

  storedBy(invalidation: number): number {
    return STORED_CONTENT + invalidation;
  }

  /** The frame that Linux's registration has for a page. */
  pinnedFrame(page: number): number {
    return this.w[this.#buffer + page]! - 1;
  }

  request(request: number, word: number): number {
    return this.w[this.#requestsAt + request * this.#requestWords + word]!;
  }

  setRequest(request: number, word: number, value: number): void {
    this.w[this.#requestsAt + request * this.#requestWords + word] = value;
  }

  /** The frame that a request has found for its page `i`, or -1. */
  frameFor(request: number, i: number): number {
    return this.request(request, Q_FRAMES + i) - 1;
  }

  invalidation(invalidation: number, word: number): number {
    return this.w[this.#invalidationsAt + invalidation * this.#invalidationWords + word]!;
  }

  setInvalidation(invalidation: number, word: number, value: number): void {
    this.w[this.#invalidationsAt + invalidation * this.#invalidationWords + word] = value;
  }

  page(page: number, word: number): number {
    return this.w[this.#pagesAt + page * P_WORDS + word]!;
  }

  setPage(page: number, word: number, value: number): void {
    this.w[this.#pagesAt + page * P_WORDS + word] = value;
  }

  flag(page: number, on: number, off = 0): void {
    this.setPage(page, P_FLAGS, (this.page(page, P_FLAGS) | on) & ~off);
  }

  has(page: number, flag: number): boolean {
    return (this.page(page, P_FLAGS) & flag) !== 0;
  }

  contentOf(frame: number): number {
    return this.machine.frames.frame(frame, CONTENT);
  }

  /** The invalidation that a request makes itself. */
  ownOf(request: number): number {
    return this.invalidations - this.scenario.requests.length + request;
  }
}
