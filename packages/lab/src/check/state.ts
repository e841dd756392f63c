/**
 * Layout of the state of the other actors, neither the engine's nor the machine's: one flat Int32Array, so that a whole
 * state is words that can be copied, compared and hashed.
 */

import type { Scenario } from "./scenario.js";

/** Single words, beginning with the time. */
export const TIME_MS = 0;
/** 1 while the engine sleeps and has to be woken by the next completion. */
export const ARMED = 1;
export const WAKE = 2;
export const ALIVE = 3;
/** Words that count the events that may still happen, for each kind (scenario.ts). */
export const RECLAIMS = 4;
export const MIGRATIONS = 5;
export const EIOS = 6;
export const SHORTS = 7;
export const REFUSALS = 8;
export const TICKS = 9;
export const STALLS = 10;
export const CANCELS = 11;
/** 1 if time has passed since the last tick of the engine's clock. */
export const STALLED = 12;
/** Number of the monitor's state (explored-monitor.ts). */
export const MONITOR = 13;
/** The monitor's drain word (protocol/monitor/messages.ts). */
export const DRAIN = 14;
/** The monitor's reading word (protocol/monitor/deferred-changes.ts). */
export const READING = 15;
/** Number + 1 of the foreign call that the engine's own thread is in; 0 for none. */
export const BLOCKED = 16;
/** Number + 1 of the invalidation in whose call the memory thread waits; negative once its event was read. */
export const OPERATING = 17;
export const LATE_ENDS = 18;
export const REFUSED_SUBMISSIONS = 19;
/** Remaining losses and restarts of the monitor, and the stage of a loss (explored-monitor.ts). */
export const LOSSES = 20;
export const RESTARTS = 21;
export const LOST = 22;
const FIRST_TABLE = 23;

/** Words of a request. */
export const R_STATUS = 0;
/** 1 if its pages were taken away during the request; 2 if the engine couldn't know of that yet. */
export const R_LOST = 1;
/** Number of times that the request was prepared for the kernel, and that the kernel began it. */
export const R_PREPARED = 2;
export const R_BEGUN = 3;
export const R_CANCELLED = 4;
/** The engine's slot + 1 under which it's in the kernel. */
export const R_SLOT = 5;
export const R_WORDS = 6;

/** Values of R_STATUS. */
export const NOT_YET = 0;
export const ACCEPTED = 1;
export const ANSWERED = 2;

/** Words of an invalidation: the program's first, then the monitor's starts. */
export const I_STATE = 0;
export const I_DRAINING = 1;
export const I_READY = 2;
export const I_WORDS = 3;

/** Values of I_STATE. */
export const NOT_STARTED = 0;
export const WAITING = 1;
export const DRAINING = 2;
export const BEGUN = 3;
export const ENDED = 4;
/** State of an invalidation that may not wait, and couldn't begin. */
export const REFUSED = 5;

/** Words of a foreign call. */
export const F_STATE = 0;
/** Number of its events that were read, of all but the last. */
export const F_READ = 1;
export const F_WORDS = 2;

/** Values of F_STATE. */
export const IDLE = 0;
/** The thread sleeps in the call until its event is read. */
export const IN_CALL = 1;
/** The event was read; next the pages are freed. */
export const LET_GO = 2;
export const LEFT = 3;
/** The event can be read, but the thread doesn't sleep yet, so it can't be seen waiting. */
export const RAISED = 4;

/** Words of a page. */
export const P_CONTENT = 0;
/** Flags of the page, as follows. */
export const P_FLAGS = 1;
export const P_WORDS = 2;
/** The page is gone, and the engine can know it: no request may touch it. */
export const GONE_KNOWN = 1;
export const IS_READ_ONLY = 2;
/** Writes to the page are tracked (soft-dirty). */
export const TRACKED = 4;
export const IS_REFUSED = 8;
/** The engine has been notified that the page is gone. */
export const BURIED = 16;
/** The page is gone: no request may touch it from the next step on. */
export const GONE_NOW = 32;

/** Kind of a completion that is a slot's tag. A word of `completions` is a kind + 8 × its slot or request. */
export const TAG_COMPLETION = 5;

/** Words of a buffer slot. */
export const S_TAG = 0;
/** 1 if the lease was taken before an invalidation that has ended. */
export const S_STALE = 1;
export const S_WORDS = 2;

export interface StateLayout {
  readonly requests: number;
  readonly invalidations: number;
  readonly foreign: number;
  readonly pages: number;
  readonly slots: number;
  /** Lists: each is a count, followed by the entries. */
  readonly prepared: number;
  readonly backlog: number;
  readonly completions: number;
  readonly microtasks: number;
  readonly soon: number;
  readonly messages: number;
  /** Foreign calls whose events are unread, oldest first. */
  readonly raised: number;
  /**
   * For each of the monitor's starts, by number less 1: the bit set of its foreign calls; and, in `left`, its state in
   * the engine.
   */
  readonly starts: number;
  readonly left: number;
  readonly waiting: number;
  readonly late: number;
  readonly words: number;
}

/**
 * Values of `left`: 0 for no start, else the number of invalidations that haven't begun, + 1; plus ORPHANED if the
 * monitor that asked for it has ended.
 */
export const NO_START = 0;
export const ORPHANED = 16;

/** Number of the monitor's possible starts: one for each set of callers. */
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

/** Removes the first entry of a list and returns it. */
export function shift(w: Int32Array, list: number): number {
  const first = w[list + 1]!;
  const count = w[list]!;
  for (let i = 1; i < count; i++) w[list + i] = w[list + i + 1]!;
  w[list + count] = 0;
  w[list] = count - 1;
  return first;
}
