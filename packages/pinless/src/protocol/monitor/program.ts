/**
 * The monitor's main business: other code of this process changes memory, and waits until its event has been read. In turn: who waits, and
 * on what (before reading, which lets the caller go)? Have it drained, or else announced. Read. Then watch until the caller has left its
 * call, for the pages go only after the reading.
 *
 * Nothing in here maps or frees memory of an arena, or waits for anything that could wait for such a caller.
 */

import { CHUNK_WORDS } from "../chunk-table.js";
import { alignDown, contains, overlaps, type Range } from "../ranges/ranges.js";
import { type Caller, Departure, type MemoryEvent, type ThreadCalls, UNSEEN_MS } from "./caller-tracking.js";
import { GO_ON, pause, type Steps } from "./coroutine.js";
import {
  announce,
  announceUnmap,
  beginReading,
  type Chunks,
  endReading,
  settle,
  unmapHeard,
} from "./deferred-changes.js";
import type { LeaseClock } from "./lease-clock.js";
import {
  ASKED,
  BEGUN,
  COVERED,
  drainWord,
  type FollowedSegment,
  GIVEN_UP,
  type MonitorReport,
  stateOf,
  TURN,
} from "./messages.js";
import { FIRST_LOOK_MS, type LetGo, Settlings } from "./pending-discards.js";

/** The event is there before its caller sleeps, and can be seen. */
const CALLER_PATIENCE_MS = 2;
/** An engine whose loop is busy can't drain. */
const ANSWER_MS = 5;
/** Somebody else's invalidation may last for as long as its program likes. */
const TURN_MS = 10;
/** Requests in flight: as long as the device takes, within reason. */
const DRAIN_MS = 1000;

export interface MonitorParts {
  /** The word by which the engine's thread says how a start stands (monitor-messages.ts). */
  readonly drain: Int32Array;
  /** See announcements.ts. */
  readonly reading: Int32Array;
  /** Of the thread whose engines these are. */
  readonly ownTid: number;
  /** Threads whose calls on memory are ours; 0: none yet. */
  readonly ourTids: Int32Array;
  readonly threads: ThreadCalls;
  readonly leases: LeaseClock;
  nowMs(): number;
  /** The oldest event, whose caller goes on by that; null if there is none. */
  next(): MemoryEvent | null;
  post(report: MonitorReport): void;
}

/** What came of reading the events of all who waited. */
interface Read {
  /** What was unmapped. */
  readonly gone: Range[];
  readonly letGo: LetGo[];
}

export class MonitorProgram {
  readonly #parts: MonitorParts;
  readonly #segments = new Map<number, FollowedSegment>();
  readonly #settlings = new Settlings();
  #lastStart = 0;

  constructor(parts: MonitorParts) {
    this.#parts = parts;
  }

  follow(segment: FollowedSegment): void {
    this.#segments.set(segment.id, segment);
  }

  /** False if it isn't followed. */
  unfollow(id: number): boolean {
    return this.#segments.delete(id);
  }

  /** There is an event to be read. */
  *serve(): Steps {
    const waiting = yield* this.#waiting();
    if (waiting.length > 0) yield* this.#serveAll(waiting);
    else yield* this.#serveUnknown();
  }

  /** Ends what all callers have left. */
  look(): void {
    this.#settlings.look(this.#parts.nowMs());
  }

  /** How long until `look` is due again; null while nothing settles. */
  nextLookMs(): number | null {
    return this.#settlings.nextLookMs();
  }

  /** Everybody who waits for us, as soon as it's anybody. */
  *#waiting(): Steps<Caller[]> {
    const begin = this.#parts.nowMs();
    for (let sleepMs = FIRST_LOOK_MS; ; sleepMs *= 2) {
      const found = this.#parts.threads.callers().filter(({ ranges }) => ranges.some((range) => this.#concerns(range)));
      if (found.length > 0 || this.#parts.nowMs() - begin > CALLER_PATIENCE_MS) return found;
      yield pause(sleepMs);
    }
  }

  #concerns(range: Range): boolean {
    for (const segment of this.#segments.values()) if (overlaps(segment.range, range)) return true;
    return false;
  }

