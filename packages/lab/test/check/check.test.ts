// The explorer: the shipped protocol keeps its invariants in every order of small scenarios, and a broken one fails.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Dispatcher } from "../../../pinless/dist/protocol/dispatcher.js";
import { Gate } from "../../../pinless/dist/protocol/gate.js";
import { Leases } from "../../../pinless/dist/protocol/leases.js";
import { Random } from "../../../pinless/dist-test/support/random.js";
import { explore, shortest } from "../../dist/check/explore.js";
import { CheckKernel } from "../../dist/check/kernel.js";
import { openWorld } from "../../dist/check/open-world.js";
import { retrace } from "../../dist/check/retrace.js";
import { runCase } from "../../dist/check/run-case.js";
import type { Scenario } from "../../dist/check/scenario.js";
import type { StateRow } from "../../dist/check/state-row.js";
import { parseScenario } from "../../dist/commands/check/scenario-file.js";

function casesOf(name: string): readonly Scenario[] {
  const file = `packages/lab/scenarios/${name}.yaml`;
  return parseScenario(readFileSync(file, "utf8"), name, file).cases;
}

// All of them, with all schemes, are what .ci/run explores.
const SHORT = [
  ...casesOf("pairs").filter((_, i) => i % 17 === 3),
  ...casesOf("veto").filter((_, i) => i % 17 === 3),
  ...casesOf("discard"),
  ...casesOf("unmap"),
  ...casesOf("own-discard").filter(({ scheme }) => scheme === "aio"),
  ...casesOf("seen-late"),
  ...casesOf("notifier-pairs").filter((_, i) => i % 9 === 2),
  ...casesOf("notifier-veto").filter((_, i) => i % 5 === 2),
  ...casesOf("read-together"),
];

test(`${SHORT.length} small cases hold in every order`, () => {
  for (const scenario of SHORT) {
    const { found, states } = explore(scenario);
    assert.deepEqual(found, null, scenario.name);
    assert.ok(states > 100, `${scenario.name}: only ${states} states`);
  }
});

test("redundant orders are left out, and every state is still reached", () => {
  const some = [...casesOf("pairs"), ...casesOf("veto")].filter((_, i) => i % 29 === 5);
  // Frames that the device lets go of late, and that are reclaimed and moved meanwhile: without leases, and with.
  const clean = casesOf("clean-pages").filter(({ scheme }, i) => (scheme !== "io_uring" ? i % 11 === 3 : i === 0));
  for (const scenario of [...some, ...clean, ...casesOf("unmap")]) {
    const all = explore(scenario, false);
    const pruned = explore(scenario);
    assert.equal(pruned.states, all.states, scenario.name);
    assert.ok(pruned.transitions <= all.transitions);
  }
  const [first] = casesOf("pairs");
  assert.ok(explore(first!).transitions < explore(first!, false).transitions, "nothing is left out");
});

test("a restored state equals the saved one, whatever happened in between", () => {
  const some = [
    "discard-within",
    "two-chunks",
    "unmap-a-part",
    "both-seen-late",
    "two-discards",
    "lost-again",
    "notifier-fork",
    "notifier-clean",
  ].flatMap(casesOf);
  for (const scenario of some) {
    const draw = new Random(20_201_104);
    const { world, actions } = openWorld(scenario);
    const list = new Int32Array(1024);
    const pick = (): number => list[draw.below(actions.list(list))]!;
    const saved = (): StateRow => world.state().copy();
    for (let step = 0; step < 60; step++) {
      const here = saved();
      if (actions.list(list) === 0) break;
      const action = pick();
      assert.equal(world.perform(actions, action), null);
      const there = saved();
      for (let i = 0; i < 3 && actions.list(list) > 0; i++) world.perform(actions, pick());
      world.restore(here);
      // The engine's state has another number after another step, also if its words are the same.
      assert.deepEqual(saved().words, here.words);
      assert.equal(world.perform(actions, action), null);
      assert.deepEqual(saved().words, there.words, `${scenario.name}: ${actions.describe(action)}`);
    }
  }
});

/** Replaces a method for the time of `body`: an engine with a mistake in it. */
function broken<T extends object>(of: T, method: keyof T, by: unknown, body: () => void): void {
  const right = of[method];
  of[method] = by as T[keyof T];
  try {
    body();
  } finally {
    of[method] = right;
  }
}

const MISTAKES = [
  ["takes no notice of I/O in flight", Gate.prototype, "stop", () => 0, "EXCLUSION"],
  ["doesn't ask leases to go", Leases.prototype, "drop", () => {}, "BOUNDED_WAIT"],
  ["populates nothing", CheckKernel.prototype, "populate", () => 0, "DEVICE_WRITES_DIRTY"],
] as const;

for (const [mistake, of, method, by, invariant] of MISTAKES)
  test(`an engine that ${mistake} is found, and the shortest path to it is reported`, () =>
    broken(of as object, method as never, by, () => {
      const scenario = casesOf("clean-pages").find((s) => s.name === "clean-pages: io_uring: CLEAR")!;
      const { violation } = runCase(scenario, false, () => 0);
      assert.equal(violation?.invariant, invariant);
      assert.ok(violation.message.startsWith(`${invariant}: `));
      const found = explore(scenario).found!;
      assert.ok(violation.trace.length <= found.path.length);
      assert.ok(violation.trace.length < 12, "the trace is too long to read");
      assert.match(
        violation.trace.map(({ what }) => what).join("\n"),
        /^the program submits a: read its file into page 0$/m,
      );
      const { steps, broken } = retrace(scenario, shortest(scenario, 100_000)!.path);
      assert.deepEqual(
        steps.map(({ what, then }) => ({ what, then })),
        violation.trace,
      );
      assert.equal(broken?.message, violation.message);
    }));

test("a request that is never answered, and one that is submitted again and again, are found", () => {
  const [discard] = casesOf("discard");
  broken(
    Dispatcher.prototype,
    "concluded",
    () => {},
    () => {
      assert.match(
        explore(discard!).found!.message,
        /^EXACTLY_ONCE: nothing can happen any more, and [ab] isn't answered$/,
      );
    },
  );
  broken(
    Gate.prototype,
    "isDoubtful",
    () => true,
    () => {
      assert.match(explore(discard!).found!.message, /again and again|in a circle for ever/);
    },
  );
});
