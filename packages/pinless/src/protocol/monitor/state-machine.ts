/**
 * The monitor: it makes memory calls of other code wait until no I/O uses the pages that they discard.
 * docs/monitor.md draws the messages of one call.
 *
 * An explicit state machine. Its driver calls `step` until that returns null. There are three drivers: the monitor's
 * thread (events/), the simulator in virtual time, and the explorer, which interleaves the steps of all other threads.
 *
 *   from               to
 *   WATCHING           LOOKING when an event is readable; CLAIMING on a tick of the lease clock
 *   LOOKING            DRAINING if a thread is seen waiting; ANNOUNCING if its range can't be drained; READING if it's
 *                      in a call that has been handled, or if no thread is seen (then every chunk is announced)
 *   DRAINING           ANNOUNCING when drained, covered or given up
 *   ANNOUNCING         CLAIMING if something was announced; else READING
 *   CLAIMING           EMPTYING, RETURNING and CLAIMING again for each lease; then on to READING, READ or WATCHING
 *   READING            READING again, until all events are read: READ; ANNOUNCING_LATE for an unexpected event
 *   ANNOUNCING_LATE    CLAIMING, and back to READING
 *   READ               WATCHING
 *
 * The monitor neither maps nor frees arena memory, and never waits for a thread that may wait for one of these calls.
 */

import { violated } from "../assert.js";
import { contains, type Range } from "../ranges/ranges.js";
import {
  type Caller,
  type MemoryEvent,
  type PolledCaller,
  polledCaller,
  type ThreadCalls,
  UNSEEN_MS,
} from "./caller-tracking.js";
import {
  announce,
  announceUnmap,
  beginReading,
  conclude,
  endReading,
  type SegmentChunks,
  unmapHeard,
} from "./deferred-changes.js";
import { FollowedSegments, type LeasedChunks } from "./followed-segments.js";
import type { Lease, LeaseClock } from "./lease-clock.js";
import { DRAIN, drainWord, type MonitorReport, nextStart, stateOf } from "./messages.js";
import {
  FIRST_LOOK_MS,
  LAST_LOOK_MS,
  type PendingDiscard,
  stillIn,
  stillPending,
  withLater,
} from "./pending-discards.js";

/** Time to find the calling thread: its event is readable before it sleeps, but /proc shows its call only then. */
const CALLER_PATIENCE_MS = 2;
/** Time for the engine's thread to answer a start. After that its loop counts as busy, and the start is given up. */
const ANSWER_MS = 5;
/** Time that a start may wait for another invalidation, which may last as long as the program likes. */
const TURN_MS = 10;
/** Time that a start may wait for requests in flight, which take as long as the device does. */
const DRAIN_MS = 1000;

/** States of the monitor, named by its next step. */
export const MONITOR = {
  /** No event is to be read. Threads of pending discards are polled. */
  WATCHING: 0,
  /**
   * An event is readable. Reading it would let its thread continue, so the monitor first finds out from /proc which
   * thread waits, and in which call.
   */
  LOOKING: 1,
  /**
   * The engine's thread was asked to drain the range that is about to be discarded. Its answer comes in the drain word.
   */
  DRAINING: 2,
  /** Announces ranges that can't be drained, or are unmapped already, before their event is read. */
  ANNOUNCING: 3,
  /** Claims the next lease that pins an announced chunk, or is due: from then on only the monitor may drop it. */
  CLAIMING: 4,
  /** Empties the claimed lease's slot of the ring's buffer table. */
  EMPTYING: 5,
  /** Records in the lease table that this update has returned. */
  RETURNING: 6,
  /**
   * Reads the next event, which lets its thread continue. The reading word keeps all I/O from beginning, because it may
   * be the event of a thread that wasn't seen.
   */
  READING: 7,
  /** The event was of an unseen thread. Its range, now known, is announced before the reading word is lowered. */
  ANNOUNCING_LATE: 8,
  /**
   * All events are read. The kernel frees the pages only after that, so discards stay pending until their threads have
   * left their calls.
   */
  READ: 9,
} as const;

/** A wait between two steps: the driver goes on after `ms`, or once the drain word isn't `whileWord` any more. */
export interface Wait {
  readonly ms: number;
  readonly whileWord: number | null;
}

const AT_ONCE: Wait = { ms: 0, whileWord: null };

