/**
 * The monitor's main business: other code of this process changes memory, and waits until its event has been read. In turn: who waits, and
 * on what (before reading, which lets the caller go)? Have it drained, or else announced. Read. Then watch until the caller has left its
 * call, for the pages go only after the reading.
 *
 * Nothing in here maps or frees memory of an arena, or waits for anything that could wait for such a caller.
 */

import { announce, beginReading, type Chunks, endReading, settle } from "../core/announcements.js";
import { CHUNK_WORDS } from "../core/chunk-table.js";
import { alignDown, contains, overlaps, type Range } from "../core/ranges.js";
import { openReadiness } from "../linux/readiness.js";
import { type Caller, callers, Departure } from "../linux/thread-calls.js";
import { type MemoryEvent, Userfaultfd } from "../linux/userfaultfd.js";
import type { LeaseClock } from "./lease-clock.js";
import {
  ASKED,
  BEGUN,
  COVERED,
  drainWord,
  type FollowMessage,
  type FromMonitor,
  GIVEN_UP,
  type MonitorData,
  stateOf,
  TURN,
} from "./messages.js";

/** The event is there before its caller sleeps, and can be seen. */
const CALLER_PATIENCE_MS = 2;
/** An engine whose loop is busy can't drain. */
const ANSWER_MS = 5;
/** Somebody else's invalidation may last for as long as its program likes. */
const TURN_MS = 10;
/** Requests in flight: as long as the device takes, within reason. */
const DRAIN_MS = 1000;
/** Who discarded is unknown: it has left its call by then. Seen: 5 ms at worst. */
const UNKNOWN_MS = 50;
/** Looks at once, then each time after twice as long. */
const FIRST_LOOK_MS = 0.03;
const LAST_LOOK_MS = 1;

/** Discards whose events were read, until all their callers have left their calls. */
interface Settling {
  departures: Departure[];
  /** Where nobody is known whose departure could be seen. */
  readonly untilMs: number;
  readonly over: () => void;
}

export interface FollowerParts {
  readonly data: MonitorData;
  readonly leases: LeaseClock;
  post(message: FromMonitor): void;
  /** Does what the engine's thread has asked for meanwhile: the segments that it follows, above all. */
  obey(): void;
}

function isStillIn({ departures }: Settling, caller: Caller): boolean {
  return departures.some((departure) => departure.isStill(caller));
}

const pause = new Int32Array(new SharedArrayBuffer(4));

export class Follower {
  readonly #parts: FollowerParts;
  readonly #userfaultfd: Userfaultfd;
  readonly #arm: () => void;
  readonly #segments = new Map<number, FollowMessage>();
  #settling: Settling[] = [];
  #lookMs = 0;
  #looking = false;
  #lastStart = 0;

