import assert from "node:assert/strict";
import { test } from "node:test";
import type { MmuEvent } from "../../dist/core/events.js";
import { type Invalidation, MmuNotifier, type Subscriber } from "../../dist/core/notifier.js";
import type { Range } from "../../dist/core/ranges.js";

const GRANULE = 16;

/** A subscriber that says what it's told, and has as much to drain as the test wants. */
class Told implements Subscriber {
  readonly log: string[];
  readonly #name: string;
  draining = 0;
  held = false;
  quiet = true;
  onResume: () => void = () => {};

  constructor(name: string, log: string[]) {
    this.#name = name;
    this.log = log;
  }

  isQuiet(_range: Range, event: MmuEvent): boolean {
    this.log.push(`${this.#name}: quiet for ${event}?`);
    return this.quiet;
  }

  holds(): boolean {
    return this.held;
  }

  stop(invalidation: Invalidation): number {
    this.log.push(`${this.#name}: stop ${invalidation.event}`);
    return this.draining;
  }

  resume(invalidation: Invalidation): void {
    this.log.push(`${this.#name}: resume ${invalidation.event}`);
    this.onResume();
  }
}

function setUp(...ranges: [start: number, end: number][]) {
  const notifier = new MmuNotifier(GRANULE);
  const log: string[] = [];
  const told = ranges.map((_, i) => new Told(`s${i}`, log));
  const subscriptions = ranges.map(([start, end], i) => notifier.insert({ start, end }, told[i]!));
  const start = (from: number, to: number, event: MmuEvent): Invalidation =>
    notifier.invalidateRangeStart({ start: from, end: to }, event, { ready: () => log.push(`ready ${event}`) });
  return { notifier, log, told, subscriptions, start, said: () => log.splice(0) };
}

test("MmuNotifier tells only subscribers on the range, all to stop before any has drained", () => {
  const { start, said, notifier } = setUp([0, 64], [64, 128], [128, 192]);
  const clear = start(60, 70, "CLEAR");
  assert.deepEqual(said(), ["s0: stop CLEAR", "s1: stop CLEAR", "ready CLEAR"]);
  assert.equal(clear.state, "begun");
  notifier.invalidateRangeEnd(clear);
  assert.deepEqual(said(), ["s0: resume CLEAR", "s1: resume CLEAR"]);
  assert.equal(clear.state, "ended");
});

test("MmuNotifier rounds ranges out to granules", () => {
  const { start, notifier } = setUp([0, 64]);
  const first = start(3, 4, "CLEAR");
  assert.deepEqual(first.range, { start: 0, end: 16 });
  assert.equal(start(5, 6, "CLEAR").state, "waiting");
  assert.equal(start(16, 17, "CLEAR").state, "begun");
  assert.equal(notifier.at(15), first);
  assert.equal(notifier.at(32), undefined);
});

test("MmuNotifier begins once everything has drained, and says so once", () => {
  const { start, said, told, notifier } = setUp([0, 64], [64, 128]);
  told[0]!.draining = 2;
  told[1]!.draining = 1;
  const clear = start(0, 128, "CLEAR");
  assert.equal(clear.state, "draining");
  clear.drained();
  clear.drained();
  assert.equal(clear.state, "draining");
  assert.throws(() => notifier.invalidateRangeEnd(clear), { invariant: "EXCLUSION" });
  clear.drained();
  assert.equal(clear.state, "begun");
  assert.deepEqual(said(), ["s0: stop CLEAR", "s1: stop CLEAR", "ready CLEAR"]);
  assert.throws(() => clear.drained(), { invariant: "EXCLUSION" });
});

test("MmuNotifier doesn't begin early when a subscriber drains while others are still asked", () => {
  const { start, told, said } = setUp([0, 64], [64, 128]);
  told[0]!.stop = (invalidation) => {
    invalidation.draining++;
    invalidation.drained();
    return 0;
  };
  assert.equal(start(0, 128, "CLEAR").state, "begun");
  assert.deepEqual(said(), ["s1: stop CLEAR", "ready CLEAR"]);
});

