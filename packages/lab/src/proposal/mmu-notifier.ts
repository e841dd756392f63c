/**
 * The proposal (J. Glisse, "Do not pin pages for various direct-io scheme", LSF/MM 2020) as a kernel could have it:
 * direct-io, aio and io_uring pin no page. A change of memory is announced before and after, and waits for the I/O in
 * flight that it excludes. I/O looks its pages up between `readBegin` and `readRetry`, and is counted in before
 * `readRetry` checks if an invalidation came between. A registered buffer keeps its frames until it's marked.
 *
 * Each method is one atomic step of a processor; between two steps other actors run. All of the state is words for each
 * page; a kernel has them for ranges, in an interval tree. Sleeping I/O is woken by changes of those words: see `wake`.
 */

import { CONCERNS, type Direction, MMU_EVENTS, type MmuEvent, WRITE } from "pinless/portable";

/** Words of a page, each twice: for device writes, and for device reads. */
const SIDES = 2;
/** Number of invalidations in progress that exclude it. */
const EXCLUDED = 0;
/** Number of invalidations that have begun so far. */
const SEQUENCE = 2;
/** Number of I/Os counted in. */
const IN_FLIGHT = 4;
/** Number of I/Os that an invalidation has kept out or sent back: they run before the next invalidation. */
const HELD = 6;
/** For each page of the registered buffer: its frame + 1, and the access for which it was looked up. */
const FRAME = 8;
const GRADE = 9;
const PAGE_WORDS = 10;

/** Values of GRADE. Marked: the page is looked up again before it's used. */
const MARKED = 0;
const FOR_READS = 1;
const FOR_WRITES = 2;

/** Words of an invalidation. */
const STATE = 0;
const EVENT = 1;
const FIRST = 2;
const LAST = 3;
const INVALIDATION_WORDS = 4;

/** States of an invalidation. */
export const NONE = 0;
/** No I/O that it excludes begins any more; it hasn't looked yet for I/O that is still counted in. */
export const RAISED = 1;
/** It sleeps until I/O has ended. */
export const DRAINING = 2;
export const BEGUN = 3;
const ENDED = 4;
/** State of an invalidation that may not wait, and couldn't begin. */
export const REFUSED = 5;

/** Words of I/O. */
const SEEN = 0;
const WAS_HELD = 1;
const ASLEEP = 2;
const IO_WORDS = 3;

/** Memory of an I/O. */
export interface MemoryUse {
  readonly first: number;
  readonly last: number;
  /** True if memory is written to the disk, which is a device read. */
  readonly write: boolean;
}

export interface NotifierSize {
  readonly pages: number;
  readonly invalidations: number;
  readonly requests: number;
}

export function notifierWords({ pages, invalidations, requests }: NotifierSize): number {
  return pages * PAGE_WORDS + invalidations * INVALIDATION_WORDS + requests * IO_WORDS;
}

export class ProposedNotifier {
  readonly #words: Int32Array;
  readonly #size: NotifierSize;
  readonly #uses: readonly MemoryUse[];

  /** `words` is memory for its state; `uses` is the memory of each request. */
  constructor(size: NotifierSize, words: Int32Array, uses: readonly MemoryUse[]) {
    this.#size = size;
    this.#words = words;
    this.#uses = uses;
  }