export interface MonitorParts {
  /** Drain word, in which the engine's thread answers a start (messages.ts). */
  readonly drain: Int32Array;
  /** Reading word (deferred-changes.ts). */
  readonly reading: Int32Array;
  /** Thread id of the engine's thread. */
  readonly ownTid: number;
  /** Threads that run the engine's own memory operations; 0: none yet. */
  readonly ourTids: Int32Array;
  readonly threads: ThreadCalls;
  readonly leases: LeaseClock;
  nowMs(): number;
  /** Reads the oldest event, which lets its thread continue; null if there is none. */
  next(): MemoryEvent | null;
  post(report: MonitorReport): void;
}

/**
 * State between two steps. It's immutable: a step replaces it, so the explorer can keep a state and put it back.
 */
export interface MonitorState {
  readonly doing: number;
  /** Time when looking for threads, or waiting for an answer, began; and the next pause between two looks. */
  readonly sinceMs: number;
  readonly pauseMs: number;
  /** Threads whose calls are handled together; and those of them whose events aren't read yet. */
  readonly callers: readonly Caller[];
  readonly unread: readonly Caller[];
  /** True if their calls have raised an event before, so that I/O is kept away from their ranges already. */
  readonly again: boolean;
  /** Number of the start that drains their ranges; 0 if `discarded` is announced instead. */
  readonly start: number;
  /** Chunks that are announced as being discarded: of the callers' ranges, or all if no thread was seen. */
  readonly discarded: readonly SegmentChunks[];
  /** Chunks that are announced as unmapped, and ranges that events have named as unmapped. */
  readonly unmapped: readonly SegmentChunks[];
  readonly gone: readonly Range[];
  /** Callers whose events were read, to be polled until each has left its call. */
  readonly letGo: readonly PolledCaller[];
  /** An event of a thread that wasn't seen waiting, and the chunks that are announced for it. */
  readonly late: MemoryEvent | null;
  readonly lateChunks: readonly SegmentChunks[];
  /** Chunks that lose their leases, and how many of them are done; if there are none, leases due at `dueMs` go. */
  readonly losing: readonly LeasedChunks[];
  readonly looked: number;
  readonly dueMs: number;
  /** The lease that is being dropped. */
  readonly lease: Lease | null;
  /** Discards whose events were read. */
  readonly pending: readonly PendingDiscard[];
}

const FIRST: MonitorState = {
  doing: MONITOR.WATCHING,
  sinceMs: 0,
  pauseMs: 0,
  callers: [],
  unread: [],
  again: false,
  start: 0,
  discarded: [],
  unmapped: [],
  gone: [],
  letGo: [],
  late: null,
  lateChunks: [],
  losing: [],
  looked: 0,
  dueMs: 0,
  lease: null,
  pending: [],
};

/**
 * Returns the next state. It's copied field by field because spreading both objects takes five times as long, and the
 * explorer does this for each of the monitor's steps.
 */
function next(state: MonitorState, doing: number, changes: Partial<MonitorState>): MonitorState {
  return {
    doing,
    sinceMs: changes.sinceMs ?? state.sinceMs,
    pauseMs: changes.pauseMs ?? state.pauseMs,
    callers: changes.callers ?? state.callers,
    unread: changes.unread ?? state.unread,
    again: changes.again ?? state.again,
    start: changes.start ?? state.start,
    discarded: changes.discarded ?? state.discarded,
    unmapped: changes.unmapped ?? state.unmapped,
    gone: changes.gone ?? state.gone,
    letGo: changes.letGo ?? state.letGo,
    late: changes.late === undefined ? state.late : changes.late,
    lateChunks: changes.lateChunks ?? state.lateChunks,
    losing: changes.losing ?? state.losing,
    looked: changes.looked ?? state.looked,
    dueMs: changes.dueMs ?? state.dueMs,
    lease: changes.lease === undefined ? state.lease : changes.lease,
    pending: changes.pending ?? state.pending,
  };
}

export class MonitorMachine {
  state = FIRST;
  /** Segments that are followed. They change only in the state WATCHING. */
  readonly segments = new FollowedSegments();
  readonly #parts: MonitorParts;
  #lookMs = 0;

  constructor(parts: MonitorParts) {
    this.#parts = parts;
  }

  get isWatching(): boolean {
    return this.state.doing === MONITOR.WATCHING;
  }

  /** Begins to handle an event that can be read. */
  readable(): void {
    this.#begin(MONITOR.LOOKING, { sinceMs: this.#parts.nowMs(), pauseMs: FIRST_LOOK_MS });
  }

