// The whole engine in the machine, under the load and faults of a seed: it holds, and is repeatable.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parse } from "yaml";
import { parseJson } from "../../../cli/dist/command/json-source.js";
import { rounds } from "../../../pinless/dist-test/support/rounds.js";
import { NO_FAULTS } from "../../dist/model/faults.js";
import { campaign } from "../../dist/simulate/campaign.js";
import type { InputSource } from "../../dist/simulate/input-error.js";
import { changesOf } from "../../dist/simulate/overrides.js";
import { type CampaignReport, merge, missingOf, readReport } from "../../dist/simulate/report.js";
import { simulate } from "../../dist/simulate/run-simulation.js";
import { type Swarm, swarmOf } from "../../dist/simulate/swarm.js";

const ALL = { index: 0, of: 1 };
const runs = Number(process.env.PINLESS_RUNS ?? rounds(16, 40));

test(`${runs} seeds: nothing is lost, stale or left over, whatever the load and the faults`, async () => {
  const report = await campaign({ seed: 1, runs, requests: 2000, shard: ALL, engine: "this one", mutant: null });
  assert.deepEqual(report.failures, []);
  assert.equal(report.runs, runs);
  assert.equal(report.requests, runs * 2000);
  assert.ok(report.operations > runs * 20);
});

test("the same seed gives the same run, step by step; another seed doesn't", async () => {
  const traced = async (seed: number): Promise<string[]> => {
    const lines: string[] = [];
    const report = await simulate({ seed, requests: 300, steps: (line) => lines.push(line) });
    return [...lines, report.trace];
  };
  for (const seed of [1, 2, 3, 20201104]) assert.deepEqual(await traced(seed), await traced(seed));
  assert.notEqual((await traced(1)).at(-1), (await traced(2)).at(-1));
});

test("children see memory as of the fork; not where fork shares pinned pages (before Linux 5.12)", async () => {
  for (const sharesPinned of [false, true])
    for (const seed of [1, 3, 6, 8]) {
      const changes = { sharesPinned, inherit: true, forkMs: 3 };
      const { failure } = await simulate({ seed, requests: 1000, changes });
      assert.equal(failure?.what, sharesPinned ? "LINEAR" : undefined, `seed ${seed}: ${failure?.message}`);
    }
});

test("the engine holds on the proposal's kernel too, where invalidations wait for I/O in flight", async () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const { failure, requests } = await simulate({ seed, requests: 300, changes: { design: "notifier" } });
    assert.deepEqual([failure, requests], [null, 300], `seed ${seed}`);
  }
});

test("pages that are unpinned late don't use up the memory, however fast the device is", async () => {
  const { timing, engine } = swarmOf(80);
  const changes: Partial<Swarm> = {
    engine: { ...engine, scheme: "io_uring", pin: "per-io", depth: 32 },
    timing: { ...timing, deviceMs: [0.001, 0.002], releaseMs: 9.4 },
    inFlight: 32,
  };
  const { failure, virtualMs } = await simulate({ seed: 80, requests: 40_000, changes });
  assert.equal(failure, null);
  assert.ok(virtualMs < 200);
});

test("shards divide the seeds, and their reports add up to the whole", async () => {
  const part = (index: number, of: number): ReturnType<typeof campaign> =>
    campaign({ seed: 5, runs: 7, requests: 200, shard: { index, of }, engine: "this one", mutant: null });
  const whole = await part(0, 1);
  const shards = [await part(0, 3), await part(1, 3), await part(2, 3)];
  assert.deepEqual(
    shards.map((s) => s.runs),
    [3, 2, 2],
  );
  const merged = merge(shards.map((report, i) => sourceOf(`shard ${i}`, report)));
  assert.deepEqual(missingOf(merged), []);
  const alone = { virtualMs: 0, shards: [] };
  assert.deepEqual({ ...merged, ...alone }, { ...whole, ...alone });
  assert.ok(Math.abs(merged.virtualMs - whole.virtualMs) < 1e-6);
  const two = merge([
    sourceOf("a", shards[0]!),
    sourceOf("b", { ...shards[2]!, shards: [{ index: 2, of: 3, runs: 1 }] }),
  ]);
  assert.deepEqual(missingOf(two), ["of 3 shards these are missing: 1", "shard 2 of 3 was cut short: 1 of 2 runs"]);
});