  *#serveAll(waiting: readonly Caller[]): Steps {
    // Whoever waits anew has left the call that it waited in before.
    this.look();
    const again = this.#settlings.stillIn(waiting);
    // Calls on memory in several mappings have an event for each, and the kernel may flush the processor's caches of the first only after
    // the last. All of it is kept away from since the first, so there's nothing to be done but to read.
    if (again.length > 0) this.#settlings.goOn((yield* this.#read(again)).letGo);
    else yield* this.#begin(waiting);
    this.#settlings.lookOften();
    this.look();
  }

  *#begin(waiting: readonly Caller[]): Steps {
    const { ownTid, ourTids } = this.#parts;
    const ours = (tid: number): boolean => ourTids.some((_, i) => Atomics.load(ourTids, i) === tid);
    const removing = waiting.filter(({ kind, tid }) => kind === "remove" && !ours(tid));
    const unmapping = waiting.filter(({ kind }) => kind === "unmap");
    // The engine's own thread can't drain while it waits itself.
    const own = removing.some(({ tid }) => tid === ownTid);
    const rangesOf = (some: readonly Caller[]): Range[] => some.flatMap(({ ranges }) => ranges);
    const start = removing.length > 0 && !own ? yield* this.#drain(rangesOf(removing)) : 0;
    const removed = start > 0 ? [] : yield* this.#announce(rangesOf(removing));
    const unmapped = yield* this.#announce(rangesOf(unmapping), true);
    const { gone, letGo } = yield* this.#read(waiting);
    this.#buried(gone, unmapped);
    if (removing.length === 0) return;
    this.#settlings.add({
      // The engine's thread does nothing until it has left its call.
      departures: letGo
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
  *#read(waiting: readonly Caller[]): Steps<Read> {
    const { reading } = this.#parts;
    beginReading(reading);
    yield GO_ON;
    const read = yield* this.#readOf(waiting);
    if (endReading(reading)) this.#parts.post({ kind: "settled" });
    return read;
  }

  *#readOf(waiting: readonly Caller[]): Steps<Read> {
    const { threads } = this.#parts;
    const left = [...waiting];
    const gone: Range[] = [];
    const letGo: LetGo[] = [];
    while (left.length > 0) {
      const event = this.#parts.next();
      if (event === null) break;
      yield GO_ON;
      const whose = left.findIndex(
        ({ kind, ranges }) => kind === event.kind && ranges.some((range) => contains(range, event)),
      );
      if (whose < 0) {
        // Somebody's who began to wait before the others, and couldn't be seen yet. Its thread goes on, while nothing of ours begins.
        yield* this.#late(event);
        continue;
      }
      const [caller] = left.splice(whose, 1) as [Caller];
      letGo.push({ caller, departure: new Departure(threads, caller, this.#hasMore(caller, event)) });
      if (event.kind === "unmap") gone.push(event);
    }
    // Nobody of these waited for us after all, or not any more.
    for (const caller of left) letGo.push({ caller, departure: new Departure(threads, caller, false) });
    return { gone, letGo };
  }

  /** Whether the call is about more of what's followed than this event has come to. */
  #hasMore({ ranges }: Caller, event: MemoryEvent): boolean {
    const last = [...ranges].reverse().find((range) => this.#concerns(range));
    if (last === undefined) return false;
    const ends = [...this.#segments.values()].map(({ range }) => range).filter((range) => overlaps(range, last));
    return event.end !== Math.min(last.end, Math.max(...ends.map(({ end }) => end)));
  }

  /** Nobody could be seen who waits, so it may be about anything: all is announced until it's known. */
  *#serveUnknown(): Steps {
    const { reading } = this.#parts;
    const everything = this.#chunksOf([...this.#segments.values()].map(({ range }) => range));
    for (const chunks of everything) announce(chunks);
    beginReading(reading);
    yield GO_ON;
    const event = this.#parts.next();
    yield GO_ON;
    if (event !== null) yield* this.#late(event);
    if (endReading(reading)) this.#parts.post({ kind: "settled" });
    this.#over(everything);
  }

  *#late(event: MemoryEvent): Steps {
    const announced = yield* this.#announce([event], event.kind === "unmap");
    if (event.kind === "unmap") this.#buried([event], announced);
    else {
      const untilMs = this.#parts.nowMs() + UNSEEN_MS;
      this.#settlings.add({ departures: [], untilMs, over: () => this.#over(announced) });
    }
  }

  #buried(gone: readonly Range[], announced: readonly Chunks[]): void {
    if (gone.length === 0) {
      for (const chunks of announced) unmapHeard(chunks);
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
  *#announce(ranges: readonly Range[], unmaps = false): Steps<Chunks[]> {
    const all = this.#chunksOf(ranges);
    // Everywhere first: whoever takes a lease meanwhile sees this, or its lease is seen here.
    for (const chunks of all) {
      announce(chunks);
      if (unmaps) announceUnmap(chunks);
    }
    for (const { watched, ...chunks } of all) {
      yield GO_ON;
      yield* this.#parts.leases.dropLeasesOf(watched, chunks);
    }
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

  /** Has the engine stop and drain these ranges. Comes to the number of the start, to be ended; or 0 where that can't be. */
  *#drain(ranges: readonly Range[]): Steps<number> {
    const { drain } = this.#parts;
    const id = ++this.#lastStart;
    Atomics.store(drain, 0, drainWord(id, ASKED));
    this.#parts.post({ kind: "start", id, ranges });
    const begin = this.#parts.nowMs();
    for (;;) {
      const word = Atomics.load(drain, 0);
      const state = stateOf(word);
      if (state === BEGUN) return id;
      if (state === COVERED) {
        this.#parts.post({ kind: "end", id });
        return 0;
      }
      const limitMs = state === ASKED ? ANSWER_MS : state === TURN ? TURN_MS : DRAIN_MS;
      const leftMs = begin + limitMs - this.#parts.nowMs();
      if (leftMs <= 0) {
        if (Atomics.compareExchange(drain, 0, word, drainWord(id, GIVEN_UP)) !== word) continue;
        this.#parts.post({ kind: "end", id });
        return 0;
      }
      // What it waits for may be another discard, which only we can see the end of.
      yield { ms: this.#settlings.isEmpty ? leftMs : Math.min(leftMs, FIRST_LOOK_MS * 4), whileWord: word };
      this.look();
    }
  }
}
