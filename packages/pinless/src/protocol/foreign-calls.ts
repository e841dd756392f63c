/**
 * Foreign calls: the engine's side of the monitor. Other code of the process is about to discard a range, and the
 * kernel makes its call wait for the monitor. The call becomes an invalidation, from before the pages go until the
 * thread has left the call. If the range can't be drained in time, or the call was seen too late, the monitor announces
 * the change instead (monitor/deferred-changes.ts).
 */

import type { AttachedEngines } from "./attached-engines.js";
import type { ChunkTable } from "./chunk-table.js";
import type { Dispatcher } from "./dispatcher.js";
import type { Gate } from "./gate.js";
import { announce, conclude, takeOver } from "./monitor/deferred-changes.js";
import type { Invalidation, MmuNotifier } from "./notifier.js";
import { alignOut, contains, intersect, overlaps, type Range } from "./ranges/ranges.js";
import type { Loop } from "./scheme.js";

/** State of a start. `covered`: all of it is inside an invalidation by the program, so nothing is left to drain. */
export type StartState = "turn" | "draining" | "begun" | "covered";

export interface ForeignEvents {
  /** Counts a call that was made to wait for I/O, for `waitedMs`. */
  counted?(waitedMs: number): void;
  /** Takes memory that other code has unmapped out of use. */
  unmapped?(gone: Range): void;
}

/** Receiver of what the monitor says, for traces. It changes nothing. */
export interface ForeignObserver {
  callStarted(id: number, ranges: readonly Range[]): void;
  callEnded(id: number): void;
  /** Takes anything else, in words. */
  monitorSaid(what: string): void;
}

export interface ForeignCallsParts {
  readonly notifier: MmuNotifier;
  readonly gate: Gate;
  readonly dispatcher: Dispatcher;
  readonly loop: Loop;
  readonly attached: AttachedEngines;
  readonly events: ForeignEvents;
  readonly observer: ForeignObserver | null;
}

export class ForeignCalls {
  readonly #notifier: MmuNotifier;
  readonly #gate: Gate;
  readonly #dispatcher: Dispatcher;
  readonly #loop: Loop;
  readonly #attached: AttachedEngines;
  readonly #events: ForeignEvents;
  readonly #observer: ForeignObserver | null;
  /** Tables of the segments that are followed. */
  private readonly tables = new Set<ChunkTable>();
  /** Starts by the monitor's number, until they're ended. */
  private readonly starts = new Map<number, Start>();
  /** Tables whose chunks are all announced, since a monitor has ended. */
  private readonly takenOver = new Set<ChunkTable>();
  /** Invalidations that began after the monitor had given up their start. */
  private late: Invalidation[] = [];

  constructor({ notifier, gate, dispatcher, loop, attached, events, observer }: ForeignCallsParts) {
    this.#notifier = notifier;
    this.#gate = gate;
    this.#dispatcher = dispatcher;
    this.#loop = loop;
    this.#attached = attached;
    this.#events = events;
    this.#observer = observer;
  }

  follow(table: ChunkTable): void {
    this.tables.add(table);
  }

  unfollow(table: ChunkTable): void {
    this.tables.delete(table);
  }

  /** Drains the chunks that `ranges` meet. `ready` is called once all of them are drained, now or later. */
  start(id: number, ranges: readonly Range[], ready: () => void): StartState {
    const parts = [...this.tables].flatMap((table) =>
      ranges
        .filter((range) => overlaps(range, table.range))
        .map((range) => alignOut(intersect(range, table.range), table.chunkBytes)),
    );
    this.#observer?.callStarted(id, parts);
    if (parts.length > 0 && parts.every((part) => this.#isCovered(part))) return "covered";
    // Starts at 1, so that it can't reach zero before the last range's invalidation has been started.
    const start: Start = { left: 1, beganMs: this.#loop.preciseMs(), ready, invalidations: [], orphaned: false };
    this.starts.set(id, start);
    for (const part of disjoint(parts)) {
      start.left++;
      const invalidation: Invalidation = this.#notifier.invalidateRangeStart(part, "CLEAR", {
        ready: () => {
          const current = this.starts.get(id);
          if (current !== undefined) this.#count(current);
          else this.#endSoon(invalidation);
        },
      });
      start.invalidations.push(invalidation);
    }
    this.#count(start);
    this.#dispatcher.nudge();
    if (start.invalidations.some(({ state }) => state === "waiting")) return "turn";
    return start.left > 0 ? "draining" : "begun";
  }

  /** Ends an invalidation in a microtask: it has begun only now, and its start was given up before. */
  #endSoon(invalidation: Invalidation): void {
    this.late.push(invalidation);
    this.#loop.microtask(this.#endLate);
  }

