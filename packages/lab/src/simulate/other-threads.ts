/**
 * Other code of the program's process: threads that throw the arena's memory away, unmap it or move it elsewhere, as
 * they please; what may be found there meanwhile and from then on, and what becomes of requests on it.
 */

import { PAGE_BYTES, type Range, violated } from "pinless/portable";
import type { ModelThread } from "../model/threads.js";
import type { Oracle } from "./oracle.js";
import type { SimulatedWorld } from "./simulated-world.js";

const EFAULT = -14;
/** Threads at a time, and how often one does the same again. */
const MOST_CALLS = 4;
const MOST_TIMES = 3;
/** Calls until the next request ends: a storm without end keeps requests out for as long. */
const MOST_BETWEEN = 12;
/** Buffers of a run that are unmapped: each needs another in its place. */
const MOST_UNMAPPED = 100;
/** Requests for an unmapped buffer before it is left alone. */
const TRIES = 3;
/** Contents that other code stores: none of the program's, nor of the file's. */
const THEIRS = 1 << 28;

const UNMAPS: readonly ("munmap" | "munmap, mmap" | "mmap over" | "mremap")[] = ["munmap", "munmap, mmap", "mmap over"];

/** States of a buffer: the program's, being unmapped by another thread, or unmapped. */
const OURS = 0;
const GOING = 1;
const GONE = 2;
type Standing = typeof OURS | typeof GOING | typeof GONE;

export interface OtherThreadsParts {
  readonly world: SimulatedWorld;
  readonly oracle: Oracle;
  readonly bufferPages: number;
  /** True if memory is moved too: the model can't move memory that children may share. */
  readonly moves: boolean;
  /** Memory operations of the program that are in progress. */
  operations(): ReadonlySet<number>;
  note(what: string, numbers: readonly number[]): void;
}

/** Memory that is somebody else's since its call has returned. */
interface Theirs {
  /** The buffer whose request was in flight by then, and is awaited; or -1. */
  awaited: number;
  /** The address while it was the program's. */
  readonly range: Range;
  /** Null: nothing is mapped there. */
  readonly firstPage: number | null;
  /** Operations that were in progress by then: they may have been handed over before. */
  readonly operations: readonly number[];
  /** The content that it must hold; null until no earlier request of the program's can touch it any more. */
  content: number | null;
}

export class OtherThreads {
  /** Calls that haven't returned. */
  inProgress = 0;
  readonly #parts: OtherThreadsParts;
  /** For every buffer its state and first page; for every page its owner. */
  readonly #standing: Standing[] = [];
  readonly #firstPages: number[] = [];
  /** The state of a buffer when its request began; null: it has none. */
  readonly #began: (Standing | null)[] = [];
  readonly #bufferOf = new Map<number, number>();
  readonly #tries: number[] = [];
  readonly #resting: ModelThread[] = [];
  readonly #theirs: Theirs[] = [];
  /** Pages that calls in progress are about. */
  readonly #concerned = new Map<number, number>();
  #unmapped = 0;
  /** Calls since a request has ended. */
  #sinceEnd = 0;
  #stopped = false;
  /** Buffers of whose unmapping the engine may never hear, since a monitor has died. */
  readonly #unheard = new Set<number>();

  constructor(parts: OtherThreadsParts) {
    this.#parts = parts;
  }

