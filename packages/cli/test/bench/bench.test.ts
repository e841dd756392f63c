// One short run of the comparison, and what its figures have to be whatever the machine's speed is.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { renderReport } from "../../dist/bench/report/table.js";
import {
  type BenchOperationFigures,
  FORMAT,
  type HostHugeFigures,
  type LossFigures,
  type Maybe,
  type Report,
  type Row,
} from "../../dist/bench/report-schema.js";
import { run } from "./run.js";

const scratch = mkdtempSync(path.join(tmpdir(), "pinless-quick-"));
const root = process.geteuid?.() === 0;
let report: Report;

before(async () => {
  const { code, stdout, stderr } = await run(["bench", "--quick", "--json", "-"], scratch);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, "");
  report = JSON.parse(stdout);
});
after(() => rmSync(scratch, { recursive: true }));

function rowOf(name: string): Row {
  const row = report.rows.find((candidate) => candidate.name === name);
  assert.ok(row !== undefined, `there is no row ${name}`);
  return row;
}

/** The figures, or a failure with the reason why there are none. */
function there<T extends object>(figures: Maybe<T>): T {
  assert.ok(!("skipped" in figures), `skipped: ${(figures as { skipped?: string }).skipped}`);
  return figures as T;
}

/** Reason why there is no lifetime registration on this machine, or false. */
function noLifetime(): string | false {
  const ran = there(rowOf("io_uring × lifetime").ran);
  return ran.registeredShare < 1 && `${root ? "machine: " : ""}${ran.degraded.join("; ")}`;
}

test("every row says what ran, and has figures", () => {
  assert.equal(report.format, FORMAT);
  assert.equal(report.rows.length, 10);
  for (const row of report.rows) {
    const ran = there(row.ran);
    assert.equal(ran.kernel, report.machine.kernel);
    assert.equal(ran.filesystem, report.settings.filesystem);
    for (const load of [there(row.read4KiB), there(row.read128KiB)]) {
      assert.ok(load.requests > 0 && load.requestsPerSecond > 0 && load.cpuUsPerRequest > 0, row.name);
      assert.equal(load.readsLost, 0, row.name);
      const { p50Us, p99Us, p999Us } = load.latency;
      assert.ok(0 < p50Us && p50Us <= p99Us && p99Us <= p999Us, row.name);
    }
  }
  assert.equal(there(rowOf("io_uring × per-io").ran).registeredShare, 0);
});

test("every scheme runs as itself, on the pages that its row promises", (t) => {
  for (const { name, ran, scheme, pin } of report.rows) {
    if (scheme === null || pin === "lease" || (pin === "lifetime" && noLifetime() !== false)) continue;
    assert.equal(there(ran).scheme, scheme, name);
    assert.equal(there(ran).pin, pin, name);
  }
  for (const { name, ran } of report.rows.filter(({ pages }) => pages === "small"))
    assert.equal(there(ran).hugeShare, 0, name);
  if (!["always", "madvise"].includes(report.machine.hugePages ?? "")) return t.skip("machine: no huge pages");
  for (const { name, ran } of report.rows.filter(({ pages }) => pages === "huge"))
    assert.ok(there(ran).hugeShare! > 0.5, name);
});

test("the waits of operations are a distribution", () => {
  for (const { name, scheme, storm4KiB } of report.rows) {
    if (scheme === null) continue;
    const { waits, operations } = there(storm4KiB);
    assert.ok(waits.count > 0 && waits.p50Ms <= waits.p99Ms && waits.p99Ms <= waits.maxMs, name);
    const inBuckets = waits.buckets.reduce((sum, { count }) => sum + count, 0);
    assert.equal(inBuckets, waits.count, name);
    const all = Object.values(operations).flatMap((kind) => ("skipped" in kind ? [] : [kind.operations]));
    assert.equal(
      waits.count,
      all.reduce((sum, count) => sum + count, 0),
      name,
    );
    const bounds = waits.buckets.map(({ belowMs }) => belowMs ?? Number.POSITIVE_INFINITY);
    assert.deepEqual(
      bounds,
      [...bounds].sort((a, b) => a - b),
    );
  }
});

test("after an invalidation leases are taken again, and no other registration", () => {
  for (const { name, scheme, pin, revalidation } of report.rows) {
    if (scheme !== "io_uring") {
      assert.ok("skipped" in revalidation, name);
      continue;
    }
    const { invalidations, leasesTaken, usPerLease } = there(revalidation);
    assert.ok(invalidations > 0, name);
    if (pin === "lease") continue;
    assert.deepEqual({ name, leasesTaken, usPerLease }, { name, leasesTaken: 0, usPerLease: null });
  }
  const leased = rowOf("io_uring × lease");
  if (there(leased.ran).registeredShare > 0.5) assert.ok(there(leased.revalidation).leasesTaken > 0);
});

test("on a machine with one NUMA node every row says so", (t) => {
  if (report.machine.numaNodes > 1) return t.skip("machine: more than one NUMA node");
  for (const { name, scheme, migration } of report.rows) {
    assert.ok("skipped" in migration, name);
    if (scheme !== null) assert.match(migration.skipped, /one NUMA node/);
  }
});