  readonly #endLate = (): void => this.#endOne(this.late.shift()!);

  #count(start: Start): void {
    if (--start.left > 0) return;
    this.#events.counted?.(this.#loop.preciseMs() - start.beganMs);
    start.ready();
  }

  #isCovered(part: Range): boolean {
    return this.#notifier
      .on(part)
      .some((other) => other.state === "begun" && contains(other.range, part) && !this.#isOurs(other));
  }

  #isOurs(invalidation: Invalidation): boolean {
    for (const { invalidations } of this.starts.values()) if (invalidations.includes(invalidation)) return true;
    return false;
  }

  /** True if no part of a start waits any more, or there's no such start here. */
  isBegun(id: number): boolean {
    return (this.starts.get(id)?.left ?? 0) === 0;
  }

  /** Ends a start: its callers have left their calls, or the monitor has given it up. */
  end(id: number): void {
    this.#observer?.callEnded(id);
    const start = this.starts.get(id);
    if (start === undefined) return;
    this.starts.delete(id);
    for (const invalidation of start.invalidations) this.#endOne(invalidation);
  }

  #endOne(invalidation: Invalidation): void {
    if (invalidation.state !== "begun") return;
    this.#notifier.invalidateRangeEnd(invalidation);
    this.#dispatcher.nudge();
  }

  /** Notes that the monitor has concluded an announced change. */
  concluded(): void {
    this.#observer?.monitorSaid("an announced change is over");
    this.#dispatcher.concluded();
    this.#attached.concluded();
  }

  /** Notes that other code has unmapped a range, which no request may touch from here on. */
  unmapped(gone: Range): void {
    this.#observer?.monitorSaid("memory was unmapped");
    this.#gate.markUnmapped(gone);
    this.#attached.unmapped(gone);
    this.#events.unmapped?.(gone);
  }

  /**
   * Announces a change of every chunk until `lossIsOver`: the monitor has ended, which lets its callers continue, with
   * calls on unknown memory. So all leases are dropped, and device writes in flight are issued again.
   */
  monitorEnded(): void {
    this.#observer?.monitorSaid("the monitor has ended");
    for (const start of this.starts.values()) start.orphaned = true;
    for (const table of this.tables) {
      takeOver(table.words);
      this.takenOver.add(table);
    }
    this.#dispatcher.dropLeases();
  }

  /**
   * Announces a change of every chunk, because the monitor follows again and may have missed calls. In contrast to
   * `monitorEnded`, all that it has begun and announced goes on.
   */
  callsMissed(): void {
    this.#observer?.monitorSaid("calls may have been missed");
    for (const table of this.tables) {
      if (this.takenOver.has(table)) continue;
      announce({ words: table.words, first: 0, last: table.chunks - 1 });
      this.takenOver.add(table);
    }
    this.#dispatcher.dropLeases();
  }

  /**
   * Ends what a monitor that has ended had begun or announced: the threads that its end let go must have left their
   * calls by now. What the next monitor has begun or announced meanwhile goes on.
   */
  lossIsOver(): void {
    for (const [id, { orphaned }] of [...this.starts]) if (orphaned) this.end(id);
    for (const { words, chunks } of this.takenOver) conclude({ words, first: 0, last: chunks - 1 });
    this.takenOver.clear();
    this.#dispatcher.concluded();
    this.#attached.concluded();
  }
}

/** A start that the monitor has asked for. */
interface Start {
  /** Invalidations that haven't begun. */
  left: number;
  readonly beganMs: number;
  readonly ready: () => void;
  readonly invalidations: Invalidation[];
  /** True once the monitor that has asked for it has ended. */
  orphaned: boolean;
}

/** Merges ranges of whole chunks: two invalidations of one start on the same chunk would wait for each other. */
function disjoint(ranges: readonly Range[]): Range[] {
  const sorted = [...ranges].sort((a, b) => a.start - b.start);
  const merged: Range[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && range.start <= last.end)
      merged[merged.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
    else merged.push(range);
  }
  return merged;
}
