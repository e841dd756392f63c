/**
 * The state of everything but the engine and the machine: one flat Int32Array, so that a state of the whole is words
 * that can be copied, compared and hashed. This file says what lies where.
 */

import type { Scenario } from "./scenario.js";

/** Single words. */
export const TIME_MS = 0;
/** The scheme sleeps until something ends; it's to be woken. */
export const ARMED = 1;
export const WAKE = 2;
export const ALIVE = 3;
/** Words that count the events that may still happen, by kind. */
export const RECLAIMS = 4;
export const MIGRATIONS = 5;
export const EIOS = 6;
export const SHORTS = 7;
export const REFUSALS = 8;
export const TICKS = 9;
export const STALLS = 10;
export const CANCELS = 11;
/** The engine's clock hasn't looked since time went on. */
export const STALLED = 12;
/** The monitor's state, by a number (explored-monitor.ts). */
export const MONITOR = 13;
/** The words that it shares with the engine's thread: how its start stands (protocol/monitor/messages.ts), */
export const DRAIN = 14;
/** and that events are being read (protocol/monitor/deferred-changes.ts). */
export const READING = 15;
/** The engine's own thread is in a foreign call, + 1. */
export const BLOCKED = 16;
/**
 * The invalidation (+ 1) whose operation our memory thread waits in until the monitor has read of it; negative: it has.
 */
export const OPERATING = 17;
export const LATE_ENDS = 18;
export const REFUSED_SUBMISSIONS = 19;
/**
 * Times that the monitor's thread may still end, and another follow in its place; and the stage of such a loss
 * (explored-monitor.ts).
 */
export const LOSSES = 20;
export const RESTARTS = 21;
export const LOST = 22;
const FIRST_TABLE = 23;

/** Words of a request. */
export const R_STATUS = 0;
/** 1: the pages that it went to were taken away meanwhile; 2: nobody could know of it yet. */
export const R_LOST = 1;
/** Times that the request was handed to the kernel, and that it began there. */
export const R_PREPARED = 2;
export const R_BEGUN = 3;
export const R_CANCELLED = 4;
/** The engine's slot that it's in the kernel by, + 1. */
export const R_SLOT = 5;
export const R_WORDS = 6;

/** R_STATUS. */
export const NOT_YET = 0;
export const ACCEPTED = 1;
export const ANSWERED = 2;

/** Words of an invalidation, the program's first, then the monitor's starts. */
export const I_STATE = 0;
export const I_DRAINING = 1;
export const I_READY = 2;
export const I_WORDS = 3;

/** I_STATE. */
export const NOT_STARTED = 0;
export const WAITING = 1;
export const DRAINING = 2;
export const BEGUN = 3;
export const ENDED = 4;
/** One that may not wait, and couldn't begin. */
export const REFUSED = 5;

/** Words of a foreign call. */
export const F_STATE = 0;
export const F_WORDS = 1;

/** F_STATE. */
export const IDLE = 0;
/** In the call, and waits until its event was read. */
export const IN_CALL = 1;
/** Read; its pages go next. */
export const LET_GO = 2;
export const LEFT = 3;
/** Its event is there, but it doesn't sleep yet: nobody can see who waits. */
export const RAISED = 4;

/** Words of a page. */
export const P_CONTENT = 0;
/** Bits, below. */
export const P_FLAGS = 1;
export const P_WORDS = 2;
/** Nobody may touch it any more. */
export const GONE_KNOWN = 1;
export const IS_READ_ONLY = 2;
/** Writes to it must leave a trace (soft-dirty). */
export const TRACKED = 4;
export const IS_REFUSED = 8;
/** The engine knows that it's gone. */
export const BURIED = 16;
/** Nobody may touch it from the next step on. */
export const GONE_NOW = 32;

/** The kind of a completion that posts a slot's tag. A word of `completions` is a kind + 8 × its slot or request. */
export const TAG_COMPLETION = 5;

/** Words of a buffer slot. */
export const S_TAG = 0;
/** Taken before an invalidation that has ended. */
export const S_STALE = 1;
export const S_WORDS = 2;

export interface StateLayout {
  readonly requests: number;
  readonly invalidations: number;
  readonly foreign: number;
  readonly pages: number;
  readonly slots: number;
  /** Lists: a count, then the entries. */
  readonly prepared: number;
  readonly backlog: number;
  readonly completions: number;
  readonly microtasks: number;
  readonly soon: number;
  readonly messages: number;
  /** Foreign calls whose events are unread, in their order. */
  readonly raised: number;
  /**
   * For each of the monitor's starts, by number less 1: the foreign calls that it's for (a bit each); and how it stands
   * in the engine.
   */
  readonly starts: number;
  readonly left: number;
  readonly waiting: number;
  readonly late: number;
  readonly words: number;
}

/**
 * In `left`: no start; else invalidations that haven't begun, + 1; and this, if the monitor that has asked for it has
 * ended.
 */
export const NO_START = 0;
export const ORPHANED = 16;

/** Starts that the monitor may ask for: one for any of the callers together. */
export function startsOf({ foreign }: Scenario): number {
  return 2 ** foreign.length - 1;
}

export function layoutOf(scenario: Scenario, slots: number): StateLayout {
  const requests = scenario.requests.length;
  const foreign = scenario.foreign.length;
  const starts = startsOf(scenario);
  const invalidations = scenario.invalidations.length + starts;
  let words = FIRST_TABLE;
  const table = (count: number): number => {
    words += count;
    return words - count;
  };
  return {
    requests: table(requests * R_WORDS),
    invalidations: table(invalidations * I_WORDS),
    foreign: table(foreign * F_WORDS),
    pages: table(scenario.chunks * scenario.chunkPages * P_WORDS),
    slots: table(slots * S_WORDS),
    prepared: table(1 + requests),
    backlog: table(1 + requests),
    completions: table(1 + requests + 2 * slots),
    microtasks: table(1 + requests + 4),
    soon: table(1 + 2),
    messages: table(1 + 8 * (1 + foreign)),
    raised: table(2 + foreign),
    starts: table(foreign),
    left: table(foreign),
    waiting: table(1 + invalidations),
    late: table(1 + starts),
    words,
  };
}

/** Appends to a list. */
export function push(w: Int32Array, list: number, value: number): void {
  w[list]!++;
  w[list + w[list]!] = value;
}

/** Takes the first of a list. */
export function shift(w: Int32Array, list: number): number {
  const first = w[list + 1]!;
  const count = w[list]!;
  for (let i = 1; i < count; i++) w[list + i] = w[list + i + 1]!;
  w[list + count] = 0;
  w[list] = count - 1;
  return first;
}