test("huge pages of the host: each way to hold buffers, and the control without any", (t) => {
  if (!root) {
    assert.match((report.hostHugePages as { skipped: string }).skipped, /needs root/);
    return;
  }
  const { skipped } = report.hostHugePages as { skipped?: string };
  if (skipped !== undefined) return t.skip(`machine: ${skipped}`);
  const rows = new Map(there(report.hostHugePages).rows.map(({ name, figures }) => [name, figures]));
  const of = (name: string): HostHugeFigures => there(rows.get(name)!);
  assert.equal(of("no buffers").bufferBytes, 0);
  const leased = of("io_uring × lease, small pages");
  assert.equal(leased.pinnedBytes, 0);
  assert.ok(leased.blocksBefore > 1);
  const pinned = of("io_uring × lifetime, small pages");
  assert.equal(pinned.pinnedBytes, pinned.bufferBytes);
  assert.equal(pinned.blocksAfter, pinned.blocksBefore);
  for (const name of rows.keys()) assert.ok(of(name).hugePagesAsked >= of(name).hugePagesGot, name);
});

test("leases: every operation is done, nothing is lost, nothing is pinned at rest", () => {
  const row = rowOf("io_uring × lease");
  const storm = there(row.storm4KiB);
  for (const [kind, figures] of Object.entries(storm.operations) as [string, Maybe<BenchOperationFigures>][]) {
    if (kind === "pageOut" && report.machine.swap === "none") continue;
    const { operations, pagesAsked, pagesDone, pagesRefused } = there(figures);
    assert.ok(operations > 0, kind);
    assert.deepEqual({ kind, pagesDone, pagesRefused }, { kind, pagesDone: pagesAsked, pagesRefused: 0 });
  }
  assert.equal(storm.readsLost, 0);
  assert.ok(storm.readsChecked > 0);
  assert.equal(there(row.lostAfterDiscard).blocksLost, 0);
  const rest = there(row.rest);
  assert.equal(rest.pinnedBytesAtRest, 0);
  assert.ok(rest.residencyMaxMs !== null);
});

test("nothing is lost where nothing is registered", () => {
  const row = rowOf("io_uring × per-io");
  assert.equal(there(row.storm4KiB).readsLost, 0);
  assert.equal(there(row.lostAfterDiscard).blocksLost, 0);
  assert.equal(there(row.rest).pinnedBytesAtRest, 0);
});

test("lifetime registrations lose reads, refuse operations and stay pinned", (t) => {
  const reason = noLifetime();
  if (reason !== false) return t.skip(reason);
  for (const name of ["io_uring × lifetime", "io_uring × lifetime, small pages"]) {
    const row = rowOf(name);
    const { blocksLost, blocksRead } = there(row.lostAfterDiscard);
    assert.equal(blocksLost, blocksRead);
    assert.ok(there(row.storm4KiB).readsLost > 0);
    const rest = there(row.rest);
    assert.equal(rest.pinnedBytesAtRest, 16 << 20);
    assert.equal(rest.residencyMaxMs, null);
  }
});

test("data that a device wrote to clean pages survives reclaim, except with lifetime registrations", (t) => {
  if (report.machine.swap === "none") return t.skip(`${root ? "machine: " : ""}${report.machine.swapReason}`);
  const lost = (name: string): LossFigures => there(rowOf(name).lostAfterReclaim);
  assert.equal(lost("io_uring × lease").blocksLost, 0);
  assert.equal(lost("io_uring × per-io").blocksLost, 0);
  if (noLifetime() === false) assert.ok(lost("io_uring × lifetime").blocksLost > 0);
});

test("nothing is left behind", () => {
  assert.deepEqual(readdirSync(scratch), []);
  assert.ok(!readFileSync("/proc/swaps", "utf8").includes(scratch));
});

test("--file reads the user's file and leaves it as it is; without scratch space only swap is missing", async () => {
  const file = path.join(scratch, "mine");
  const content = randomBytes(16 << 20);
  writeFileSync(file, content);
  try {
    const args = ["bench", "--quick", "--file", file, "--json", path.join(scratch, "figures.json")];
    const { code, stdout, stderr } = await run(args, path.join(scratch, "nowhere"));
    assert.equal(code, 0, stderr);
    assert.match(stdout, /reads of .*mine, 16 MiB/);
    const { rows, settings }: Report = JSON.parse(readFileSync(path.join(scratch, "figures.json"), "utf8"));
    assert.equal(settings.fileBytes, content.length);
    assert.equal(there(rows[0]!.lostAfterDiscard).blocksLost, 0);
    assert.ok(content.equals(readFileSync(file)));
    assert.deepEqual(readdirSync(scratch).sort(), ["figures.json", "mine"]);
  } finally {
    rmSync(file);
    rmSync(path.join(scratch, "figures.json"), { force: true });
  }
});

for (const columns of [40, 80, 200]) {
  test(`the tables fit into ${columns} columns, in plain text`, () => {
    const text = renderReport(report, { columns, colors: false, charts: columns === 80 });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f\x7f]/);
    for (const line of text.split("\n")) assert.ok(line.length <= columns, `${line.length}: ${line}`);
    for (const { label } of report.rows) assert.ok(text.includes(label), label);
    const unwrapped = text.replaceAll(/\s+/g, " ");
    for (const line of report.verdict) assert.ok(unwrapped.includes(line), line);
  });
}