  /**
   * Begins to drop leases that are due at `dueMs` of the engine's clock. Returns the milliseconds until the next tick:
   * Infinity while no lease is held.
   */
  tick(dueMs: number): number {
    this.#begin(MONITOR.CLAIMING, { dueMs });
    return this.#parts.leases.periodMs();
  }

  #begin(doing: number, changes: Partial<MonitorState>): void {
    if (!this.isWatching) violated("STATE", `the monitor is asked for something else in state ${this.state.doing}`);
    this.#goTo(doing, changes);
  }

  #goTo(doing: number, changes: Partial<MonitorState> = {}): Wait {
    this.state = next(this.state, doing, changes);
    return AT_ONCE;
  }

  /** Takes one step and returns the wait before the next; null if the monitor is watching again. */
  step(): Wait | null {
    const { state } = this;
    switch (state.doing) {
      case MONITOR.LOOKING:
        return this.#lookForCallers(state);
      case MONITOR.DRAINING:
        return this.#awaitDrain(state);
      case MONITOR.ANNOUNCING:
        return this.#announceCalls(state);
      case MONITOR.CLAIMING:
        return this.#claimNext(state);
      case MONITOR.EMPTYING:
        this.#parts.leases.empty(state.lease!);
        return this.#goTo(MONITOR.RETURNING);
      case MONITOR.RETURNING:
        this.#parts.leases.returned(state.lease!);
        return this.#goTo(MONITOR.CLAIMING, { lease: null });
      case MONITOR.READING:
        return this.#readNext(state);
      case MONITOR.ANNOUNCING_LATE:
        return this.#announceLate(state.late!);
      case MONITOR.READ:
        return this.#finish(state);
      default:
        return null;
    }
  }

  /** Ends pending discards whose threads have left their calls. Called between any two steps. */
  look(): void {
    if (this.state.pending.length === 0) return;
    const { threads, nowMs } = this.#parts;
    const pending = stillPending(this.state.pending, threads, nowMs(), (start, announced) => {
      if (start > 0) this.#parts.post({ kind: "end", id: start });
      else this.#conclude(announced);
    });
    this.state = next(this.state, this.state.doing, { pending });
  }

  /** Milliseconds until `look` is due again, with exponential back-off; null if nothing is pending. */
  nextLookMs(): number | null {
    if (this.state.pending.length === 0) return null;
    const ms = this.#lookMs;
    this.#lookMs = ms === 0 ? FIRST_LOOK_MS : Math.min(2 * ms, LAST_LOOK_MS);
    return ms;
  }

  // LOOKING

  #lookForCallers({ sinceMs, pauseMs }: MonitorState): Wait {
    const { threads, nowMs, ownTid } = this.#parts;
    const found = threads.callers().filter(({ ranges }) => ranges.some((range) => this.segments.meet(range)));
    if (found.length === 0) {
      if (nowMs() - sinceMs > CALLER_PATIENCE_MS) return this.#announceAll();
      this.#goTo(MONITOR.LOOKING, { pauseMs: 2 * pauseMs });
      return { ms: pauseMs, whileWord: null };
    }
    // A thread that waits in a new call has left the one before: that ends its pending discard.
    this.look();
    // A call on memory in several mappings raises an event for each, and the kernel may flush the TLB of the first only
    // after the last. I/O has been kept away from all of them since the first event, so later ones are just read.
    const again = stillIn(this.state.pending, found);
    if (again.length > 0) return this.#beginReading({ callers: again, unread: again, again: true });
    const discards = this.#discardsOf(found);
    // The engine's own thread can't drain while its own call waits.
    if (discards.length === 0 || discards.some(({ tid }) => tid === ownTid))
      return this.#goTo(MONITOR.ANNOUNCING, { callers: found, unread: found });
    return this.#askToDrain(found, discards);
  }

  /** Filters calls that are about to discard memory and aren't the engine's own operations (SELF_EVENT). */
  #discardsOf(callers: readonly Caller[]): Caller[] {
    const { ourTids } = this.#parts;
    const isOurs = (tid: number): boolean => ourTids.some((_, i) => Atomics.load(ourTids, i) === tid);
    return callers.filter(({ kind, tid }) => kind === "remove" && !isOurs(tid));
  }

  // DRAINING

  #askToDrain(callers: readonly Caller[], discards: readonly Caller[]): Wait {
    const { drain, nowMs } = this.#parts;
    const start = nextStart(Atomics.load(drain, 0));
    Atomics.store(drain, 0, drainWord(start, DRAIN.ASKED));
    this.#parts.post({ kind: "start", id: start, ranges: rangesOf(discards) });
    return this.#goTo(MONITOR.DRAINING, { callers, unread: callers, start, sinceMs: nowMs() });
  }

  #awaitDrain({ start, sinceMs }: MonitorState): Wait {
    const { drain, nowMs } = this.#parts;
    const word = Atomics.load(drain, 0);
    const state = stateOf(word);
    if (state === DRAIN.BEGUN) return this.#goTo(MONITOR.ANNOUNCING);
    if (state === DRAIN.COVERED) return this.#goWithoutStart(start);
    const limitMs = state === DRAIN.ASKED ? ANSWER_MS : state === DRAIN.TURN ? TURN_MS : DRAIN_MS;
    const leftMs = sinceMs + limitMs - nowMs();
    if (leftMs <= 0) {
      const givenUp = drainWord(start, DRAIN.GIVEN_UP);
      // If the engine's thread has just answered, the exchange fails and the next step sees the answer.
      return Atomics.compareExchange(drain, 0, word, givenUp) === word ? this.#goWithoutStart(start) : AT_ONCE;
    }
    this.look();
    // The start may wait for the end of another discard, which only the monitor can see: it keeps polling.
    return { ms: this.state.pending.length === 0 ? leftMs : Math.min(leftMs, FIRST_LOOK_MS * 4), whileWord: word };
  }

  #goWithoutStart(start: number): Wait {
    this.#parts.post({ kind: "end", id: start });
    return this.#goTo(MONITOR.ANNOUNCING, { start: 0 });
  }

  // ANNOUNCING

  #announceCalls({ start, callers }: MonitorState): Wait {
    const discarded = start > 0 ? [] : this.segments.chunksOf(rangesOf(this.#discardsOf(callers)));
    const unmapped = this.segments.chunksOf(rangesOf(callers.filter(({ kind }) => kind === "unmap")));
    this.#announce([...discarded, ...unmapped], unmapped);
    if (discarded.length + unmapped.length === 0) return this.#beginReading(this.#withJoined(callers));
    return this.#goTo(MONITOR.CLAIMING, { discarded, unmapped, losing: [...discarded, ...unmapped] });
  }

  /**
   * Announces all chunks before any lease is dropped: an engine that takes a lease meanwhile either sees the
   * announcement, or its lease is seen in CLAIMING.
   */
  #announce(all: readonly SegmentChunks[], unmapped: readonly SegmentChunks[]): void {
    for (const chunks of all) announce(chunks);
    for (const chunks of unmapped) announceUnmap(chunks);
  }

  #announceAll(): Wait {
    const discarded = this.segments.chunksOf();
    this.#announce(discarded, []);
    return this.#beginReading({ discarded });
  }

  // CLAIMING

  #claimNext({ losing, looked, dueMs }: MonitorState): Wait | null {
    const { leases } = this.#parts;
    if (losing.length === 0) {
      for (let lease = leases.nextDue(dueMs); lease !== null; lease = leases.nextDue(dueMs))
        if (leases.claim(lease)) return this.#goTo(MONITOR.EMPTYING, { lease });
      return this.#leasesAreGone();
    }
    let at = 0;
    for (const { words, first, last, watched } of losing)
      for (let chunk = first; chunk <= last; chunk++) {
        if (at++ < looked) continue;
        const lease = leases.leaseOf(watched, words, chunk);
        if (lease !== null && leases.claim(lease)) return this.#goTo(MONITOR.EMPTYING, { lease, looked: at });
      }
    return this.#leasesAreGone();
  }

  #leasesAreGone(): Wait | null {
    const { late, callers } = this.state;
    if (late !== null) return this.#lateIsAnnounced(late);
    if (callers.length > 0) return this.#beginReading({ losing: [], looked: 0, ...this.#withJoined(callers) });
    return this.#watch();
  }

  // READING

  /**
   * Adds threads that have begun to wait meanwhile, and discard no more than what I/O is kept away from already. Their
   * events are read along with the others, and then they can be polled as well.
   */
  #withJoined(callers: readonly Caller[]): Partial<MonitorState> {
    const { threads, ownTid } = this.#parts;
    const kept = rangesOf(this.#discardsOf(callers));
    const joined = this.#discardsOf(kept.length === 0 ? [] : threads.callers()).filter(
      ({ tid, ranges }) =>
        tid !== ownTid &&
        !callers.some((known) => known.tid === tid) &&
        ranges.every((range) => kept.some((part) => contains(part, range))),
    );
    const all = [...callers, ...joined];
    return { callers: all, unread: all };
  }

  #beginReading(changes: Partial<MonitorState>): Wait {
    beginReading(this.#parts.reading);
    return this.#goTo(MONITOR.READING, changes);
  }

  #readNext({ unread, letGo, gone }: MonitorState): Wait {
    const event = this.#parts.next();
    if (event === null) return this.#goTo(MONITOR.READ);
    const caller = unread.find(
      ({ kind, ranges }) => kind === event.kind && ranges.some((range) => contains(range, event)),
    );
    // Its thread wasn't seen, and can't be found any more: reading the event has let it continue.
    if (caller === undefined) return this.#goTo(MONITOR.ANNOUNCING_LATE, { late: event });
    // Reads on until there is no event: this one may have been that of an unseen thread on the same memory. Then the
    // caller's own is still there, and is taken for the unseen thread's; so both threads are waited for.
    return this.#goTo(MONITOR.READING, {
      unread: unread.filter((other) => other !== caller),
      letGo: [...letGo, polledCaller(this.#parts.threads, caller, this.segments.hasMore(caller, event))],
      gone: event.kind === "unmap" ? [...gone, event] : gone,
    });
  }

  // ANNOUNCING_LATE

  #announceLate(late: MemoryEvent): Wait | null {
    const lateChunks = this.segments.chunksOf([late]);
    this.#announce(lateChunks, late.kind === "unmap" ? lateChunks : []);
    this.#goTo(MONITOR.CLAIMING, { lateChunks, losing: lateChunks, looked: 0 });
    return lateChunks.length === 0 ? this.#leasesAreGone() : AT_ONCE;
  }

  #lateIsAnnounced(late: MemoryEvent): Wait {
    const { lateChunks, pending } = this.state;
    if (late.kind === "unmap") this.#reportGone([late], lateChunks);
    // No thread is known that could be polled, so the discard ends by time.
    const untilMs = this.#parts.nowMs() + UNSEEN_MS;
    const discard = { polled: [], untilMs, start: 0, announced: lateChunks };
    return this.#goTo(MONITOR.READING, {
      late: null,
      lateChunks: [],
      losing: [],
      looked: 0,
      pending: late.kind === "unmap" ? pending : [...pending, discard],
    });
  }

  // READ

  #finish({ callers, unread, again, start, discarded, unmapped, gone, letGo, pending }: MonitorState): null {
    const { ownTid, threads, reading, post } = this.#parts;
    if (endReading(reading)) post({ kind: "concluded" });
    // A caller whose event didn't come has stopped waiting, or never did: it's polled like the others.
    const left = [...letGo, ...unread.map((caller) => polledCaller(threads, caller))];
    if (again) this.#watch(withLater(pending, left));
    else {
      this.#reportGone(gone, unmapped);
      const discards = this.#discardsOf(callers);
      // The engine's own thread isn't polled: it begins no I/O before it has left its call.
      const polled = left.filter(({ caller }) => caller.tid !== ownTid && discards.includes(caller));
      const isPending = start > 0 || discarded.length > 0;
      this.#watch(isPending ? [...pending, { polled, untilMs: 0, start, announced: discarded }] : pending);
    }
    this.#lookMs = 0;
    this.look();
    return null;
  }

  #watch(pending: readonly PendingDiscard[] = this.state.pending): null {
    this.state = next(FIRST, MONITOR.WATCHING, { pending });
    return null;
  }

  /** Reports unmapped ranges. They stay announced until the engine's thread refuses all I/O there. */
  #reportGone(gone: readonly Range[], announced: readonly SegmentChunks[]): void {
    if (gone.length === 0) {
      for (const chunks of announced) unmapHeard(chunks);
      this.#conclude(announced);
      return;
    }
    gone.forEach(({ start, end }, i) => {
      const last = i === gone.length - 1;
      this.#parts.post({ kind: "unmapped", gone: { start, end }, announced: last ? announced : [] });
    });
  }

  #conclude(announced: readonly SegmentChunks[]): void {
    if (announced.length === 0) return;
    for (const chunks of announced) conclude(chunks);
    this.#parts.post({ kind: "concluded" });
  }
}

function rangesOf(callers: readonly Caller[]): Range[] {
  return callers.flatMap(({ ranges }) => ranges);
}
