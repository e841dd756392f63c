// The whole engine in the machine, under the load and faults of a seed: it holds, it's repeatable, and what is broken is found.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parse } from "yaml";
import { Gate } from "../../dist/core/gate.js";
import { Leases } from "../../dist/core/leases.js";
import { ModelScheme } from "../../dist/model/scheme.js";
import { campaign, merge } from "../../dist/simulate/campaign.js";
import { simulate } from "../../dist/simulate/run.js";

const ALL = { index: 0, of: 1 };
const runs = Number(process.env.PINLESS_RUNS ?? 40);

test(`${runs} seeds: nothing is lost, stale or left over, whatever the load and the faults`, async () => {
  const report = await campaign({ seed: 1, runs, requests: 1000, shard: ALL, engine: "this one" });
  assert.deepEqual(report.failures, []);
  assert.equal(report.runs, runs);
  assert.equal(report.requests, runs * 1000);
  assert.ok(report.operations > runs * 20);
});

test("the same seed is the same run, step by step; another one isn't", async () => {
  const traced = async (seed: number): Promise<string[]> => {
    const lines: string[] = [];
    const report = await simulate({ seed, requests: 300, steps: (line) => lines.push(line) });
    return [...lines, report.trace];
  };
  for (const seed of [1, 2, 3, 20201104]) assert.deepEqual(await traced(seed), await traced(seed));
  assert.notEqual((await traced(1)).at(-1), (await traced(2)).at(-1));
});

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

// Seeds 7 to 9: found among the first of all.
for (const [mistake, of, method, by] of MISTAKES)
  test(`an engine that ${mistake} is found out`, () =>
    broken(of as object, method as never, by, async () => {
      const report = await campaign({ seed: 7, runs: 3, requests: 1000, shard: ALL, engine: "a broken one" });
      assert.ok(report.failures.length > 0);
      for (const { seed, requests, changes, what } of report.failures) {
        const again = await simulate({ seed, requests, changes });
        assert.equal(again.failure?.what, what, `seed ${seed} doesn't fail again`);
      }
    }));

test("what failed is made smaller, and fails the same way", () =>
  broken(
    ModelScheme.prototype,
    "populate",
    () => 0,
    async () => {
      const report = await campaign({ seed: 7, runs: 3, requests: 2000, shard: ALL, engine: "a broken one" });
      for (const { requests, changes, what } of report.failures) {
        assert.equal(what, "LINEAR");
        assert.ok(requests <= 1000, `${requests} requests of 2,000 are left`);
        assert.ok(Object.keys(changes).length > 0);
      }
    },
  ));

test("shards share the seeds between them, and their reports add up to the whole", async () => {
  const part = (index: number, of: number): ReturnType<typeof campaign> =>
    campaign({ seed: 5, runs: 7, requests: 200, shard: { index, of }, engine: "this one" });
  const whole = await part(0, 1);
  const shards = [await part(0, 3), await part(1, 3), await part(2, 3)];
  assert.deepEqual(
    shards.map((s) => s.runs),
    [3, 2, 2],
  );
  const merged = merge(shards.map((report, i) => ({ name: `shard ${i}`, json: JSON.stringify(report) })));
  assert.deepEqual({ ...merged, virtualMs: 0 }, { ...whole, virtualMs: 0 });
  assert.ok(Math.abs(merged.virtualMs - whole.virtualMs) < 1e-6);
});

test("deploy/simulate.yaml: as many shards as pods, of the version that this is", () => {
  const job = parse(readFileSync("deploy/simulate.yaml", "utf8"));
  assert.deepEqual([job.kind, job.spec.completionMode], ["Job", "Indexed"]);
  const [container] = job.spec.template.spec.containers;
  const { args, command } = container as { args: string[]; command: string[] };
  assert.equal(args[args.indexOf("--shard") + 1], String(job.spec.completions));
  const { version } = JSON.parse(readFileSync("package.json", "utf8"));
  assert.ok(command.includes(`pinless@${version}`));
});

test("merge refuses what isn't a report, is of another format, or of another engine", async () => {
  const report = await campaign({ seed: 1, runs: 1, requests: 10, shard: ALL, engine: "this one" });
  const json = (changes: object): string => JSON.stringify({ ...report, ...changes });
  const code = { code: "ERR_INVALID_ARG_VALUE" };
  assert.throws(() => merge([]), code);
  assert.throws(() => merge([{ name: "a", json: "no JSON" }]), { ...code, message: /a isn't JSON/ });
  assert.throws(() => merge([{ name: "a", json: "null" }]), { ...code, message: /a isn't a report/ });
  assert.throws(() => merge([{ name: "a", json: json({ format: "other" }) }]), {
    ...code,
    message: /a isn't a report/,
  });
  const others = [
    { name: "a", json: json({}) },
    { name: "b", json: json({ engine: "another" }) },
  ];
  assert.throws(() => merge(others), { ...code, message: /a is of this one, b of another/ });
});
