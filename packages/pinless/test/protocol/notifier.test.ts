import assert from "node:assert/strict";
import { test } from "node:test";
import type { MmuEvent } from "../../dist/protocol/events.js";
import { type Invalidation, MmuNotifier, type Subscriber } from "../../dist/protocol/notifier.js";
import type { Range } from "../../dist/protocol/ranges/ranges.js";

const GRANULE = 16;

/** A subscriber that logs its calls, and has as much to drain as the test wants. */
class LoggedSubscriber implements Subscriber {
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
  const log: string[] = [];
  const notifier = new MmuNotifier(GRANULE, (error) => log.push(`uncaught ${String(error)}`));
  const subscribers = ranges.map((_, i) => new LoggedSubscriber(`s${i}`, log));
  const subscriptions = ranges.map(([start, end], i) => notifier.insert({ start, end }, subscribers[i]!));
  const start = (from: number, to: number, event: MmuEvent): Invalidation =>
    notifier.invalidateRangeStart({ start: from, end: to }, event, { ready: () => log.push(`ready ${event}`) });
  return { notifier, log, subscribers, subscriptions, start, said: () => log.splice(0) };
}

test("MmuNotifier rounds ranges out to the larger granules of a subscription, and never beyond its range", () => {
  const { notifier } = setUp([0, 64]);
  const coarse = notifier.insert({ start: 128, end: 272 }, new LoggedSubscriber("coarse", []), 64);
  const rounded = (start: number, end: number): Range => {
    const invalidation = notifier.invalidateRangeStart({ start, end }, "CLEAR");
    notifier.invalidateRangeEnd(invalidation);
    return invalidation.range;
  };
  for (const [start, end, roundedStart, roundedEnd] of [
    [3, 4, 0, 16],
    [130, 131, 128, 192],
    [200, 201, 192, 256],
    [257, 258, 256, 272],
    [100, 193, 96, 256],
    [191, 300, 128, 304],
  ] as const)
    assert.deepEqual(rounded(start, end), { start: roundedStart, end: roundedEnd }, `${start} to ${end}`);
  const first = notifier.invalidateRangeStart({ start: 130, end: 131 }, "CLEAR");
  const second = notifier.invalidateRangeStart({ start: 180, end: 181 }, "CLEAR");
  assert.deepEqual([first.state, second.state], ["begun", "waiting"]);
  notifier.invalidateRangeEnd(first);
  notifier.invalidateRangeEnd(second);
  notifier.remove(coarse);
  assert.deepEqual(rounded(130, 131), { start: 128, end: 144 });
});

