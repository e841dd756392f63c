/**
 * The mmu notifier: a phase-fair reader–writer lock over ranges. Requests are the readers, which the subscribers keep;
 * invalidations are the writers. An invalidation gets its turn once no other is in progress on its range, and the
 * requests that an earlier one held have been submitted. It then stops every subscriber (first pass), and begins once
 * all of them have drained (second pass).
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

/** A user of memory for whose uses an invalidation waits. All calls are synchronous. */
export interface Subscriber {
  /**
   * True if `stop` would have nothing to wait for. Changes nothing, so a veto leaves all counters as they are
   * (BALANCED_VETO).
   */
  isQuiet(range: Range, event: MmuEvent): boolean;
  /** True if requests that an earlier invalidation held haven't been submitted yet (BOUNDED_HOLD). */
  holds(range: Range): boolean;
  /**
   * First pass: from now on no excluded use begins. Returns the number of chunks to wait for; the subscriber calls
   * `drained` for each.
   */
  stop(invalidation: Invalidation): number;
  /** Continues held requests after the end, as slots become free; `holds` is true until all have been submitted. */
  resume(invalidation: Invalidation): void;
}

/** Receiver of what happens to invalidations, for traces. It changes nothing. */
export interface InvalidationObserver {
  started(invalidation: Invalidation): void;
  begun(invalidation: Invalidation): void;
  ended(invalidation: Invalidation): void;
}

export interface Subscription extends Interval {}

/** One invalidation, from its start to its end. */
export class Invalidation implements PublicInvalidation {
  /** Kind of the invalidation. */
  readonly event: MmuEvent;
  /** Its addresses, rounded out to whole chunks. */
  readonly range: Range;
  /** waiting: for its turn; draining: for requests in flight; begun: the caller may change the range. */
  state: "waiting" | "draining" | "begun" | "ended" = "waiting";
  /** Chunks that still have to drain before it begins. */
  draining = 0;
  /** Protections that an ended PROTECTION_VMA has set. */
  protections: readonly Protection[] = [];
  readonly #ready: (() => void) | undefined;
  readonly #uncaught: (error: unknown) => void;

  /** Called by `MmuNotifier.invalidateRangeStart` only. */
  constructor(range: Range, event: MmuEvent, ready: (() => void) | undefined, uncaught: (error: unknown) => void) {
    this.range = range;
    this.event = event;
    this.#ready = ready;
    this.#uncaught = uncaught;
  }

  /** Notes that a chunk which `stop` counted has drained. */
  drained(): void {
    if (this.state !== "draining" || this.draining === 0)
      violated("EXCLUSION", `${this.event} drained in state ${this.state}`);
    if (--this.draining === 0) this.begin();
  }

  /** Begins the invalidation, after all chunks have drained. */
  begin(): void {
    this.state = "begun";
    // An error mustn't propagate into the caller, which may be a completion, or the end of another invalidation.
    try {
      this.#ready?.();
    } catch (error) {
      this.#uncaught(error);
    }
  }
}

/** The mmu notifier, with its public methods and those for subscribers and the protocol. */
export class MmuNotifier implements PublicNotifier {
  readonly #granuleBytes: number;
  readonly #uncaught: (error: unknown) => void;
  readonly #subscribers = new IntervalTree<Subscriber>();
  /** Granule sizes of subscriptions whose granules are larger than the notifier's. */
  readonly #coarse = new Map<Subscription, number>();
  private active = new IntervalTree<Invalidation>();
  private readonly intervals = new Map<Invalidation, Interval>();
  private queue: Invalidation[] = [];
  /** True while subscribers are notified of an end: the next turn is given once all of them have been. */
  #ending = false;
  /** Called when an invalidation has to wait and no other does, and when none waits any more. */
  waitsChanged: (() => void) | null = null;
  readonly #observer: InvalidationObserver | null;

  /**
   * `granuleBytes` is a power of two to which ranges are rounded out, so that two invalidations in progress never share
   * a chunk. `uncaught` gets errors that callbacks throw.
   */
  constructor(granuleBytes: number, uncaught: (error: unknown) => void, observer: InvalidationObserver | null = null) {
    this.#granuleBytes = granuleBytes;
    this.#uncaught = uncaught;
    this.#observer = observer;
  }

