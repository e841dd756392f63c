/**
 * The proposal (J. Glisse, "Do not pin pages for various direct-io scheme", LSF/MM 2020) as a kernel could have it:
 * direct-io, aio and io_uring hold no page. Who changes memory says so before and after, and waits for the I/O in
 * flight that it concerns; I/O looks its pages up between `readBegin` and `readRetry`, and is counted in before it asks
 * whether anything came between. A registered buffer keeps what it has found, until it's marked.
 *
 * Every method is what one processor does at a time; in between anything may happen. All of the state is words, per
 * page: a kernel has them per range, in an interval tree. What sleeps is woken by those words' changes: see `wake`.
 */

import { CONCERNS, MMU_EVENTS, type MmuEvent } from "pinless/portable";

/** Words of a page, each for what a device writes there, and then for what it reads. */
const SIDES = 2;
/** Invalidations in progress that concern it. */
const EXCLUDED = 0;
/** Invalidations that have begun, counted. */
const SEQUENCE = 2;
/** I/O counted in. */
const IN_FLIGHT = 4;
/** I/O that an invalidation has kept out or sent back: it has its turn before the next one. */
const HELD = 6;
/** For each page of the registered buffer: the frame that was found, + 1, and the access that it was looked up for. */
const FRAME = 8;
const GRADE = 9;
const PAGE_WORDS = 10;

/** GRADE. Marked: it's looked up again before it's used. */
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
/** Nothing that it concerns begins any more; it hasn't looked yet who is still in. */
export const RAISED = 1;
/** It sleeps until I/O has ended. */
export const DRAINING = 2;
export const BEGUN = 3;
const ENDED = 4;
/** It might not wait, and couldn't begin. */
export const REFUSED = 5;

/** Words of I/O. */
const SEEN = 0;
const WAS_HELD = 1;
const ASLEEP = 2;
const IO_WORDS = 3;

/** The memory that I/O is about. */
export interface MemoryUse {
  readonly first: number;
  readonly last: number;
  /** A device read: memory is written to the disk. */
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

  /** `words`: where its state lies; `uses`: what each request is about. */
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

  /** The sides that an event concerns: 0 for device writes, 1 for device reads. */
  #sides(event: MmuEvent): number[] {
    const { deviceWrites, deviceReads } = CONCERNS[event];
    return [...(deviceWrites ? [0] : []), ...(deviceReads ? [1] : [])];
  }

  #count(invalidation: number, word: number): number {
    const range = this.rangeOf(invalidation);
    return this.#sides(this.event(invalidation)).reduce((sum, side) => sum + this.#sum(range, word + side), 0);
  }

  /** Says what is to be changed, and why. Nothing has happened yet. */
  ask(invalidation: number, event: MmuEvent, first: number, last: number): void {
    const at = this.#invalidation(invalidation);
    this.#words[at + STATE] = NONE;
    this.#words[at + EVENT] = MMU_EVENTS.indexOf(event);
    this.#words[at + FIRST] = first;
    this.#words[at + LAST] = last;
  }

  /**
   * True if the invalidation has its turn. I/O that an earlier one has held goes first, or else a stream of
   * invalidations would starve it. An invalidation that I/O itself causes (it breaks a copy-on-write) doesn't ask: two
   * held requests that both have to would wait for each other.
   */
  mayRaise(invalidation: number): boolean {
    return this.#count(invalidation, HELD) === 0;
  }

  /** invalidate_range_start, first: from here on no I/O that it concerns begins, so that new I/O can't starve it. */
  raise(invalidation: number): void {
    const range = this.rangeOf(invalidation);
    for (const side of this.#sides(this.event(invalidation))) {
      this.#add(range, EXCLUDED + side, 1);
      this.#add(range, SEQUENCE + side, 1);
    }
    this.#words[this.#invalidation(invalidation) + STATE] = RAISED;
  }

  /** invalidate_range_start, then: is anybody still in? Only now, or one could come in after the look. */
  look(invalidation: number): void {
    if (this.#count(invalidation, IN_FLIGHT) > 0) {
      this.#words[this.#invalidation(invalidation) + STATE] = DRAINING;
      return;
    }
    this.#begin(invalidation);
  }

  /** The range is the caller's. Registered buffers there are only marked. */
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
   * The same as `look` for one that may not wait: EAGAIN, with all counters as they were, if somebody came in before it
   * was raised.
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

  /** invalidate_range_end. */
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

  /** Before the pages are looked up. False: it sleeps until no invalidation is in progress. */
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

  /** Goes on, or gives up: it isn't waited for as one that was held. */
  letGo(request: number): void {
    if (!this.isHeld(request)) return;
    this.#words[this.#io(request) + WAS_HELD] = 0;
    this.#words[this.#io(request) + ASLEEP] = 0;
    this.#add(this.#uses[request]!, HELD + this.#side(request), -1);
  }

  /** After the look-up, which may itself have to invalidate: who is counted in is waited for, also by itself. */
  countIn(request: number): void {
    this.#add(this.#uses[request]!, IN_FLIGHT + this.#side(request), 1);
  }

  /**
   * Counted in: whoever raises later sees that, and whoever raised before is seen here. True: what was looked up may be
   * stale.
   */
  readRetry(request: number): boolean {
    const sequence = this.#sum(this.#uses[request]!, SEQUENCE + this.#side(request));
    return sequence !== this.#words[this.#io(request) + SEEN];
  }

  /** Sent back by `readRetry`. */
  goBack(request: number): void {
    this.#hold(request);
    this.countOut(request);
  }

  /** The I/O has ended, and its pages are dirty if the device wrote there. Whoever waits for it looks again. */
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
   * The frame that it has for a page; -1: it's to be looked up again. What was found for a device's reads isn't fit for
   * its writes.
   */
  registered(page: number, write: boolean): number {
    const fits = this.#page(page, GRADE) >= (write ? FOR_READS : FOR_WRITES);
    return fits ? this.#page(page, FRAME) - 1 : -1;
  }

  /** Only by who is counted in, and wasn't sent back: what it found holds until an invalidation marks it. */
  publish(page: number, frame: number, write: boolean): void {
    const grade = write ? FOR_READS : FOR_WRITES;
    if (this.#page(page, GRADE) >= grade) return;
    this.#setPage(page, FRAME, frame + 1);
    this.#setPage(page, GRADE, grade);
  }

  /** True if I/O that was kept out, or sent back, still waits for a page. */
  holds(page: number): boolean {
    return this.#page(page, HELD) > 0 || this.#page(page, HELD + 1) > 0;
  }

  /** For who looks on: invalidations in progress that keep a device's reads, or its writes, from a page. */
  excluded(page: number, deviceReads: boolean): number {
    return this.#page(page, EXCLUDED + (deviceReads ? 1 : 0));
  }

  /** The same: the counters of a page. */
  counters(page: number): { excluded: number[]; inFlight: number[]; held: number[] } {
    const of = (word: number): number[] => Array.from({ length: SIDES }, (_, side) => this.#page(page, word + side));
    return { excluded: of(EXCLUDED), inFlight: of(IN_FLIGHT), held: of(HELD) };
  }
}