  private constructor(parts: FollowerParts, userfaultfd: Userfaultfd) {
    this.#parts = parts;
    this.#userfaultfd = userfaultfd;
    const arm = openReadiness(userfaultfd.fd, () => this.#readable());
    if (typeof arm === "number") throw new Error(`a userfaultfd can't be polled: errno ${-arm}`);
    this.#arm = arm;
    arm();
  }

  /** A follower, or -errno: no userfaultfd. */
  static open(parts: FollowerParts): Follower | number {
    const userfaultfd = Userfaultfd.open();
    return typeof userfaultfd === "number" ? userfaultfd : new Follower(parts, userfaultfd);
  }

  /** 0, or -errno. */
  follow(segment: FollowMessage): number {
    this.#segments.set(segment.id, segment);
    const errno = this.#userfaultfd.register(segment.range);
    if (errno < 0) this.#segments.delete(segment.id);
    return errno;
  }

  /** `pieces`: what is left of the segment. */
  unfollow(id: number, pieces: readonly Range[]): number {
    if (!this.#segments.delete(id)) return 0;
    let errno = 0;
    for (const piece of pieces) errno = Math.min(errno, this.#userfaultfd.unregister(piece));
    return errno;
  }

  #readable(): void {
    this.#parts.obey();
    const waiting = this.#waiting();
    if (waiting.length > 0) this.#serve(waiting);
    else this.#serveUnknown();
    this.#arm();
    this.#lookSoon();
  }

  /** Everybody who waits for us, as soon as it's anybody. */
  #waiting(): Caller[] {
    const begin = performance.now();
    for (let sleepMs = FIRST_LOOK_MS; ; sleepMs *= 2) {
      const found = callers().filter(({ ranges }) => ranges.some((range) => this.#concerns(range)));
      if (found.length > 0 || performance.now() - begin > CALLER_PATIENCE_MS) return found;
      Atomics.wait(pause, 0, 0, sleepMs);
    }
  }

  #concerns(range: Range): boolean {
    for (const segment of this.#segments.values()) if (overlaps(segment.range, range)) return true;
    return false;
  }

  #serve(waiting: readonly Caller[]): void {
    // Whoever waits anew has left the call that it waited in before.
    this.#look();
    const again = waiting.filter((caller) => this.#settling.some((each) => isStillIn(each, caller)));
    if (again.length > 0) this.#goOn(again);
    else this.#begin(waiting);
    this.#lookMs = 0;
    this.#look();
  }

  /**
   * Calls on memory in several mappings have an event for each, and the kernel may flush the processor's caches of the first only after
   * the last. All of it is kept away from since the first, so there's nothing to be done but to read.
   */
  #goOn(callers: readonly Caller[]): void {
    const { departures } = this.#read(callers);
    for (const each of this.#settling) {
      each.departures = each.departures.map((old) => {
        const i = callers.findIndex((caller) => old.isStill(caller));
        return departures.find(({ caller }) => caller === callers[i])?.departure ?? old;
      });
    }
  }

  #begin(waiting: readonly Caller[]): void {
    const { ownTid, ourTids } = this.#parts.data;
    const ours = (tid: number): boolean => ourTids.some((_, i) => Atomics.load(ourTids, i) === tid);
    const removing = waiting.filter(({ kind, tid }) => kind === "remove" && !ours(tid));
    const unmapping = waiting.filter(({ kind }) => kind === "unmap");
    // The engine's own thread can't drain while it waits itself.
    const own = removing.some(({ tid }) => tid === ownTid);
    const rangesOf = (some: readonly Caller[]): Range[] => some.flatMap(({ ranges }) => ranges);
    const start = removing.length > 0 && !own ? this.#drain(rangesOf(removing)) : 0;
    const removed = start > 0 ? [] : this.#announce(rangesOf(removing));
    const unmapped = this.#announce(rangesOf(unmapping));
    const { gone, departures } = this.#read(waiting);
    this.#buried(gone, unmapped);
    if (removing.length === 0) return;
    this.#settling.push({
      // The engine's thread does nothing until it has left its call.
      departures: departures
        .filter(({ caller }) => removing.includes(caller) && caller.tid !== ownTid)
        .map(({ departure }) => departure),
      untilMs: 0,
      over: () => {
        if (start > 0) this.#parts.post({ kind: "end", id: start });
        else this.#over(removed);
      },
    });
  }

  /** Reads the events of all who wait, which lets them go: what was unmapped, and how to see that they have left their calls. */
  #read(waiting: readonly Caller[]): { gone: Range[]; departures: { caller: Caller; departure: Departure }[] } {
    const { reading } = this.#parts.data;
    beginReading(reading);
    const read = this.#readOf(waiting);
    if (endReading(reading)) this.#parts.post({ kind: "settled" });
    return read;
  }

  #readOf(waiting: readonly Caller[]): { gone: Range[]; departures: { caller: Caller; departure: Departure }[] } {
    const left = [...waiting];
    const gone: Range[] = [];
    const departures: { caller: Caller; departure: Departure }[] = [];
    while (left.length > 0) {
      const event = this.#userfaultfd.next();
      if (event === null) break;
      const whose = left.findIndex(
        ({ kind, ranges }) => kind === event.kind && ranges.some((range) => contains(range, event)),
      );
      if (whose < 0) {
        // Somebody's who began to wait before the others, and couldn't be seen yet. Its thread goes on, while nothing of ours begins.
        this.#late(event);
        continue;
      }
      const [caller] = left.splice(whose, 1) as [Caller];
      departures.push({ caller, departure: new Departure(caller, this.#hasMore(caller, event)) });
      if (event.kind === "unmap") gone.push(event);
    }
    // Nobody of these waited for us after all, or not any more.
    for (const caller of left) departures.push({ caller, departure: new Departure(caller, false) });
    return { gone, departures };
  }

  /** Whether the call is about more of what's followed than this event has come to. */
  #hasMore({ ranges }: Caller, event: MemoryEvent): boolean {
    const last = [...ranges].reverse().find((range) => this.#concerns(range));
    if (last === undefined) return false;
    const ends = [...this.#segments.values()].map(({ range }) => range).filter((range) => overlaps(range, last));
    return event.end !== Math.min(last.end, Math.max(...ends.map(({ end }) => end)));
  }

  /** Nobody could be seen who waits, so it may be about anything: all is announced until it's known. */
  #serveUnknown(): void {
    const everything = this.#chunksOf([...this.#segments.values()].map(({ range }) => range));
    for (const chunks of everything) announce(chunks);
    const event = this.#userfaultfd.next();
    if (event !== null) this.#late(event);
    this.#over(everything);
  }

  #late(event: MemoryEvent): void {
    const announced = this.#announce([event]);
    if (event.kind === "unmap") this.#buried([event], announced);
    else {
      const untilMs = performance.now() + UNKNOWN_MS;
      this.#settling.push({ departures: [], untilMs, over: () => this.#over(announced) });
    }
  }

  #buried(gone: readonly Range[], announced: readonly Chunks[]): void {
    if (gone.length === 0) {
      this.#over(announced);
      return;
    }
    // The engine settles it, once it keeps everything away from there.
    gone.forEach((range, i) => {
      const { start, end } = range;
      this.#parts.post({ kind: "unmapped", gone: { start, end }, announced: i === gone.length - 1 ? announced : [] });
    });
  }

  /** Nothing begins on these chunks until it's over, and their leases go. */
  #announce(ranges: readonly Range[]): Chunks[] {
    const all = this.#chunksOf(ranges);
    // Everywhere first: whoever takes a lease meanwhile sees this, or its lease is seen here.
    for (const chunks of all) announce(chunks);
    for (const { watched, ...chunks } of all) this.#parts.leases.dropLeasesOf(watched, chunks);
    return all.map(({ words, first, last }) => ({ words, first, last }));
  }

  #chunksOf(ranges: readonly Range[]): (Chunks & { watched: number })[] {
    return [...this.#segments.values()].flatMap(({ range: whole, chunkBytes, words, watched }) =>
      ranges
        .filter((range) => overlaps(range, whole))
        .map(({ start, end }) => ({
          words,
          watched,
          first: Math.max(0, alignDown(start - whole.start, chunkBytes) / chunkBytes),
          last: Math.min(words.length / CHUNK_WORDS, Math.ceil((end - whole.start) / chunkBytes)) - 1,
        })),
    );
  }

  #over(announced: readonly Chunks[]): void {
    if (announced.length === 0) return;
    for (const chunks of announced) settle(chunks);
    this.#parts.post({ kind: "settled" });
  }

  /** Has the engine stop and drain these ranges. Returns the number of the start, to be ended; or 0 where that can't be. */
  #drain(ranges: readonly Range[]): number {
    const { drain } = this.#parts.data;
    const id = ++this.#lastStart;
    Atomics.store(drain, 0, drainWord(id, ASKED));
    this.#parts.post({ kind: "start", id, ranges });
    const begin = performance.now();
    for (;;) {
      const word = Atomics.load(drain, 0);
      const state = stateOf(word);
      if (state === BEGUN) return id;
      if (state === COVERED) {
        this.#parts.post({ kind: "end", id });
        return 0;
      }
      const limitMs = state === ASKED ? ANSWER_MS : state === TURN ? TURN_MS : DRAIN_MS;
      const leftMs = begin + limitMs - performance.now();
      if (leftMs <= 0) {
        if (Atomics.compareExchange(drain, 0, word, drainWord(id, GIVEN_UP)) !== word) continue;
        this.#parts.post({ kind: "end", id });
        return 0;
      }
      // What it waits for may be another discard, which only we can see the end of.
      Atomics.wait(drain, 0, word, this.#settling.length > 0 ? Math.min(leftMs, FIRST_LOOK_MS * 4) : leftMs);
      this.#look();
    }
  }

  /** Ends what all callers have left. */
  #look(): void {
    const settling = this.#settling;
    if (settling.length === 0) return;
    const nowMs = performance.now();
    this.#settling = [];
    for (const each of settling) {
      each.departures = each.departures.filter((departure) => !departure.hasLeft);
      if (each.departures.length > 0 || nowMs < each.untilMs) this.#settling.push(each);
      else each.over();
    }
  }

  /** Looks again and again, ever more rarely, while anything settles. */
  #lookSoon(): void {
    if (this.#looking || this.#settling.length === 0) return;
    this.#looking = true;
    const again = (): void => {
      this.#looking = false;
      this.#look();
      this.#lookSoon();
    };
    if (this.#lookMs >= LAST_LOOK_MS) {
      setTimeout(again, LAST_LOOK_MS);
      return;
    }
    if (this.#lookMs > 0) Atomics.wait(pause, 0, 0, this.#lookMs);
    this.#lookMs = this.#lookMs === 0 ? FIRST_LOOK_MS : 2 * this.#lookMs;
    setImmediate(again);
  }
}
