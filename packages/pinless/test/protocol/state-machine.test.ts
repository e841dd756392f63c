// The monitor against a made-up list of threads that wait for it: when it lets which one go, and what it announces.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ANNOUNCED_BEGUN, ANNOUNCED_ENDED, CHUNK_WORDS } from "../../dist/protocol/chunk-table.js";
import type { Caller, MemoryEvent } from "../../dist/protocol/monitor/caller-tracking.js";
import { LeaseClock } from "../../dist/protocol/monitor/lease-clock.js";
import { DRAIN, drainWord, type MonitorReport } from "../../dist/protocol/monitor/messages.js";
import { MonitorMachine } from "../../dist/protocol/monitor/state-machine.js";

const CHUNK_BYTES = 65536;
const CHUNKS = 4;
const RANGE = { start: 2 ** 33, end: 2 ** 33 + CHUNKS * CHUNK_BYTES };
const OWN_TID = 1;
const OUR_TID = 2;
const OTHER_TID = 3;

interface Scene {
  /** Those that can be seen waiting, and the events in the order in which they were raised. */
  readonly callers: Caller[];
  /** Those that can be seen as well from the second look on. */
  readonly later?: readonly Caller[];
  readonly events: MemoryEvent[];
  /** Answer of the engine's thread to a start; null for none. */
  readonly answer: number | null;
}

interface Outcome {
  /** Messages to the engine's thread, in order. */
  readonly posted: readonly string[];
  /** Announcements on each chunk that were begun, and of these ended. */
  readonly begun: readonly number[];
  readonly ended: readonly number[];
  /** For each event: true if its chunk was announced when it was read. */
  readonly announcedBefore: readonly boolean[];
}

function caller(tid: number, kind: Caller["kind"], chunk: number): Caller {
  const start = RANGE.start + chunk * CHUNK_BYTES;
  return { tid, kind, ranges: [{ start, end: start + 4096 }], call: `call ${tid}` };
}

function eventOf({ kind, ranges: [range] }: Caller): MemoryEvent {
  return { kind, ...range! };
}

/** Serves what there is, and looks once after all have left their calls. */
function serve({ callers, later = [], events, answer }: Scene): Outcome {
  const words = new Int32Array(new SharedArrayBuffer(4 * CHUNKS * CHUNK_WORDS));
  const drain = new Int32Array(new SharedArrayBuffer(4));
  const count = (word: number): number[] =>
    Array.from({ length: CHUNKS }, (_, chunk) => words[chunk * CHUNK_WORDS + word]!);
  const posted: MonitorReport[] = [];
  const announcedBefore: boolean[] = [];
  const left = [...events];
  let nowMs = 0;
  let looks = 0;
  const monitor = new MonitorMachine({
    drain,
    reading: new Int32Array(new SharedArrayBuffer(4)),
    ownTid: OWN_TID,
    ourTids: new Int32Array([OUR_TID]),
    threads: {
      callers: () => (looks++ === 0 ? callers : [...callers, ...later]).map((each) => ({ ...each })),
      callOf: () => null,
      waitsForReader: () => null,
      cpuMs: () => 0,
    },
    leases: new LeaseClock(),
    nowMs: () => nowMs,
    next: () => {
      const event = left.shift() ?? null;
      if (event !== null) {
        const chunk = (event.start - RANGE.start) / CHUNK_BYTES;
        announcedBefore.push(count(ANNOUNCED_BEGUN)[chunk] !== count(ANNOUNCED_ENDED)[chunk]);
      }
      return event;
    },
    post: (report) => {
      posted.push(report);
      if (report.kind === "start" && answer !== null) Atomics.store(drain, 0, drainWord(report.id, answer));
    },
  });
  monitor.segments.add({ id: 0, range: RANGE, chunkBytes: CHUNK_BYTES, words, watched: -1 });
  monitor.readable();
  for (let wait = monitor.step(); wait !== null; wait = monitor.step()) nowMs += wait.ms;
  assert.deepEqual(left, [], "an event is left unread, and its caller waits for ever");
  nowMs += 1000;
  monitor.look();
  return {
    posted: posted.map(({ kind }) => kind),
    begun: count(ANNOUNCED_BEGUN),
    ended: count(ANNOUNCED_ENDED),
    announcedBefore,
  };
}

const QUIET = [0, 0, 0, 0];