  /** Notes where one of the program's buffers is, at first or from now on. */
  has(buffer: number, firstPage: number): void {
    this.#firstPages[buffer] = firstPage;
    this.#standing[buffer] = OURS;
    this.#began[buffer] = null;
    this.#tries[buffer] = 0;
    this.#unheard.delete(buffer);
    for (let i = 0; i < this.#parts.bufferPages; i++) this.#bufferOf.set(firstPage + i, buffer);
  }

  isOurs(buffer: number): boolean {
    return this.#standing[buffer] === OURS;
  }

  /** A request on a buffer was accepted. */
  begins(buffer: number): void {
    this.#began[buffer] = this.#standing[buffer]!;
  }

  /** It has ended. False: it was on somebody else's memory, of which nothing is known. */
  ends(buffer: number, errno: number): boolean {
    const began = this.#began[buffer];
    this.#began[buffer] = null;
    this.#sinceEnd = 0;
    if (this.isOurs(buffer)) return true;
    if (began === GONE) {
      if (errno !== EFAULT && !this.#stopped && !this.#unheard.has(buffer))
        violated("NO_STALE_IO", `I/O on memory that was unmapped before ended with errno ${errno}, not EFAULT`);
      this.#tries[buffer]!++;
    }
    for (const each of this.#theirs) if (each.awaited === buffer) each.awaited = -1;
    this.#storeTheirs();
    return false;
  }

  /** True if a buffer is to be asked for again. */
  isOfUse(buffer: number): boolean {
    return this.#tries[buffer]! < TRIES;
  }

  /**
   * The monitor dies: nothing is done to memory until it's started again. What is being discarded is known as ever,
   * but the engine doesn't hear any more of what was unmapped, unless it had been told of it already.
   */
  stop(): void {
    this.#stopped = true;
    const { world } = this.#parts;
    const known = this.#theirs.filter(({ range }) => world.hasToldOf(range));
    this.#theirs.splice(0, this.#theirs.length, ...known);
    for (const [buffer, standing] of this.#standing.entries()) {
      const pages = { first: this.#firstPages[buffer]!, count: this.#parts.bufferPages };
      if (standing === GOING || (standing === GONE && !world.hasToldOf(this.#rangeOf(pages))))
        this.#unheard.add(buffer);
    }
  }

  /** Another monitor follows the program's memory. */
  resume(): void {
    this.#stopped = false;
  }

  /** Some threads at once, or one. */
  discards(): void {
    for (let i = this.#parts.world.machine.random.stream("threads at once").below(3); i >= 0; i--) this.#discard();
  }

  /** madvise by another thread, of some pages from a buffer's first on. */
  #discard(): void {
    const { world } = this.#parts;
    if (!this.#mayCall) return;
    const random = world.machine.random.stream("other threads");
    const pages = this.#somePages();
    if (pages === null) return;
    const thread = this.#resting.pop() ?? world.threads.start();
    const lazily = random.chance(1 / 4);
    const again = (left: number): void => {
      this.#begins(lazily ? "another thread frees" : "another thread discards", pages);
      const begun = this.#discardBegins(pages);
      world.calls.discard(thread, this.#rangeOf(pages), lazily, () => {
        this.#discardEnds(pages, lazily, begun);
        this.#returns(lazily ? "another thread has freed" : "another thread has discarded", pages);
        if (left > 0 && this.#mayCall && this.#areOurs(pages)) again(left - 1);
        else this.#rest(thread);
      });
    };
    again(random.below(MOST_TIMES));
  }

  /** madvise by the engine's own thread, in a call that isn't ours. */
  discardHere(): void {
    const pages = this.#mayCall ? this.#somePages() : null;
    if (pages === null) return;
    this.#begins("the program discards by a call of its own", pages);
    const begun = this.#discardBegins(pages);
    this.#parts.world.discardHere(this.#rangeOf(pages), false);
    this.#discardEnds(pages, false, begun);
    this.#returns("the program has discarded", pages);
  }

  /** Takes a whole buffer away. */
  unmap(): void {
    const { world, oracle, bufferPages } = this.#parts;
    if (!this.#mayCall || this.#unmapped >= MOST_UNMAPPED) return;
    const random = world.machine.random;
    const buffer = this.#someBuffer("unmapped buffer");
    const pages = { first: this.#firstPages[buffer]!, count: bufferPages };
    if (!this.#areOurs(pages) || this.#isConcerned(pages)) return;
    this.#unmapped++;
    this.#standing[buffer] = GOING;
    for (let page = pages.first; page < pages.first + pages.count; page++) {
      oracle.forget(page);
      this.#bufferOf.delete(page);
    }
    const how = random.pick("how it's unmapped", this.#parts.moves ? [...UNMAPS, "mremap"] : UNMAPS);
    this.#begins(`another thread: ${how}`, pages);
    const thread = this.#resting.pop() ?? world.threads.start();
    const range = this.#rangeOf(pages);
    const to = how === "mremap" ? world.machine.mapMemory(new ArrayBuffer(pages.count * PAGE_BYTES)) : range.start;
    const done = (): void => {
      this.#standing[buffer] = GONE;
      this.#returns(`another thread has done ${how}`, pages);
      this.#rest(thread);
      if (this.#unheard.has(buffer)) return;
      if (how === "munmap, mmap") world.calls.map(range);
      this.#theirs.push({
        awaited: this.#began[buffer] === null ? -1 : buffer,
        range,
        firstPage: how === "munmap" ? null : world.machine.pageAt(to),
        operations: [...this.#parts.operations()],
        content: null,
      });
      this.#storeTheirs();
    };
    if (how === "mmap over") world.calls.mapOver(thread, range, done);
    else if (how === "mremap") world.calls.moveAway(thread, range, to, done);
    else world.calls.unmap(thread, range, done);
  }

  /** Somebody else's memory holds what they stored, wherever it is. */
  check(): void {
    const { machine } = this.#parts.world;
    this.#storeTheirs();
    for (const { firstPage, content } of this.#theirs)
      if (firstPage !== null && content !== null)
        for (let i = 0; i < this.#parts.bufferPages; i++) {
          const found = machine.memory.peek(firstPage + i);
          if (found !== content)
            violated("LINEAR", `page ${firstPage + i} is somebody else's and holds ${found}, not their ${content}`);
        }
  }

  /** Once nothing that began before it was theirs is under way any more. */
  #storeTheirs(): void {
    const { world, bufferPages } = this.#parts;
    const operations = this.#parts.operations();
    for (const each of this.#theirs) {
      if (each.content !== null || each.firstPage === null || each.awaited >= 0) continue;
      if (each.operations.some((operation) => operations.has(operation))) continue;
      each.content = THEIRS + each.firstPage;
      for (let i = 0; i < bufferPages; i++) world.machine.memory.store(each.firstPage + i, each.content);
    }
  }

  get #mayCall(): boolean {
    return !this.#stopped && this.inProgress < MOST_CALLS && this.#sinceEnd < MOST_BETWEEN;
  }

  /** Mostly one that a request is under way on. */
  #someBuffer(name: string): number {
    const stream = this.#parts.world.machine.random.stream(name);
    const from = stream.below(this.#firstPages.length);
    if (stream.chance(1 / 4)) return from;
    const busy = this.#began.findIndex((began, buffer) => began !== null && buffer >= from);
    return busy < 0 ? from : busy;
  }

  #somePages(): Pages | null {
    const { random } = this.#parts.world.machine;
    const buffer = this.#someBuffer("discarded buffer");
    const most = 4 * this.#parts.bufferPages;
    const pages = { first: this.#firstPages[buffer]!, count: 1 + random.stream("discarded pages").below(most) };
    return this.#areOurs(pages) ? pages : null;
  }

  /** The program's, and nobody is about to unmap any. */
  #areOurs({ first, count }: Pages): boolean {
    for (let page = first; page < first + count; page++) {
      const buffer = this.#bufferOf.get(page);
      if (buffer === undefined || !this.isOurs(buffer)) return false;
    }
    return true;
  }

  #isConcerned({ first, count }: Pages): boolean {
    for (let page = first; page < first + count; page++) if (this.#concerned.has(page)) return true;
    return false;
  }

  #rangeOf({ first, count }: Pages): Range {
    const start = this.#parts.world.machine.addressOf(first);
    return { start, end: start + count * PAGE_BYTES };
  }

  #begins(what: string, pages: Pages): void {
    this.inProgress++;
    this.#sinceEnd++;
    this.#note(what, pages);
    for (let page = pages.first; page < pages.first + pages.count; page++)
      this.#concerned.set(page, (this.#concerned.get(page) ?? 0) + 1);
  }

  #returns(what: string, pages: Pages): void {
    this.inProgress--;
    this.#note(what, pages);
    for (let page = pages.first; page < pages.first + pages.count; page++) {
      const left = this.#concerned.get(page)! - 1;
      if (left === 0) this.#concerned.delete(page);
      else this.#concerned.set(page, left);
    }
  }

  #note(what: string, { first, count }: Pages): void {
    this.#parts.note(`${what} % pages from page % on`, [count, first]);
  }

  #discardBegins({ first, count }: Pages): number[] {
    return Array.from({ length: count }, (_, i) => this.#parts.oracle.foreignBegins(first + i));
  }

  #discardEnds({ first }: Pages, lazily: boolean, begun: readonly number[]): void {
    for (const [i, since] of begun.entries()) this.#parts.oracle.foreignEnds(first + i, lazily, since);
  }

  /** The thread's next activity after its call: it sleeps, computes, or ends. */
  #rest(thread: ModelThread): void {
    const { clock, random } = this.#parts.world.machine;
    const sleep = (): void => {
      thread.blocks({ call: "230 0x0", meant: null, reader: false });
      this.#resting.push(thread);
    };
    const next = random.pick("what a thread does next", ["sleeps", "computes", "ends"] as const);
    if (next === "sleeps") sleep();
    else if (next === "ends") thread.ends();
    else clock.after(random.stream("a thread computes ms").upTo(30), sleep);
  }
}

interface Pages {
  readonly first: number;
  readonly count: number;
}
