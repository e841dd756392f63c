// An engine with a mistake in it, under the load and faults of a seed: it's found, replays, and is made smaller.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Gate } from "../../../pinless/dist/protocol/gate.js";
import { Leases } from "../../../pinless/dist/protocol/leases.js";
import { ModelScheme } from "../../dist/model/model-scheme.js";
import { campaign } from "../../dist/simulate/campaign.js";
import type { RunReport } from "../../dist/simulate/run-report.js";
import { simulate } from "../../dist/simulate/run-simulation.js";

/** Replaces a method for the time of `body`: an engine with a mistake in it. */
async function broken<T extends object>(of: T, method: keyof T, by: unknown, body: () => Promise<void>): Promise<void> {
  const right = of[method];
  of[method] = by as T[keyof T];
  try {
    await body();
  } finally {
    of[method] = right;
  }
}

const MISTAKES = [
  ["populates nothing (DEVICE_WRITES_DIRTY)", ModelScheme.prototype, "populate", () => 0],
  ["doesn't ask leases to go, nor for their tags", Leases.prototype, "drop", () => {}],
  ["begins an invalidation over I/O in flight", Gate.prototype, "stop", () => 0],
  ["takes leases that are no registrations", ModelScheme.prototype, "take", () => 0],
] as const;

// Seeds that find each of them.
for (const [mistake, of, method, by] of MISTAKES)
  test(`an engine that ${mistake} is found out`, () =>
    broken(of as object, method as never, by, async () => {
      const found: RunReport[] = [];
      for (const seed of [11, 69, 83, 163, 206]) {
        const report = await simulate({ seed, requests: 2000 });
        if (report.failure !== null) found.push(report);
      }
      assert.ok(found.length > 0);
      // A failure is a seed: it replays exactly.
      for (const report of found) assert.deepEqual(await simulate({ seed: report.seed, requests: 2000 }), report);
    }));

test("a failure is shrunk, and fails in the same way", () =>
  broken(
    ModelScheme.prototype,
    "populate",
    () => 0,
    async () => {
      const report = await campaign({
        seed: 91,
        runs: 1,
        requests: 2000,
        shard: { index: 0, of: 1 },
        engine: "a broken one",
        mutant: null,
      });
      assert.equal(report.failures.length, 1);
      for (const { requests, changes, what } of report.failures) {
        assert.equal(what, "LINEAR");
        assert.ok(requests <= 1000, `${requests} requests of 2,000 are left`);
        assert.ok(Object.keys(changes).length > 0);
      }
    },
  ));
