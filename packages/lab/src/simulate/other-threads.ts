/**
 * Other code of the program's process: threads that discard, unmap or move the arena's memory at random; with the
 * contents that may be found there, and the results that requests on it may have.
 */

import { MMAN, PAGE_BYTES, type Range, violated } from "pinless/portable";
import type { ModelThread } from "../model/threads.js";
import type { Oracle } from "./oracle.js";
import type { SimulatedWorld } from "./simulated-world.js";
import type { Trace } from "./trace.js";

const EFAULT = -14;
/** Maximum number of calls in progress, and of calls that a thread repeats. */
const MOST_CALLS = 4;
const MOST_TIMES = 3;
/** Maximum number of calls between the ends of two requests: an endless storm would keep requests out for ever. */
const MOST_BETWEEN = 12;
/** Maximum number of buffers of a run that are unmapped: each needs a replacement. */
const MOST_UNMAPPED = 100;
/** Number of requests on an unmapped buffer, after which it isn't used again. */
const TRIES = 3;
/** First content that other code stores; the program and its files never have such contents. */
const THEIRS = 1 << 28;

const UNMAPS: readonly ("munmap" | "munmap, mmap" | "mmap over" | "mremap")[] = ["munmap", "munmap, mmap", "mmap over"];

/** States of a buffer: the program's own, being unmapped by another thread, or unmapped. */
const OURS = 0;
const GOING = 1;
const GONE = 2;
type Standing = typeof OURS | typeof GOING | typeof GONE;

export interface OtherThreadsParts {
  readonly world: SimulatedWorld;
  readonly oracle: Oracle;
  readonly bufferPages: number;
  /** True if memory is also moved (mremap). The model can't move memory that children may share. */
  readonly moves: boolean;
  /** Memory operations of the program that are in progress. */
  operations(): ReadonlySet<number>;
  readonly trace: Trace;
}

/** Memory that belongs to other code since its unmap has returned. */
interface Theirs {
  /** Buffer whose request was in flight at that time and hasn't ended, or -1. */
  awaited: number;
  /** Its addresses while it belonged to the program. */
  readonly range: Range;
  /** First page of the memory that other code has mapped there, or moved elsewhere; null if there is none. */
  readonly firstPage: number | null;
  /** Memory operations that were in progress at that time, and may still change the memory. */
  readonly operations: readonly number[];
  /** Content that it must hold; null until no earlier request of the program can change it any more. */
  content: number | null;
}

export class OtherThreads {
  /** Number of calls that haven't returned. */
  inProgress = 0;
  readonly #parts: OtherThreadsParts;
  /** State and first page of each buffer. */
  readonly #standing: Standing[] = [];
  readonly #firstPages: number[] = [];
  /** State of each buffer when its request began; null if it has no request. */
  readonly #began: (Standing | null)[] = [];
  readonly #bufferOf = new Map<number, number>();
  readonly #tries: number[] = [];
  readonly #resting: ModelThread[] = [];
  readonly #theirs: Theirs[] = [];
  /** Number of calls in progress on each page. */
  readonly #concerned = new Map<number, number>();
  #unmapped = 0;
  /** Number of calls since the last end of a request. */
  #sinceEnd = 0;
  #stopped = false;
  /** Unmapped buffers that the engine may never be notified of, because a monitor has died. */
  readonly #unheard = new Set<number>();

  constructor(parts: OtherThreadsParts) {
    this.#parts = parts;
  }

  /** Notes the location of one of the program's buffers, initially or after its replacement. */
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

  /** Notes that a request on a buffer was accepted. */
  begins(buffer: number): void {
    this.#began[buffer] = this.#standing[buffer]!;
  }

  /** Notes that a buffer's request has ended. Returns false if the memory belongs to other code by now. */
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

  /** True if requests on an unmapped buffer are still of interest. */
  isOfUse(buffer: number): boolean {
    return this.#tries[buffer]! < TRIES;
  }

  /**
   * Notes that the monitor has died: no calls are made until it's restarted. Discards in progress are still known, but
   * the engine isn't notified any more of unmaps that it hasn't been notified of.
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

  /** Resumes calls, since another monitor follows the program's memory. */
  resume(): void {
    this.#stopped = false;
  }

