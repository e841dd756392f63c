/**
 * Who is told before memory changes, and makes it wait: the mmu notifier.
 *
 * Think of a phase-fair reader–writer lock over ranges. I/O are the readers (they live with the subscribers), invalidations the writers.
 * An invalidation gets its turn once no other is in progress on its range and the I/O that an earlier one held has been let go; it then
 * asks every subscriber to stop (first pass) and is ready once all of them have drained (second pass).
 */

import { invariant, violated } from "./assert.js";
import { argumentError } from "./errors.js";
import { CONCERNS, type MmuEvent } from "./events.js";
import { checkProtections, checkRange, checkStart, checkSubscriber, inWords } from "./notifier-arguments.js";
import type {
  Protection,
  Invalidation as PublicInvalidation,
  MmuNotifier as PublicNotifier,
  StartOptions,
} from "./public-notifier.js";
import { type Interval, IntervalTree } from "./ranges/interval-tree.js";
import { alignDown, alignOut, alignUp, overlaps, type Range } from "./ranges/ranges.js";

/** Somebody who uses memory in ways that an invalidation must wait for. All calls are synchronous. */
export interface Subscriber {
  /** Whether `stop` would find nothing to wait for. Changes nothing: a veto leaves every counter as it was (BALANCED_VETO). */
  isQuiet(range: Range, event: MmuEvent): boolean;
  /** Whether I/O waits here that an earlier invalidation held (BOUNDED_HOLD). */
  holds(range: Range): boolean;
  /** First pass: from here on no concerned use begins. Returns how many things must still end; each is then told by `drained()`. */
  stop(invalidation: Invalidation): number;
  /** The invalidation has ended: what it held goes ahead, as soon as there's room for it; what still hasn't is what `holds` says. */
  resume(invalidation: Invalidation): void;
}

export interface Subscription extends Interval {}

/** One invalidation, from its start to its end. */
export class Invalidation implements PublicInvalidation {
  /** Kind of the invalidation. */
  readonly event: MmuEvent;
  /** Addresses that it is about, rounded out to whole chunks. */
  readonly range: Range;
  /** waiting: for its turn; draining: I/O in flight; begun: the range is the caller's. */
  state: "waiting" | "draining" | "begun" | "ended" = "waiting";
  /** Things that must still end before it has begun. */
  draining = 0;
  /** Of a PROTECTION_VMA that has ended: what it came to. */
  protections: readonly Protection[] = [];
  readonly #ready: (() => void) | undefined;
  readonly #uncaught: (error: unknown) => void;

  /** Not for callers: `MmuNotifier.invalidateRangeStart` makes them. */
  constructor(range: Range, event: MmuEvent, ready: (() => void) | undefined, uncaught: (error: unknown) => void) {
    this.range = range;
    this.event = event;
    this.#ready = ready;
    this.#uncaught = uncaught;
  }

  /** A subscriber's chunk that `stop` counted is quiet now. */
  drained(): void {
    if (this.state !== "draining" || this.draining === 0)
      violated("EXCLUSION", `${this.event} drained in state ${this.state}`);
    if (--this.draining === 0) this.begin();
  }

  /** Begins: everything has drained. */
  begin(): void {
    this.state = "begun";
    // It may be a completion, or somebody else's end, that this is called in: what they're in the middle of goes on.
    try {
      this.#ready?.();
    } catch (error) {
      this.#uncaught(error);
    }
  }
}

/** The mmu notifier: as programs see it, and what subscribers and the protocol need of it. */
export class MmuNotifier implements PublicNotifier {
  readonly #granuleBytes: number;
  readonly #uncaught: (error: unknown) => void;
  readonly #subscribers = new IntervalTree<Subscriber>();
  /** Ranges whose granules are larger than others', and how large. */
  readonly #coarse = new Map<Subscription, number>();
  private active = new IntervalTree<Invalidation>();
  private readonly intervals = new Map<Invalidation, Interval>();
  private queue: Invalidation[] = [];
  /** Subscribers are being told of an end: whose turn is next is looked at when all of them were. */
  #ending = false;