  #page(page: number, word: number): number {
    return this.#words[page * PAGE_WORDS + word]!;
  }

  #setPage(page: number, word: number, value: number): void {
    this.#words[page * PAGE_WORDS + word] = value;
  }

  #add({ first, last }: { first: number; last: number }, word: number, by: number): void {
    for (let page = first; page <= last; page++) this.#words[page * PAGE_WORDS + word]! += by;
  }

  #sum({ first, last }: { first: number; last: number }, word: number): number {
    let sum = 0;
    for (let page = first; page <= last; page++) sum += this.#page(page, word);
    return sum;
  }

  #invalidation(invalidation: number): number {
    return this.#size.pages * PAGE_WORDS + invalidation * INVALIDATION_WORDS;
  }

  #io(request: number): number {
    return this.#size.pages * PAGE_WORDS + this.#size.invalidations * INVALIDATION_WORDS + request * IO_WORDS;
  }

  // Invalidations.

  state(invalidation: number): number {
    return this.#words[this.#invalidation(invalidation) + STATE]!;
  }

  event(invalidation: number): MmuEvent {
    return MMU_EVENTS[this.#words[this.#invalidation(invalidation) + EVENT]!]!;
  }

  rangeOf(invalidation: number): { first: number; last: number } {
    const at = this.#invalidation(invalidation);
    return { first: this.#words[at + FIRST]!, last: this.#words[at + LAST]! };
  }

  /** Sides that an event excludes: 0 for device writes, 1 for device reads. */
  #sides(event: MmuEvent): number[] {
    const { deviceWrites, deviceReads } = CONCERNS[event];
    return [...(deviceWrites ? [0] : []), ...(deviceReads ? [1] : [])];
  }

  #count(invalidation: number, word: number): number {
    const range = this.rangeOf(invalidation);
    return this.#sides(this.event(invalidation)).reduce((sum, side) => sum + this.#sum(range, word + side), 0);
  }

  /** Sets the range and event of an invalidation, which isn't raised yet. */
  ask(invalidation: number, event: MmuEvent, first: number, last: number): void {
    const at = this.#invalidation(invalidation);
    this.#words[at + STATE] = NONE;
    this.#words[at + EVENT] = MMU_EVENTS.indexOf(event);
    this.#words[at + FIRST] = first;
    this.#words[at + LAST] = last;
  }

  /**
   * True if the invalidation has its turn. I/O that an earlier one has held runs first, or else a stream of
   * invalidations would starve it. An invalidation by I/O itself (which breaks a copy-on-write) doesn't wait for a
   * turn: two held requests that both need one would wait for each other.
   */
  mayRaise(invalidation: number): boolean {
    return this.#count(invalidation, HELD) === 0;
  }

  /**
   * First step of invalidate_range_start: from now on no I/O that it excludes begins, so that new I/O can't starve it.
   */
  raise(invalidation: number): void {
    const range = this.rangeOf(invalidation);
    for (const side of this.#sides(this.event(invalidation))) {
      this.#add(range, EXCLUDED + side, 1);
      this.#add(range, SEQUENCE + side, 1);
    }
    this.#words[this.#invalidation(invalidation) + STATE] = RAISED;
  }

  /**
   * Second step of invalidate_range_start: looks for I/O counted in. Before the first step more could come in later.
   */
  look(invalidation: number): void {
    if (this.#count(invalidation, IN_FLIGHT) > 0) {
      this.#words[this.#invalidation(invalidation) + STATE] = DRAINING;
      return;
    }
    this.#begin(invalidation);
  }

  /** Begins the invalidation. Registered buffers on the range are only marked. */
  #begin(invalidation: number): void {
    const { first, last } = this.rangeOf(invalidation);
    if (CONCERNS[this.event(invalidation)].lease !== "keep")
      for (let page = first; page <= last; page++) this.#setPage(page, GRADE, MARKED);
    this.#words[this.#invalidation(invalidation) + STATE] = BEGUN;
  }

  /** True if an invalidation that may not wait (the oom reaper's) is refused, before it leaves any trace. */
  mustRefuse(invalidation: number): boolean {
    return this.#count(invalidation, IN_FLIGHT) > 0 || this.#count(invalidation, HELD) > 0;
  }

  refuse(invalidation: number): void {
    this.#words[this.#invalidation(invalidation) + STATE] = REFUSED;
  }

  /**
   * Does the same as `look` for an invalidation that may not wait: if I/O came in before it was raised, it's refused
   * with EAGAIN, and all counters are as they were.
   */
  lookOnce(invalidation: number): void {
    if (this.#count(invalidation, IN_FLIGHT) === 0) {
      this.#begin(invalidation);
      return;
    }
    for (const side of this.#sides(this.event(invalidation)))
      this.#add(this.rangeOf(invalidation), SEQUENCE + side, -1);
    this.#lower(invalidation);
    this.refuse(invalidation);
  }

  /** Ends an invalidation: invalidate_range_end. */
  end(invalidation: number): void {
    this.#words[this.#invalidation(invalidation) + STATE] = ENDED;
    this.#lower(invalidation);
  }

  #lower(invalidation: number): void {
    const range = this.rangeOf(invalidation);
    for (const side of this.#sides(this.event(invalidation))) this.#add(range, EXCLUDED + side, -1);
    this.#wakeIo(range);
  }

  /** Wakes the I/O that sleeps in `readBegin`. */
  #wakeIo(range: { first: number; last: number }): void {
    this.#uses.forEach((use, request) => {
      if (use.last < range.first || range.last < use.first || this.isExcluded(request)) return;
      this.#words[this.#io(request) + ASLEEP] = 0;
    });
  }

  // I/O.

  #side(request: number): number {
    return this.#uses[request]!.write ? 1 : 0;
  }

  /** True if an invalidation that concerns the I/O is in progress on its pages. */
  isExcluded(request: number): boolean {
    return this.#sum(this.#uses[request]!, EXCLUDED + this.#side(request)) > 0;
  }

  isAsleep(request: number): boolean {
    return this.#words[this.#io(request) + ASLEEP] === 1;
  }

  isHeld(request: number): boolean {
    return this.#words[this.#io(request) + WAS_HELD] === 1;
  }

  /** Begins a lookup of pages; returns false if the I/O has to sleep until no invalidation is in progress. */
  readBegin(request: number): boolean {
    if (this.isExcluded(request)) {
      this.#hold(request);
      this.#words[this.#io(request) + ASLEEP] = 1;
      return false;
    }
    this.#words[this.#io(request) + SEEN] = this.#sum(this.#uses[request]!, SEQUENCE + this.#side(request));
    return true;
  }

  #hold(request: number): void {
    if (this.isHeld(request)) return;
    this.#words[this.#io(request) + WAS_HELD] = 1;
    this.#add(this.#uses[request]!, HELD + this.#side(request), 1);
  }

  /** Counts held I/O out, which goes on or gives up. */
  letGo(request: number): void {
    if (!this.isHeld(request)) return;
    this.#words[this.#io(request) + WAS_HELD] = 0;
    this.#words[this.#io(request) + ASLEEP] = 0;
    this.#add(this.#uses[request]!, HELD + this.#side(request), -1);
  }

  /** Counts I/O in, after its lookup, which may itself have to invalidate: that would wait for I/O counted in. */
  countIn(request: number): void {
    this.#add(this.#uses[request]!, IN_FLIGHT + this.#side(request), 1);
  }

  /**
   * Returns true if the looked-up pages may be stale. The I/O is counted in before: an invalidation raised later sees
   * that, and one raised earlier is seen here.
   */
  readRetry(request: number): boolean {
    const sequence = this.#sum(this.#uses[request]!, SEQUENCE + this.#side(request));
    return sequence !== this.#words[this.#io(request) + SEEN];
  }

  /** Counts I/O out that `readRetry` has sent back, and holds it. */
  goBack(request: number): void {
    this.#hold(request);
    this.countOut(request);
  }

  /** Counts I/O out that has ended, with its pages dirty if the device wrote them. Waiting invalidations look again. */
  countOut(request: number): void {
    this.#add(this.#uses[request]!, IN_FLIGHT + this.#side(request), -1);
    this.#wakeInvalidations(this.#uses[request]!);
  }

  #wakeInvalidations(use: MemoryUse): void {
    for (let invalidation = 0; invalidation < this.#size.invalidations; invalidation++) {
      const { first, last } = this.rangeOf(invalidation);
      if (this.state(invalidation) !== DRAINING || use.last < first || last < use.first) continue;
      this.#words[this.#invalidation(invalidation) + STATE] = RAISED;
    }
  }

  // A registered buffer: io_uring's.

  /**
   * Frame of the registered buffer for a page; -1 if it has to be looked up again. A frame that was looked up for
   * device reads can't be used for device writes.
   */
  registered(page: number, write: boolean): number {
    const fits = this.#page(page, GRADE) >= (write ? FOR_READS : FOR_WRITES);
    return fits ? this.#page(page, FRAME) - 1 : -1;
  }

  /**
   * Stores a frame in the registered buffer. Only for I/O that is counted in and wasn't sent back: the frame is valid.
   */
  publish(page: number, frame: number, direction: Direction): void {
    const grade = direction === WRITE ? FOR_READS : FOR_WRITES;
    if (this.#page(page, GRADE) >= grade) return;
    this.#setPage(page, FRAME, frame + 1);
    this.#setPage(page, GRADE, grade);
  }

  /** True if I/O that was kept out, or sent back, still waits for a page. */
  holds(page: number): boolean {
    return this.#page(page, HELD) > 0 || this.#page(page, HELD + 1) > 0;
  }

  /** For assertions: invalidations in progress that exclude I/O of a direction from a page. */
  excluded(page: number, direction: Direction): number {
    return this.#page(page, EXCLUDED + direction);
  }

  /** For assertions: the counters of a page. */
  counters(page: number): { excluded: number[]; inFlight: number[]; held: number[] } {
    const of = (word: number): number[] => Array.from({ length: SIDES }, (_, side) => this.#page(page, word + side));
    return { excluded: of(EXCLUDED), inFlight: of(IN_FLIGHT), held: of(HELD) };
  }
}
