/**
 * The monitor: it makes calls of other code on followed memory wait until they're safe. docs/monitor.md draws the
 * messages of one call.
 *
 * An explicit state machine. Whoever drives it calls `step` until that returns null: the monitor's thread (events/),
 * the simulator in virtual time, and the explorer, which puts every other thread's steps between any two of these.
 *
 * WATCHING ─ readable ─► LOOKING ─ threads wait ─► DRAINING ─ drained ─────────────────────────► READING ─► READ ─►
 * WATCHING │                         └ the engine can't ─► ANNOUNCING ─► CLAIMING ─┘   │ ▲ └ no thread is seen: all is
 * announced ──────────────────────► READING       ▼ │ WATCHING ─ tick ─► CLAIMING ⇄ EMPTYING, RETURNING ─► WATCHING
 * ANNOUNCING_LATE ─► CLAIMING
 *
 * Nothing here maps or frees memory of an arena, or waits for anything that could wait for one of these calls.
 */

import { violated } from "../assert.js";
import { contains, type Range } from "../ranges/ranges.js";
import {
  type Caller,
  type Departure,
  departureOf,
  type MemoryEvent,
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

/** An event is there before its thread sleeps, and only then can be seen whose it is. */
const CALLER_PATIENCE_MS = 2;
/** Time that a start may stay in a state before the monitor gives it up: an engine whose loop is busy can't drain. */
const ANSWER_MS = 5;
/** Another invalidation may last for as long as the program likes. */
const TURN_MS = 10;
/** Requests in flight take as long as the device does, within reason. */
const DRAIN_MS = 1000;

/** States of the monitor, named by its next step. */
export const MONITOR = {
  /** No event is to be read. Pending discards are looked at now and then. */
  WATCHING: 0,
  /**
   * An event is there. It's read only later, since that lets its thread go: which thread waits, and on which memory?
   */
  LOOKING: 1,
  /**
   * The engine's thread was asked to stop and drain what is about to be discarded: its answer comes in the drain word.
   */
  DRAINING: 2,
  /** Announces ranges that can't be drained, or are unmapped already, before their event is read. */
  ANNOUNCING: 3,
  /** Leases that pin what was announced, or that are due, go one by one: the next one becomes the monitor's to drop, */
  CLAIMING: 4,
  /** its slot of the ring's buffer table is emptied, */
  EMPTYING: 5,
  /** and the lease table hears that this update has returned. */
  RETURNING: 6,
  /**
   * The next event is read, which lets its thread go. The reading word keeps all I/O from beginning: it may be another
   * thread's event.
   */
  READING: 7,
  /** It was: what it is about is announced now that it's known, before the reading word goes down. */
  ANNOUNCING_LATE: 8,
  /**
   * All are read. Pages go only after the reading, so discards stay pending until their threads have left their calls.
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
  /** The word by which the engine's thread says how a start stands (messages.ts). */
  readonly drain: Int32Array;
  /** See deferred-changes.ts. */
  readonly reading: Int32Array;
  /** The thread whose engines these are. */
  readonly ownTid: number;
  /** Threads whose calls on memory are the engine's own operations; 0: none yet. */
  readonly ourTids: Int32Array;
  readonly threads: ThreadCalls;
  readonly leases: LeaseClock;
  nowMs(): number;
  /** The oldest event, whose thread goes on by that; null if there is none. */
  next(): MemoryEvent | null;
  post(report: MonitorReport): void;
}

/**
 * All that the machine remembers from one step to the next: never changed, but replaced by the next. So a driver may
 * keep one and put it back.
 */
export interface MonitorState {
  readonly doing: number;
  /** Since when it looks for threads, or waits for an answer; and the next pause between two looks. */
  readonly sinceMs: number;
  readonly pauseMs: number;
  /** The threads that are served together; and those of them whose events weren't read yet. */
  readonly callers: readonly Caller[];
  readonly unread: readonly Caller[];
  /** They are in calls that have shown an event before: what these are about is kept away from already. */
  readonly again: boolean;
  /**
   * The start that drains for them, or 0; else what is announced of what they discard, or of all where no thread was
   * seen.
   */
  readonly start: number;
  readonly discarded: readonly SegmentChunks[];
  /** Chunks that are announced as unmapped, and those that events said are gone. */
  readonly unmapped: readonly SegmentChunks[];
  readonly gone: readonly Range[];
  /** Callers whose events were read: each tells when it has left its call. */
  readonly letGo: readonly Departure[];
  /** An event that none of them waited for, and what is announced of it. */
  readonly late: MemoryEvent | null;
  readonly lateChunks: readonly SegmentChunks[];
  /**
   * Chunks that lose their leases, and how many of them have been looked at; no chunks: leases go that are due at
   * `dueMs`.
   */
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
 * Field by field: to spread both takes five times as long, and the explorer does this for every one of the monitor's
 * steps.
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

  /** Begins to serve: an event is there to be read. */
  readable(): void {
    this.#begin(MONITOR.LOOKING, { sinceMs: this.#parts.nowMs(), pauseMs: FIRST_LOOK_MS });
  }

  /**
   * Begins to drop leases that are due at `dueMs` of the engine's clock. Returns when to tick next: Infinity while no
   * lease is held.
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

  /** Takes one step, and says when the next is due. Null: it's watching again. */
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

  /** Milliseconds until `look` is due again: ever more, until something new is pending. Null: nothing is pending. */
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
    // A thread that waits anew has left the call that it waited in before.
    this.look();
    // A call on memory in several mappings has an event for each, and the kernel may flush the processor's caches of
    // the first only after the last. I/O has been kept away from all of it since the first, so it is only read.
    const again = stillIn(this.state.pending, found);
    if (again.length > 0) return this.#beginReading({ callers: again, unread: again, again: true });
    const discards = this.#discardsOf(found);
    // The engine's own thread can't drain while it waits itself.
    if (discards.length === 0 || discards.some(({ tid }) => tid === ownTid))
      return this.#goTo(MONITOR.ANNOUNCING, { callers: found, unread: found });
    return this.#askToDrain(found, discards);
  }

  /** Calls that are about to discard memory, the engine's own operations left out (SELF_EVENT). */
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
    const stands = stateOf(word);
    if (stands === DRAIN.BEGUN) return this.#goTo(MONITOR.ANNOUNCING);
    if (stands === DRAIN.COVERED) return this.#goWithoutStart(start);
    const limitMs = stands === DRAIN.ASKED ? ANSWER_MS : stands === DRAIN.TURN ? TURN_MS : DRAIN_MS;
    const leftMs = sinceMs + limitMs - nowMs();
    if (leftMs <= 0) {
      const givenUp = drainWord(start, DRAIN.GIVEN_UP);
      // It may have been answered meanwhile.
      return Atomics.compareExchange(drain, 0, word, givenUp) === word ? this.#goWithoutStart(start) : AT_ONCE;
    }
    this.look();
    // What it waits for may be another discard, whose end only the monitor can see.
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
    if (discarded.length + unmapped.length === 0) return this.#beginReading({});
    return this.#goTo(MONITOR.CLAIMING, { discarded, unmapped, losing: [...discarded, ...unmapped] });
  }

  /** Announces everywhere before any lease goes: whoever takes one meanwhile sees that, or its lease is seen here. */
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
    if (callers.length > 0) return this.#beginReading({ losing: [], looked: 0 });
    return this.#watch();
  }

  // READING

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
    // It can't be seen any more whose it was, since that thread goes on.
    if (caller === undefined) return this.#goTo(MONITOR.ANNOUNCING_LATE, { late: event });
    const left = unread.filter((other) => other !== caller);
    return this.#goTo(left.length > 0 ? MONITOR.READING : MONITOR.READ, {
      unread: left,
      letGo: [...letGo, departureOf(this.#parts.threads, caller, this.segments.hasMore(caller, event))],
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
    const { lateChunks, unread, pending } = this.state;
    if (late.kind === "unmap") this.#reportGone([late], lateChunks);
    // Which thread's departure to look for isn't known.
    const untilMs = this.#parts.nowMs() + UNSEEN_MS;
    const discard = { departures: [], untilMs, start: 0, announced: lateChunks };
    return this.#goTo(unread.length > 0 ? MONITOR.READING : MONITOR.READ, {
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
    // Threads without an event didn't wait for the monitor after all, or don't any more.
    const left = [...letGo, ...unread.map((caller) => departureOf(threads, caller, false))];
    if (again) this.#watch(withLater(pending, left));
    else {
      this.#reportGone(gone, unmapped);
      const discards = this.#discardsOf(callers);
      // The engine's thread does nothing until it has left its call.
      const departures = left.filter(({ caller }) => caller.tid !== ownTid && discards.includes(caller));
      const isPending = start > 0 || discarded.length > 0;
      this.#watch(isPending ? [...pending, { departures, untilMs: 0, start, announced: discarded }] : pending);
    }
    this.#lookMs = 0;
    this.look();
    return null;
  }

  #watch(pending: readonly PendingDiscard[] = this.state.pending): null {
    this.state = next(FIRST, MONITOR.WATCHING, { pending });
    return null;
  }

  /** Reports what was unmapped: it stays announced until the engine keeps everything away from there. */
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