  /**
   * `granuleBytes`: ranges are rounded out to this (a power of two), so that two invalidations in progress never share a chunk. `uncaught`
   * gets what callbacks throw.
   */
  constructor(granuleBytes: number, uncaught: (error: unknown) => void) {
    this.#granuleBytes = granuleBytes;
    this.#uncaught = uncaught;
  }

  /** Invalidations begun or draining. */
  get inProgress(): number {
    return this.active.size;
  }

  /** Those that wait for their turn, oldest first. */
  get waiting(): readonly Invalidation[] {
    return this.queue;
  }

  /**
   * `granuleBytes`: that of the range itself, if it's larger; the range begins on such a boundary, and nothing is in progress on it, or waits
   * for it, that could meet a part of a granule.
   */
  insert(range: Range, subscriber: Subscriber, granuleBytes = this.#granuleBytes): Subscription {
    checkRange(range);
    checkSubscriber(subscriber);
    const subscription = this.#subscribers.insert(alignOut(range, this.#granuleBytes), subscriber);
    if (granuleBytes > this.#granuleBytes) this.#coarse.set(subscription, granuleBytes);
    return subscription;
  }

  /** Removes a subscription. */
  remove(subscription: Subscription): void {
    invariant("STATE", this.#subscribers.remove(subscription), "a subscription was removed twice");
    this.#coarse.delete(subscription);
    // It holds nothing any more.
    this.heldHaveGone();
  }

  /** Rounded out to whole granules, of each range that has its own. */
  #roundedOut(range: Range): Range {
    let { start, end } = alignOut(range, this.#granuleBytes);
    for (const [whole, granuleBytes] of this.#coarse) {
      if (!overlaps(whole, { start, end })) continue;
      if (start > whole.start) start = alignDown(start, granuleBytes);
      if (end < whole.end) end = Math.min(whole.end, alignUp(end, granuleBytes));
    }
    return { start, end };
  }

  invalidateRangeStart(
    range: Range,
    event: MmuEvent,
    options: StartOptions & { blockable: false },
  ): Invalidation | "EAGAIN";
  invalidateRangeStart(range: Range, event: MmuEvent, options?: StartOptions): Invalidation;
  invalidateRangeStart(range: Range, event: MmuEvent, options: StartOptions = {}): Invalidation | "EAGAIN" {
    checkStart(range, event, options);
    const invalidation = new Invalidation(this.#roundedOut(range), event, options.ready, this.#uncaught);
    if (options.blockable === false) {
      if (!this.#isFree(invalidation)) return "EAGAIN";
      // Past the queue, where nobody waits for this range: this may be inside the `ready` of another, with turns still to be given.
      this.#stop(invalidation);
      invariant("BALANCED_VETO", invalidation.draining === 0, `${event} was to begin at once`);
    } else {
      this.queue.push(invalidation);
      this.#takeTurns();
    }
    return invalidation;
  }

  invalidateRangeEnd(
    invalidation: Invalidation,
    protections: readonly Protection[] = [{ range: Object(invalidation).range as Range, readOnly: true }],
  ): void {
    const interval = this.#intervalOf(invalidation);
    if (invalidation.event === "PROTECTION_VMA") checkProtections(protections);
    this.active.remove(interval);
    this.intervals.delete(invalidation);
    invalidation.state = "ended";
    if (invalidation.event === "PROTECTION_VMA") invalidation.protections = protections;
    this.#ending = true;
    for (const subscriber of this.#subscribersOn(invalidation.range)) subscriber.resume(invalidation);
    this.#ending = false;
    this.#takeTurns();
  }

  /** A subscriber that said it holds I/O holds less now: the next may have its turn. */
  heldHaveGone(): void {
    if (!this.#ending) this.#takeTurns();
  }

  #intervalOf(invalidation: Invalidation): Interval {
    if (!(invalidation instanceof Invalidation))
      throw argumentError(
        "ERR_INVALID_ARG_TYPE",
        `The "invalidation" argument must be what invalidateRangeStart() gave. Received ${inWords(invalidation)}`,
      );
    const { event, state, range } = invalidation;
    const interval = this.intervals.get(invalidation);
    if (state === "begun" && interval !== undefined) return interval;
    const why = state === "begun" ? "another notifier's" : state;
    throw argumentError(
      "ERR_INVALID_ARG_VALUE",
      `The "invalidation" argument must have begun, and be ended once. Received ${event} of ${range.start} to ${range.end}: ${why}`,
    );
  }

  /**
   * Runs `access`, which uses the range as a device would and is over when it returns, outside of every invalidation that concerns it: at
   * once, or in a turn of its own.
   */
  whenOpen(range: Range, concerns: "deviceReads" | "deviceWrites", access: () => void): void {
    if (this.isOpen(range, concerns)) {
      access();
      return;
    }
    const ready = (): void => {
      access();
      this.invalidateRangeEnd(turn);
    };
    const turn = this.invalidateRangeStart(range, "EXCLUSIVE", { ready });
  }

  /** Whether `whenOpen` would run an access at once. */
  isOpen(range: Range, concerns: "deviceReads" | "deviceWrites"): boolean {
    return !this.on(range).some(({ state, event }) => state === "begun" && CONCERNS[event][concerns]);
  }

  /** Whether a request would have to wait: the same, but also for an invalidation that has yet to begin. */
  excludes(range: Range, concerns: "deviceReads" | "deviceWrites"): boolean {
    return this.on(range).some(({ event }) => CONCERNS[event][concerns]);
  }

  /** The invalidation in progress at an address, if any. */
  at(address: number): Invalidation | undefined {
    return this.on({ start: address, end: address + 1 })[0];
  }

  /** The invalidations in progress on a range. */
  on(range: Range): Invalidation[] {
    return this.active.overlapping(range);
  }

  #isFree({ range, event }: Invalidation): boolean {
    if (this.active.overlapsAny(range) || this.queue.some((other) => overlaps(other.range, range))) return false;
    return this.#subscribersOn(range).every((s) => !s.holds(range) && s.isQuiet(range, event));
  }

  /** Each once, however many of its ranges are meant. */
  #subscribersOn(range: Range): Subscriber[] {
    const all = this.#subscribers.overlapping(range);
    return all.filter((subscriber, i) => all.indexOf(subscriber) === i);
  }

  /** Gives a turn to everyone in the queue who can have it, oldest first; nobody overtakes on the same range. */
  #takeTurns(): void {
    for (let i = 0; i < this.queue.length; ) {
      const next = this.queue[i]!;
      if (this.#mayBegin(next, i)) {
        this.queue.splice(i, 1);
        this.#stop(next);
        // `ready` may have ended it, or started others: look at the queue from its head again.
        i = 0;
      } else i++;
    }
  }

  #mayBegin({ range }: Invalidation, index: number): boolean {
    if (this.active.overlapsAny(range)) return false;
    for (let i = 0; i < index; i++) if (overlaps(this.queue[i]!.range, range)) return false;
    return !this.#subscribersOn(range).some((s) => s.holds(range));
  }

  #stop(invalidation: Invalidation): void {
    invalidation.state = "draining";
    this.intervals.set(invalidation, this.active.insert(invalidation.range, invalidation));
    // One thing too many until all were asked: a subscriber that drains while it's asked doesn't begin it early.
    invalidation.draining = 1;
    for (const subscriber of this.#subscribersOn(invalidation.range))
      invalidation.draining += subscriber.stop(invalidation);
    invalidation.drained();
  }
}
