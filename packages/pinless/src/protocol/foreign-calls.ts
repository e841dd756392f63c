/**
 * The engine's side of the monitor: other code of the process is about to discard a range, and waits. Its call is made
 * an invalidation like any of our own, from before the pages go until the caller has left the call. What can't be
 * drained in time, and what is only known afterwards, comes as an announcement (deferred-changes.ts).
 */

import type { ChunkTable } from "./chunk-table.js";
import type { Dispatcher } from "./dispatcher.js";
import type { Gate } from "./gate.js";
import { announce, conclude, takeOver } from "./monitor/deferred-changes.js";
import type { Invalidation, MmuNotifier } from "./notifier.js";
import { alignOut, contains, intersect, overlaps, type Range } from "./ranges/ranges.js";
import type { Loop } from "./scheme.js";

/**
 * State of a start. `covered`: the range is inside an invalidation that this engine has begun, so there is nothing left
 * to drain.
 */
export type Standing = "turn" | "draining" | "begun" | "covered";

export interface ForeignEvents {
  /** A call was made to wait, for so long. */
  counted?(waitedMs: number): void;
  /** Memory isn't the engine's any more. */
  buried?(gone: Range): void;
}

export interface ForeignCallsParts {
  readonly notifier: MmuNotifier;
  readonly gate: Gate;
  readonly dispatcher: Dispatcher;
  readonly loop: Loop;
  readonly events: ForeignEvents;
}

export class ForeignCalls {
  readonly #notifier: MmuNotifier;
  readonly #gate: Gate;
  readonly #dispatcher: Dispatcher;
  readonly #loop: Loop;
  readonly #events: ForeignEvents;
  /** Tables of the segments that are followed. */
  private readonly tables = new Set<ChunkTable>();
  /** By the monitor's number, until it's ended. */
  private readonly starts = new Map<number, Start>();
  /** Tables whose chunks are all announced, since a monitor has ended. */
  private readonly takenOver = new Set<ChunkTable>();
  /** Begun only after their start was ended. */
  private late: Invalidation[] = [];

  constructor({ notifier, gate, dispatcher, loop, events }: ForeignCallsParts) {
    this.#notifier = notifier;
    this.#gate = gate;
    this.#dispatcher = dispatcher;
    this.#loop = loop;
    this.#events = events;
  }

  follow(table: ChunkTable): void {
    this.tables.add(table);
  }

  unfollow(table: ChunkTable): void {
    this.tables.delete(table);
  }

  /** Drains what of `ranges` is ours. `ready` is called when all of it is begun, now or later. */
  start(id: number, ranges: readonly Range[], ready: () => void): Standing {
    const parts = [...this.tables].flatMap((table) =>
      ranges
        .filter((range) => overlaps(range, table.range))
        .map((range) => alignOut(intersect(range, table.range), table.chunkBytes)),
    );
    if (parts.length > 0 && parts.every((part) => this.#isCovered(part))) return "covered";
    // One too many until all are asked.
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

  /** Ends an invalidation soon: one that was given up while it waited for its turn hears of it only now. */
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

  /** The callers have left their calls; or nobody waits for this start any more. */
  end(id: number): void {
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

  /** An announcement is over. */
  concluded(): void {
    this.#dispatcher.concluded();
  }

  /** Other code has unmapped a range: nothing of ours touches it from here on. */
  unmapped(gone: Range): void {
    this.#gate.bury(gone);
    this.#events.buried?.(gone);
  }

  /**
   * The monitor has ended, which lets everybody go who waited for it, and nobody can say any more on what: all is
   * announced, until `lost`. Nothing that was found before their pages go is used again: leases go, and device writes
   * in flight come again.
   */
  ended(): void {
    for (const start of this.starts.values()) start.orphaned = true;
    for (const table of this.tables) {
      takeOver(table.words);
      this.takenOver.add(table);
    }
    this.#dispatcher.dropLeases();
  }

  /**
   * The monitor follows again, and may have missed calls before: as `ended`, but all that it has begun and announced
   * goes on.
   */
  missed(): void {
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
  lost(): void {
    for (const [id, { orphaned }] of [...this.starts]) if (orphaned) this.end(id);
    for (const { words, chunks } of this.takenOver) conclude({ words, first: 0, last: chunks - 1 });
    this.takenOver.clear();
    this.#dispatcher.concluded();
  }
}

/** A start that the monitor has asked for. */
interface Start {
  /** Invalidations that haven't begun. */
  left: number;
  readonly beganMs: number;
  readonly ready: () => void;
  readonly invalidations: Invalidation[];
  /** The monitor that has asked for it has ended. */
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