test("MmuNotifier gives turns in the order of starts; nobody overtakes on the same range", () => {
  const { start, notifier, said } = setUp([0, 64]);
  const clear = start(0, 32, "CLEAR");
  const migrate = start(16, 48, "MIGRATE");
  const unmap = start(32, 64, "UNMAP");
  const exclusive = start(48, 64, "EXCLUSIVE");
  assert.deepEqual(
    [clear, migrate, unmap, exclusive].map(({ state }) => state),
    ["begun", "waiting", "waiting", "waiting"],
    "the later two would be free, but for those before them",
  );
  said();
  notifier.invalidateRangeEnd(clear);
  assert.deepEqual(said(), ["s0: resume CLEAR", "s0: stop MIGRATE", "ready MIGRATE"]);
  assert.equal(notifier.inProgress, 1);
  notifier.invalidateRangeEnd(migrate);
  assert.equal(unmap.state, "begun");
  notifier.invalidateRangeEnd(unmap);
  assert.equal(exclusive.state, "begun");
  notifier.invalidateRangeEnd(exclusive);
  assert.equal(notifier.inProgress, 0);
});

test("MmuNotifier waits for its turn while a subscriber holds I/O there (BOUNDED_HOLD)", () => {
  const { start, told, notifier } = setUp([0, 64], [64, 128]);
  told[0]!.held = true;
  const held = start(0, 16, "CLEAR");
  const elsewhere = start(64, 80, "CLEAR");
  assert.deepEqual([held.state, elsewhere.state], ["waiting", "begun"]);
  told[1]!.onResume = () => {
    told[0]!.held = false;
  };
  notifier.invalidateRangeEnd(elsewhere);
  assert.equal(held.state, "begun");
});

test("MmuNotifier lets what was held go before the next has its turn (BOUNDED_HOLD)", () => {
  const { start, notifier, said } = setUp([0, 64], [0, 64]);
  const first = start(0, 16, "CLEAR");
  start(0, 16, "MIGRATE");
  said();
  notifier.invalidateRangeEnd(first);
  assert.deepEqual(said(), [
    "s0: resume CLEAR",
    "s1: resume CLEAR",
    "s0: stop MIGRATE",
    "s1: stop MIGRATE",
    "ready MIGRATE",
  ]);
});

test("MmuNotifier with blockable: false begins at once or is refused, and a refusal tells nobody (BALANCED_VETO)", () => {
  const { start, told, notifier, said } = setUp([0, 64]);
  const veto = (from: number, to: number) =>
    notifier.invalidateRangeStart({ start: from, end: to }, "MIGRATE", {
      blockable: false,
      ready: () => said().push("ready"),
    });
  const clear = start(0, 16, "CLEAR");
  const waiting = start(0, 32, "CLEAR");
  said();
  assert.equal(veto(0, 16), "EAGAIN", "another in progress");
  assert.equal(veto(16, 32), "EAGAIN", "another waits");
  assert.deepEqual(said(), []);
  told[0]!.held = true;
  assert.equal(veto(48, 64), "EAGAIN", "I/O is held");
  assert.deepEqual(said(), []);
  told[0]!.held = false;
  told[0]!.quiet = false;
  assert.equal(veto(48, 64), "EAGAIN", "I/O is in flight");
  assert.deepEqual(said(), ["s0: quiet for MIGRATE?"]);
  told[0]!.quiet = true;
  const granted = veto(48, 64);
  assert.ok(granted !== "EAGAIN");
  assert.equal(granted.state, "begun");
  for (const invalidation of [granted, clear, waiting]) notifier.invalidateRangeEnd(invalidation);
  assert.equal(notifier.inProgress, 0);
});

test("MmuNotifier with blockable: false begins at once also inside another's ready, before the queue moves on", () => {
  const { start, notifier, told } = setUp([0, 64]);
  const states: string[] = [];
  const whole = start(0, 64, "CLEAR");
  const within = (): void => {
    const answer = notifier.invalidateRangeStart({ start: 48, end: 64 }, "EXCLUSIVE", { blockable: false });
    states.push(answer === "EAGAIN" ? answer : answer.state);
  };
  notifier.invalidateRangeStart({ start: 0, end: 16 }, "MIGRATE", { ready: within });
  // What its ready does makes the third wait.
  const busy = (): void => {
    told[0]!.draining = 1;
  };
  notifier.invalidateRangeStart({ start: 16, end: 32 }, "MIGRATE", { ready: busy });
  notifier.invalidateRangeEnd(whole);
  assert.deepEqual(states, ["begun"]);
});