  /** Makes one or several threads discard at the same time. */
  discards(): void {
    for (let i = this.#parts.world.machine.random.stream("threads at once").below(3); i >= 0; i--) this.#discard();
  }

  /** Calls madvise on another thread, on some pages from a buffer's first on. */
  #discard(): void {
    const { world } = this.#parts;
    if (!this.#mayCall) return;
    const random = world.machine.random.stream("other threads");
    const pages = this.#somePages();
    if (pages === null) return;
    const thread = this.#resting.pop() ?? world.threads.start();
    const [advice, verb, done] = random.chance(1 / 4)
      ? ([MMAN.MADV_FREE, "frees", "freed"] as const)
      : ([MMAN.MADV_DONTNEED, "discards", "discarded"] as const);
    const again = (left: number): void => {
      this.#begins(`another thread ${verb}`, pages, thread.tid, verb);
      const begun = this.#discardBegins(pages);
      world.calls.discard(thread, this.#rangeOf(pages), advice, () => {
        this.#discardEnds(pages, advice, begun);
        this.#returns(`another thread has ${done}`, pages, thread.tid);
        if (left > 0 && this.#mayCall && this.#areOurs(pages)) again(left - 1);
        else this.#rest(thread);
      });
    };
    again(random.below(MOST_TIMES));
  }

  /** Calls madvise on the engine's own thread, as other code would. */
  discardHere(): void {
    const pages = this.#mayCall ? this.#somePages() : null;
    if (pages === null) return;
    const { ownTid } = this.#parts.world;
    this.#begins("the program discards by a call of its own", pages, ownTid, "discards on the engine's own thread");
    const begun = this.#discardBegins(pages);
    this.#parts.world.discardHere(this.#rangeOf(pages));
    this.#discardEnds(pages, MMAN.MADV_DONTNEED, begun);
    this.#returns("the program has discarded", pages, ownTid);
  }

  /** Unmaps or moves a whole buffer on another thread. */
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
    const thread = this.#resting.pop() ?? world.threads.start();
    this.#begins(`another thread: ${how}`, pages, thread.tid, how);
    const range = this.#rangeOf(pages);
    const to = how === "mremap" ? world.machine.mapMemory(new ArrayBuffer(pages.count * PAGE_BYTES)) : range.start;
    const done = (): void => {
      this.#standing[buffer] = GONE;
      this.#returns(`another thread has done ${how}`, pages, thread.tid);
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

  /** Checks that memory of other code holds the content that it stored. */
  check(): void {
    const { machine } = this.#parts.world;
    this.#storeTheirs();
    for (const { firstPage, content } of this.#theirs)
      if (firstPage !== null && content !== null)
        for (let i = 0; i < this.#parts.bufferPages; i++) {
          const found = machine.memory.peek(firstPage + i);
          if (found !== content)
            violated("LINEAR", `page ${firstPage + i} belongs to other code and holds ${found}, not its ${content}`);
        }
  }

  /** Stores to memory of other code, once no request or operation that began before is in progress on it. */
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

  /** Picks a buffer, mostly one with a request in flight. */
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

  /** True if all of the pages belong to the program and none is being unmapped. */
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

  #begins(what: string, pages: Pages, tid: number, call: string): void {
    this.inProgress++;
    this.#sinceEnd++;
    this.#note(what, pages);
    const details = { page: pages.first, pages: pages.count };
    this.#parts.trace.lanes?.begin("other threads", tid, call, details, { lane: tid, range: this.#rangeOf(pages) });
    for (let page = pages.first; page < pages.first + pages.count; page++)
      this.#concerned.set(page, (this.#concerned.get(page) ?? 0) + 1);
  }

  #returns(what: string, pages: Pages, tid: number): void {
    this.inProgress--;
    this.#note(what, pages);
    this.#parts.trace.lanes?.end("other threads", tid);
    for (let page = pages.first; page < pages.first + pages.count; page++) {
      const left = this.#concerned.get(page)! - 1;
      if (left === 0) this.#concerned.delete(page);
      else this.#concerned.set(page, left);
    }
  }

  #note(what: string, { first, count }: Pages): void {
    this.#parts.trace.note(`${what} % pages from page % on`, [count, first]);
  }

  #discardBegins({ first, count }: Pages): number[] {
    return Array.from({ length: count }, (_, i) => this.#parts.oracle.foreignBegins(first + i));
  }

  #discardEnds({ first }: Pages, advice: number, begun: readonly number[]): void {
    for (const [i, since] of begun.entries()) this.#parts.oracle.foreignEnds(first + i, advice, since);
  }

  /** Picks the thread's next activity after its call: it sleeps, computes, or ends. */
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