test("deploy/simulate.yaml: as many shards as pods, of the present version", () => {
  const job = parse(readFileSync("deploy/simulate.yaml", "utf8"));
  assert.deepEqual([job.kind, job.spec.completionMode], ["Job", "Indexed"]);
  const [container] = job.spec.template.spec.containers;
  const { args, command } = container as { args: string[]; command: string[] };
  assert.equal(args[args.indexOf("--shard") + 1], String(job.spec.completions));
  const { version } = JSON.parse(readFileSync("packages/lab/package.json", "utf8"));
  assert.ok(command.includes(`@pinless/lab@${version}`));
});

function sourceOf(name: string, report: unknown): InputSource {
  return { name, ...parseJson(JSON.stringify(report, null, 1)) };
}

test("a report of another format, engine or campaign is refused, with its line; so is a duplicate shard", async () => {
  const options = { seed: 1, runs: 2, requests: 10, shard: { index: 0, of: 2 }, engine: "this one", mutant: null };
  const report = await campaign(options);
  const other = await campaign({ ...options, shard: { index: 1, of: 2 } });
  const refuses = (reports: readonly unknown[], message: RegExp): void =>
    assert.throws(() => merge(reports.map((each, i) => sourceOf("ab"[i]!, each))), {
      code: "ERR_LAB_INPUT",
      message,
    });
  refuses([], /nothing to merge/);
  refuses([null], /^a:1: not a report/);
  refuses([{ ...report, format: "pinless-simulate-1" }], /^a:2: .*"pinless-simulate-1"/);
  refuses([{ ...report, requests: -1 }], /^a:\d+: "requests" is a whole number/);
  refuses([{ ...report, shards: [] }], /"shards"/);
  refuses([report, { ...other, engine: "another" }], /^b:3: this report is of another, a of this one/);
  refuses(
    [report, { ...other, mutant: "no-hold" }],
    /^b:3: this report is of this one without "no-hold", a of this one/,
  );
  refuses(
    [report, { ...other, asked: { ...other.asked, seed: 7 } }],
    /^b:6: this report is of another campaign: seed 7, not 1/,
  );
  const changed = { ...other.asked, changes: { inFlight: 1 } };
  refuses(
    [report, { ...other, asked: changed }],
    /^b:\d+: this report is of another campaign: changes {"inFlight":1}, not {}/,
  );
  refuses([{ ...report, asked: { ...report.asked, changes: { odd: 1 } } }], /^a:\d+: a run has no "odd"/);
  refuses([report, report], /^b:\d+: shard 0 is in a too/);
  refuses(
    [report, { ...other, shards: [{ index: 1, of: 3, runs: 1 }] }],
    /^b:\d+: this campaign has 3 shards, that of the first report 2/,
  );
  const failure = { seed: 1, requests: 5, changes: { writeShare: 2 }, what: "LINEAR", message: "", atMs: 0 };
  const lines = JSON.stringify({ ...report, failures: [failure] }, null, 1).split("\n");
  const line = 1 + lines.findIndex((text) => text.includes("writeShare"));
  refuses([{ ...report, failures: [failure] }], new RegExp(`^a:${line}: "writeShare" is a number from 0 to 1`));
  const whole: CampaignReport = { ...report, failures: [{ ...failure, changes: { writeShare: 0.5 } }] };
  assert.deepEqual(readReport(sourceOf("a", { ...whole, asked: { ...whole.asked, requests: 10 } })), whole);
  // What would be worked on without an end, or printed as it is.
  const right = { ...failure, changes: {} };
  for (const [changed, message] of [
    [{ shards: [{ index: 0, of: 4e9, runs: 1 }] }, /"shards.0.of" is a whole number from 0 to 1000000/],
    [{ shards: [{ index: 3, of: 2, runs: 1 }] }, /"shards.0.index" is a whole number from 0 to 1/],
    [{ shards: [{ index: 0, of: 2, runs: 5 }] }, /"shards.0.runs" is a whole number from 0 to 1/],
    [{ shards: [null] }, /"shards.0" has index, of, runs/],
    [{ asked: { ...report.asked, runs: 1e12 } }, /"asked.runs" is a whole number from 0 to 1000000000/],
    [{ asked: { ...report.asked, requests: 1e9 } }, /"asked.requests" is a whole number from 0 to 1000000/],
    [{ asked: null }, /"asked" has seed, runs, requests, changes/],
    [{ failures: [{ ...right, requests: 1e12 }] }, /"failures.0.requests" is a whole number from 0 to 10/],
    [{ failures: [{ ...right, message: 5 }] }, /"failures.0.message" is text/],
    [{ failures: [{ ...right, atMs: "soon" }] }, /"failures.0.atMs" is a number/],
    [{ failures: [null] }, /"failures.0" has seed/],
    [{ mutant: "x; rm -rf" }, /"mutant" is the name of one/],
    [{ engine: "x".repeat(1000) }, /"engine" is text of at most 200/],
    [{ odd: 1 }, /a report has no "odd"; it has format, engine/],
    [{ virtualMs: -1 }, /"virtualMs" is a number/],
  ] as const)
    refuses([{ ...report, ...changed }], message);
  const many = { ...report, shards: [{ index: 5, of: 1e6, runs: 0 }] };
  const [absent] = missingOf(merge([sourceOf("a", many)]));
  assert.match(absent!, /^of 1000000 shards these are missing: 0, 1, 2, 3, 4, 6, .* and 999979 more$/);
});