test("MmuNotifier stops only subscribers on the range, and all of them before any has drained", () => {
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

test("MmuNotifier begins an invalidation once everything has drained, and calls ready once", () => {
  const { start, said, subscribers, notifier } = setUp([0, 64], [64, 128]);
  subscribers[0]!.draining = 2;
  subscribers[1]!.draining = 1;
  const clear = start(0, 128, "CLEAR");
  assert.equal(clear.state, "draining");
  clear.drained();
  clear.drained();
  assert.equal(clear.state, "draining");
  assert.throws(() => notifier.invalidateRangeEnd(clear), { code: "ERR_INVALID_ARG_VALUE" });
  clear.drained();
  assert.equal(clear.state, "begun");
  assert.deepEqual(said(), ["s0: stop CLEAR", "s1: stop CLEAR", "ready CLEAR"]);
  assert.throws(() => clear.drained(), { invariant: "EXCLUSION" });
});

test("MmuNotifier doesn't begin early if a subscriber drains before others have been stopped", () => {
  const { start, subscribers, said } = setUp([0, 64], [64, 128]);
  subscribers[0]!.stop = (invalidation) => {
    invalidation.draining++;
    invalidation.drained();
    return 0;
  };
  assert.equal(start(0, 128, "CLEAR").state, "begun");
  assert.deepEqual(said(), ["s1: stop CLEAR", "ready CLEAR"]);
});

test("MmuNotifier gives turns in the order of starts; none overtakes another on the same range", () => {
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

test("MmuNotifier gives no turn while a subscriber holds I/O there (BOUNDED_HOLD)", () => {
  const { start, subscribers, notifier } = setUp([0, 64], [64, 128]);
  subscribers[0]!.held = true;
  const held = start(0, 16, "CLEAR");
  const elsewhere = start(64, 80, "CLEAR");
  assert.deepEqual([held.state, elsewhere.state], ["waiting", "begun"]);
  subscribers[1]!.onResume = () => {
    subscribers[0]!.held = false;
  };
  notifier.invalidateRangeEnd(elsewhere);
  assert.equal(held.state, "begun");
});

test("MmuNotifier has held requests submitted before the next turn (BOUNDED_HOLD)", () => {
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

test("MmuNotifier with blockable: false begins at once, or refuses and notifies no subscriber (BALANCED_VETO)", () => {
  const { start, subscribers, notifier, said } = setUp([0, 64]);
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
  subscribers[0]!.held = true;
  assert.equal(veto(48, 64), "EAGAIN", "I/O is held");
  assert.deepEqual(said(), []);
  subscribers[0]!.held = false;
  subscribers[0]!.quiet = false;
  assert.equal(veto(48, 64), "EAGAIN", "I/O is in flight");
  assert.deepEqual(said(), ["s0: quiet for MIGRATE?"]);
  subscribers[0]!.quiet = true;
  const granted = veto(48, 64);
  assert.ok(granted !== "EAGAIN");
  assert.equal(granted.state, "begun");
  for (const invalidation of [granted, clear, waiting]) notifier.invalidateRangeEnd(invalidation);
  assert.equal(notifier.inProgress, 0);
});

test("MmuNotifier with blockable: false also begins at once inside another's ready, before the queue goes on", () => {
  const { start, notifier, subscribers } = setUp([0, 64]);
  const states: string[] = [];
  const whole = start(0, 64, "CLEAR");
  const within = (): void => {
    const answer = notifier.invalidateRangeStart({ start: 48, end: 64 }, "EXCLUSIVE", { blockable: false });
    states.push(answer === "EAGAIN" ? answer : answer.state);
  };
  notifier.invalidateRangeStart({ start: 0, end: 16 }, "MIGRATE", { ready: within });
  // What its ready does makes the third wait.
  const busy = (): void => {
    subscribers[0]!.draining = 1;
  };
  notifier.invalidateRangeStart({ start: 16, end: 32 }, "MIGRATE", { ready: busy });
  notifier.invalidateRangeEnd(whole);
  assert.deepEqual(states, ["begun"]);
});

test("MmuNotifier allows an end, and starts, inside ready", () => {
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

test("MmuNotifier notifies a subscriber with several ranges once", () => {
  const { notifier, subscribers, start, said } = setUp([0, 64]);
  notifier.insert({ start: 64, end: 128 }, subscribers[0]!);
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

test("MmuNotifier.invalidateRangeEnd refuses an invalidation that hasn't begun, has ended, or isn't its own", () => {
  const { notifier, start, said } = setUp([0, 64]);
  const first = start(0, 16, "CLEAR");
  const second = start(0, 16, "CLEAR");
  const others = setUp([0, 64]).start(0, 16, "CLEAR");
  said();
  for (const refused of [second, others])
    assert.throws(() => notifier.invalidateRangeEnd(refused), { code: "ERR_INVALID_ARG_VALUE" });
  for (const none of [undefined, null, "EAGAIN", {}, { ...first }])
    assert.throws(() => notifier.invalidateRangeEnd(none as Invalidation), { code: "ERR_INVALID_ARG_TYPE" });
  assert.deepEqual(said(), [], "a refused end notifies no subscriber");
  notifier.invalidateRangeEnd(first);
  assert.throws(() => notifier.invalidateRangeEnd(first), { code: "ERR_INVALID_ARG_VALUE" });
  notifier.invalidateRangeEnd(second);
});

test("MmuNotifier refuses invalid arguments before anything changes", () => {
  const { notifier, said } = setUp([0, 64]);
  const good = { start: 0, end: 16 };
  const refused = (code: string, run: () => unknown): void => {
    assert.throws(run, { code });
    assert.deepEqual([said(), notifier.inProgress, notifier.waiting.length], [[], 0, 0]);
  };
  for (const event of ["clear", "toString", "", undefined, 3])
    refused("ERR_INVALID_ARG_VALUE", () => notifier.invalidateRangeStart(good, event as MmuEvent));
  for (const [start, end] of [
    [Number.NaN, 16],
    [0, Number.NaN],
    [16, 0],
    [16, 16],
    [-16, 16],
    [0, Number.POSITIVE_INFINITY],
    [0.5, 16],
  ] as const)
    refused("ERR_OUT_OF_RANGE", () => notifier.invalidateRangeStart({ start, end }, "CLEAR"));
  for (const range of [undefined, null, 5, {}, { start: 0 }, { start: "0", end: "16" }, { start: 0n, end: 16n }])
    refused("ERR_INVALID_ARG_TYPE", () => notifier.invalidateRangeStart(range as Range, "CLEAR"));
  for (const options of [null, 5, { ready: 5 }, { ready: null }, { blockable: 0 }, { blockable: "false" }])
    refused("ERR_INVALID_ARG_TYPE", () => notifier.invalidateRangeStart(good, "CLEAR", options as object));
  refused("ERR_INVALID_ARG_TYPE", () => notifier.insert(good, {} as Subscriber));
  refused("ERR_INVALID_ARG_TYPE", () => notifier.insert(good, null as unknown as Subscriber));
  const { subscribers } = setUp([0, 64]);
  refused("ERR_OUT_OF_RANGE", () => notifier.insert({ start: 1, end: Number.NaN }, subscribers[0]!));
});

test("MmuNotifier.invalidateRangeEnd refuses invalid protections, and the invalidation goes on", () => {
  const { notifier, start, said } = setUp([0, 64]);
  const protection = start(0, 16, "PROTECTION_VMA");
  said();
  for (const wrong of [5, [5], [{ range: { start: 0, end: 16 } }], [{ readOnly: true }]])
    assert.throws(() => notifier.invalidateRangeEnd(protection, wrong as []), { code: "ERR_INVALID_ARG_TYPE" });
  assert.throws(() => notifier.invalidateRangeEnd(protection, [{ range: { start: 16, end: 0 }, readOnly: true }]), {
    code: "ERR_OUT_OF_RANGE",
  });
  assert.deepEqual([said(), protection.state], [[], "begun"]);
  notifier.invalidateRangeEnd(protection, [{ range: { start: 0, end: 16 }, readOnly: false }]);
  assert.equal(protection.state, "ended");
});

test("an error thrown by ready is uncaught, and its invalidation and all others go on", () => {
  const { notifier, start, said, subscribers } = setUp([0, 64]);
  const thrown = (): never => {
    throw new Error("by ready");
  };
  const first = notifier.invalidateRangeStart({ start: 0, end: 16 }, "CLEAR", { ready: thrown });
  assert.deepEqual(said(), ["s0: stop CLEAR", "uncaught Error: by ready"]);
  assert.equal(first.state, "begun");
  const second = notifier.invalidateRangeStart({ start: 0, end: 16 }, "MIGRATE", { ready: thrown });
  const third = start(0, 16, "EXCLUSIVE");
  notifier.invalidateRangeEnd(first);
  assert.equal(second.state, "begun");
  subscribers[0]!.draining = 1;
  notifier.invalidateRangeEnd(second);
  said();
  third.drained();
  assert.deepEqual(said(), ["ready EXCLUSIVE"]);
  notifier.invalidateRangeEnd(third);
  assert.equal(notifier.inProgress, 0);
});

test("MmuNotifier.on lists the invalidations that have their turn on a range", () => {
  const { notifier, start } = setUp([0, 64]);
  const [first, second] = [start(0, 16, "CLEAR"), start(32, 48, "CLEAR")];
  start(0, 48, "MIGRATE");
  assert.deepEqual(notifier.on({ start: 0, end: 64 }), [first, second]);
  assert.deepEqual(notifier.on({ start: 16, end: 32 }), []);
});

test("MmuNotifier.whenOpen runs an access at once, or in a turn of its own if an invalidation excludes it", () => {
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
      const notifier = new MmuNotifier(GRANULE, assert.ifError);
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

test("MmuNotifier.whenOpen doesn't wait for an invalidation that is waiting itself", () => {
  const { notifier, subscribers, start } = setUp([0, 32]);
  subscribers[0]!.draining = 1;
  const clear = start(0, 32, "CLEAR");
  assert.equal(clear.state, "draining");
  let accesses = 0;
  notifier.whenOpen({ start: 3, end: 4 }, "deviceWrites", () => accesses++);
  assert.equal(accesses, 1);
});