  /** Invalidations begun or draining. */
  get inProgress(): number {
    return this.active.size;
  }

  /** Invalidations that wait for their turn, oldest first. */
  get waiting(): readonly Invalidation[] {
    return this.queue;
  }

  /**
   * Adds a subscription. `granuleBytes` is given if the granule of this range is larger than the notifier's. The range
   * then begins on a multiple of it, and no invalidation of a part of a granule may be in progress or waiting.
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
    // The subscriber holds no more requests on that range.
    this.heldHaveGone();
  }

  /** Rounds a range out to whole granules, of the size that applies at its ends. */
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
    const observer = this.#observer;
    const ready =
      observer === null
        ? options.ready
        : () => {
            observer.begun(invalidation);
            options.ready?.();
          };
    const invalidation = new Invalidation(this.#roundedOut(range), event, ready, this.#uncaught);
    if (options.blockable === false) {
      if (!this.#isFree(invalidation)) return "EAGAIN";
      observer?.started(invalidation);
      // Nothing in the queue waits for this range. `#takeTurns` may be running, with `ready` of another invalidation.
      this.#stop(invalidation);
      invariant("BALANCED_VETO", invalidation.draining === 0, `${event} was to begin at once`);
    } else {
      observer?.started(invalidation);
      this.queue.push(invalidation);
      this.#takeTurns();
      if (this.queue[0] === invalidation) this.waitsChanged?.();
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
    this.#observer?.ended(invalidation);
    if (invalidation.event === "PROTECTION_VMA") invalidation.protections = protections;
    this.#ending = true;
    for (const subscriber of this.#subscribersOn(invalidation.range)) subscriber.resume(invalidation);
    this.#ending = false;
    this.heldHaveGone();
  }

  /** Gives turns, because an invalidation has ended, or a subscriber holds fewer requests now. */
  heldHaveGone(): void {
    if (this.#ending || this.queue.length === 0) return;
    this.#takeTurns();
    if (this.queue.length === 0) this.waitsChanged?.();
  }

  #intervalOf(invalidation: Invalidation): Interval {
    if (!(invalidation instanceof Invalidation))
      throw argumentError(
        "ERR_INVALID_ARG_TYPE",
        `The "invalidation" argument must come from invalidateRangeStart(). Received ${inWords(invalidation)}`,
      );
    const { event, state, range } = invalidation;
    const interval = this.intervals.get(invalidation);
    if (state === "begun" && interval !== undefined) return interval;
    const why = state === "begun" ? "another notifier's" : state;
    throw argumentError(
      "ERR_INVALID_ARG_VALUE",
      'The "invalidation" argument must have begun, and be ended once. ' +
        `Received ${event} of ${range.start} to ${range.end}: ${why}`,
    );
  }

  /**
   * Runs `access`, a synchronous use of the range that follows the rules of a request: at once, or, if an invalidation
   * excludes it, in a turn of its own.
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

  /** True if `whenOpen` would run an access at once. */
  isOpen(range: Range, concerns: "deviceReads" | "deviceWrites"): boolean {
    return !this.on(range).some(({ state, event }) => state === "begun" && CONCERNS[event][concerns]);
  }

  /** True if a request would have to wait, also for an invalidation that is still draining. */
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

  /** Subscribers on a range, each once. */
  #subscribersOn(range: Range): Subscriber[] {
    const all = this.#subscribers.overlapping(range);
    return all.filter((subscriber, i) => all.indexOf(subscriber) === i);
  }

  /** Gives a turn to each waiting invalidation that can have it, oldest first; on one range none overtakes another. */
  #takeTurns(): void {
    for (let i = 0; i < this.queue.length; ) {
      const next = this.queue[i]!;
      if (this.#mayBegin(next, i)) {
        this.queue.splice(i, 1);
        this.#stop(next);
        // `ready` may have ended this invalidation or started others, so the queue is searched from its head again.
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
    // Starts at 1, so that the invalidation can't begin before all subscribers have been stopped.
    invalidation.draining = 1;
    for (const subscriber of this.#subscribersOn(invalidation.range))
      invalidation.draining += subscriber.stop(invalidation);
    invalidation.drained();
  }
}