test("impossible overrides are refused", () => {
  const { engine, timing } = swarmOf(1);
  for (let seed = 1; seed <= 200; seed++) assert.deepEqual(changesOf(seed, swarmOf(seed)), swarmOf(seed));
  const right = { inFlight: 2, engine, timing, faults: { ...NO_FAULTS, short: 1 } };
  assert.deepEqual(changesOf(1, right), right);
  const wrong: readonly [unknown, RegExp][] = [
    [3, /names with values/],
    [null, /names with values/],
    [{ odd: 1 }, /a run has no "odd"; it has engine/],
    [{ inFlight: "x" }, /"inFlight" is a whole number from 1 to 1024/],
    [{ inFlight: 0 }, /"inFlight"/],
    [{ arenaMiB: -5 }, /"arenaMiB"/],
    [{ nodes: 1.5 }, /"nodes" is a whole number from 1 to 64/],
    [{ requestPages: 2.5 }, /"requestPages" is a whole number/],
    [{ memlockPages: 3 }, /"memlockPages" is a whole number from 64 to \d+, or 0/],
    [{ reclaimMs: 1e-9 }, /"reclaimMs"/],
    [{ timing: { ...timing, deviceMs: [0, 1e9] } }, /"timing.deviceMs.1" is a number from 0.0001 to 10000, or 0/],
    [{ busyMs: Number.NaN }, /"busyMs" is a number from 0.0001 to 10000, or 0/],
    [{ faults: { fails: 0 } }, /"short" is missing/],
    [{ faults: 1 }, /"faults" has fails/],
    [{ timing: { ...timing, deviceMs: [1] } }, /"timing.deviceMs" is 2 values/],
    [{ timing: { ...timing, deviceMs: [2, 1] } }, /from its least time to its most/],
    [{ timing: { ...timing, tags: "late" } }, /"timing.tags" is own or in order/],
    [{ design: "other" }, /"design" is gup or notifier/],
    [{ timing: { ...timing, odd: 1 } }, /"timing" has no "odd"/],
    [{ engine: { ...engine, depth: 1.5 } }, /depth/],
  ];
  for (const [value, message] of wrong) assert.throws(() => changesOf(1, value), { code: "ERR_LAB_INPUT", message });
});