test("a discard by other code waits for the drain, and its start ends when its thread has left the call", () => {
  const other = caller(OTHER_TID, "remove", 1);
  const { posted, begun } = serve({ callers: [other], events: [eventOf(other)], answer: DRAIN.BEGUN });
  assert.deepEqual(posted, ["start", "end"]);
  assert.deepEqual(begun, QUIET);
});

test("without an answer, or inside an invalidation, a discard is announced before its event is read", () => {
  const other = caller(OTHER_TID, "remove", 1);
  for (const answer of [null, DRAIN.COVERED]) {
    const outcome = serve({ callers: [other], events: [eventOf(other)], answer });
    assert.deepEqual(outcome.posted, ["start", "end", "concluded"]);
    assert.deepEqual([outcome.begun, outcome.ended, outcome.announcedBefore], [[0, 1, 0, 0], [0, 1, 0, 0], [true]]);
  }
});

test("SELF_EVENT: our own memory thread continues at once, with no announcement and no start", () => {
  const ours = caller(OUR_TID, "remove", 1);
  const outcome = serve({ callers: [ours], events: [eventOf(ours)], answer: DRAIN.BEGUN });
  assert.deepEqual([outcome.posted, outcome.begun, outcome.announcedBefore], [[], QUIET, [false]]);
});

test("the engine's own thread can't drain while it waits itself: its discard is announced", () => {
  const own = caller(OWN_TID, "remove", 0);
  const outcome = serve({ callers: [own], events: [eventOf(own)], answer: DRAIN.BEGUN });
  assert.deepEqual([outcome.posted, outcome.begun, outcome.announcedBefore], [["concluded"], [1, 0, 0, 0], [true]]);
});

test("an unmapped range is announced until the engine has taken it out of use", () => {
  const other = caller(OTHER_TID, "unmap", 2);
  const outcome = serve({ callers: [other], events: [eventOf(other)], answer: DRAIN.BEGUN });
  assert.deepEqual([outcome.posted, outcome.begun, outcome.ended], [["unmapped"], [0, 0, 1, 0], QUIET]);
});

test("a call of an unseen thread is announced as soon as its event is read, before the expected events", () => {
  const seen = caller(OTHER_TID, "remove", 1);
  const unseen = eventOf(caller(4, "unmap", 3));
  const outcome = serve({ callers: [seen], events: [unseen, eventOf(seen)], answer: DRAIN.BEGUN });
  assert.deepEqual(outcome.posted, ["start", "unmapped", "end"]);
  assert.deepEqual(
    [outcome.begun, outcome.announcedBefore],
    [
      [0, 0, 0, 1],
      [false, false],
    ],
  );
});

test("two threads discard the same memory, and one isn't seen: I/O is kept away until both have left", () => {
  const seen = caller(OTHER_TID, "remove", 1);
  const outcome = serve({ callers: [seen], events: [eventOf(seen), eventOf(seen)], answer: DRAIN.BEGUN });
  assert.deepEqual(outcome.posted, ["start", "end", "concluded"]);
  assert.deepEqual(
    [outcome.begun, outcome.ended],
    [
      [0, 1, 0, 0],
      [0, 1, 0, 0],
    ],
  );
});

test("a thread that begins to wait on memory that is being drained is let go with the one before", () => {
  const [first, joined] = [caller(OTHER_TID, "remove", 1), caller(4, "remove", 1)];
  const events = [eventOf(first), eventOf(joined)];
  const outcome = serve({ callers: [first], later: [joined], events, answer: DRAIN.BEGUN });
  assert.deepEqual([outcome.posted, outcome.begun], [["start", "end"], QUIET]);
  // Other memory isn't drained: what a thread does there is announced.
  const elsewhere = caller(4, "remove", 2);
  const apart = serve({
    callers: [first],
    later: [elsewhere],
    events: [eventOf(first), eventOf(elsewhere)],
    answer: DRAIN.BEGUN,
  });
  assert.deepEqual(apart.begun, [0, 0, 1, 0]);
  // The engine's own thread isn't polled, so it doesn't join.
  const own = caller(OWN_TID, "remove", 1);
  const beside = serve({ callers: [first], later: [own], events: [eventOf(first), eventOf(own)], answer: DRAIN.BEGUN });
  assert.deepEqual(beside.begun, [0, 1, 0, 0]);
});

test("if no thread is seen, every chunk is announced while the event is read", () => {
  const outcome = serve({ callers: [], events: [eventOf(caller(4, "remove", 3))], answer: DRAIN.BEGUN });
  assert.deepEqual([outcome.begun, outcome.ended, outcome.announcedBefore], [[1, 1, 1, 2], [1, 1, 1, 2], [true]]);
});