test("MmuNotifier takes an end within ready, and starts within it", () => {
  const { notifier, said, log } = setUp([0, 64]);
  const first = notifier.invalidateRangeStart({ start: 0, end: 16 }, "CLEAR");
  const nested: Invalidation[] = [];
  const second = notifier.invalidateRangeStart({ start: 0, end: 16 }, "MIGRATE", {
    ready: () => {
      nested.push(
        notifier.invalidateRangeStart({ start: 0, end: 16 }, "UNMAP", { ready: () => log.push("ready UNMAP") }),
      );
      notifier.invalidateRangeEnd(second);
    },
  });
  said();
  notifier.invalidateRangeEnd(first);
  assert.deepEqual(said(), [
    "s0: resume CLEAR",
    "s0: stop MIGRATE",
    "s0: resume MIGRATE",
    "s0: stop UNMAP",
    "ready UNMAP",
  ]);
  assert.equal(second.state, "ended");
  assert.equal(nested[0]!.state, "begun");
});

test("MmuNotifier tells a subscriber with several ranges once", () => {
  const { notifier, told, start, said } = setUp([0, 64]);
  notifier.insert({ start: 64, end: 128 }, told[0]!);
  const clear = start(0, 128, "CLEAR");
  notifier.invalidateRangeEnd(clear);
  assert.deepEqual(said(), ["s0: stop CLEAR", "ready CLEAR", "s0: resume CLEAR"]);
});

test("MmuNotifier.remove ends a subscription, once", () => {
  const { notifier, subscriptions, start, said } = setUp([0, 64], [0, 64]);
  notifier.remove(subscriptions[0]!);
  start(0, 16, "CLEAR");
  assert.deepEqual(said(), ["s1: stop CLEAR", "ready CLEAR"]);
  assert.throws(() => notifier.remove(subscriptions[0]!), { invariant: "STATE" });
});

test("MmuNotifier.invalidateRangeEnd refuses what hasn't begun, and a second end", () => {
  const { notifier, start } = setUp([0, 64]);
  const first = start(0, 16, "CLEAR");
  const second = start(0, 16, "CLEAR");
  assert.throws(() => notifier.invalidateRangeEnd(second), { invariant: "EXCLUSION" });
  notifier.invalidateRangeEnd(first);
  assert.throws(() => notifier.invalidateRangeEnd(first), { invariant: "EXCLUSION" });
});

test("MmuNotifier.on gives the invalidations that have their turn on a range", () => {
  const { notifier, start } = setUp([0, 64]);
  const [first, second] = [start(0, 16, "CLEAR"), start(32, 48, "CLEAR")];
  start(0, 48, "MIGRATE");
  assert.deepEqual(notifier.on({ start: 0, end: 64 }), [first, second]);
  assert.deepEqual(notifier.on({ start: 16, end: 32 }), []);
});

test("MmuNotifier.whenOpen runs an access at once, but in a turn of its own where it would be inside of an invalidation", () => {
  const range = { start: GRANULE, end: 2 * GRANULE };
  for (const [event, deviceReads, deviceWrites] of [
    ["CLEAR", false, false],
    ["PROTECTION_VMA", true, false],
    ["EXCLUSIVE", false, false],
  ] as const) {
    for (const [concerns, atOnce] of [
      ["deviceReads", deviceReads],
      ["deviceWrites", deviceWrites],
    ] as const) {
      const notifier = new MmuNotifier(GRANULE);
      const log: string[] = [];
      notifier.whenOpen(range, concerns, () => log.push("open"));
      assert.deepEqual(log, ["open"]);
      const invalidation = notifier.invalidateRangeStart(range, event);
      notifier.whenOpen({ start: GRANULE + 8, end: GRANULE + 9 }, concerns, () => log.push("inside"));
      notifier.whenOpen({ start: 2 * GRANULE, end: 2 * GRANULE + 1 }, concerns, () => log.push("beside"));
      const next = notifier.invalidateRangeStart(range, event, { ready: () => log.push("next") });
      notifier.invalidateRangeEnd(invalidation);
      const expected = atOnce ? ["inside", "beside"] : ["beside", "inside"];
      assert.deepEqual(log, ["open", ...expected, "next"], `${event}, ${concerns}`);
      notifier.invalidateRangeEnd(next);
      assert.equal(notifier.inProgress, 0);
    }
  }
});

test("MmuNotifier.whenOpen doesn't wait for an invalidation that still waits itself", () => {
  const { notifier, told, start } = setUp([0, 32]);
  told[0]!.draining = 1;
  const clear = start(0, 32, "CLEAR");
  assert.equal(clear.state, "draining");
  let accesses = 0;
  notifier.whenOpen({ start: 3, end: 4 }, "deviceWrites", () => accesses++);
  assert.equal(accesses, 1);
});
