// Two reports side by side.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { type Comparison, compareReports } from "../../dist/bench/report/comparison.js";
import { renderComparison } from "../../dist/bench/report/comparison-table.js";
import type { Report } from "../../dist/bench/report-schema.js";
import { readReportFile } from "../../dist/commands/bench-report-file.js";
import { sampleReport, sampleRow } from "./report.js";
import { run, start } from "./run.js";

const directory = mkdtempSync(path.join(tmpdir(), "pinless-compare-"));
after(() => rmSync(directory, { recursive: true }));

let files = 0;
function written(content: unknown): string {
  const file = path.join(directory, `${files++}.json`);
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  return file;
}

function compared(a: Report, b: Report): Comparison {
  return compareReports(readReportFile(written(a)), readReportFile(written(b)), "0.0.0");
}

function changeOf({ figures }: Comparison, row: string, figure: string): string | undefined {
  const found = figures.find((candidate) => candidate.row === row && candidate.figure === figure);
  return found && `${found.ratio} ${found.change}`;
}

test("ratios, and which way is better", () => {
  const comparison = compared(
    sampleReport({ rows: [sampleRow("x", { readsPerSecond: 1000, spawnMs: 10 })] }),
    sampleReport({ rows: [sampleRow("x", { readsPerSecond: 1500, spawnMs: 15 })] }),
  );
  assert.equal(changeOf(comparison, "x", "4 KiB: reads/s"), "1.5 better");
  assert.equal(changeOf(comparison, "x", "spawn, ms"), "1.5 worse");
  assert.equal(changeOf(comparison, "x", "4 KiB: p50 µs"), "1 same");
  assert.deepEqual(comparison.differences, []);
});

test("if A is 0 there is no ratio, but still a direction", () => {
  const comparison = compared(
    sampleReport({ rows: [sampleRow("x", { pinnedBytes: 0 })] }),
    sampleReport({ rows: [sampleRow("x", { pinnedBytes: 4096 })] }),
  );
  assert.equal(changeOf(comparison, "x", "pinned at rest, bytes"), "null worse");
});

test("other differences between the runs are listed", () => {
  const a = sampleReport({ rows: [sampleRow("x", {})] });
  const b = sampleReport({ rows: [sampleRow("x", { ranPin: "per-io" })] });
  const { differences } = compared(a, {
    ...b,
    machine: { ...b.machine, kernel: "7.0" },
    settings: { ...b.settings, filesystem: "xfs" },
  });
  assert.deepEqual(differences, [
    'kernel: "6.18" in A, "7.0" in B',
    'filesystem: "ext4" in A, "xfs" in B',
    'x, ran pin: "lease" in A, "per-io" in B',
  ]);
});

test("rows and figures that only one report has are listed", () => {
  const comparison = compared(
    sampleReport({ rows: [sampleRow("both", {}), sampleRow("old", {})] }),
    sampleReport({ rows: [{ ...sampleRow("both", {}), spawn: { skipped: "no time" } }, sampleRow("new", {})] }),
  );
  assert.deepEqual(comparison.rowsOnlyInA, ["both: spawn, ms", "old"]);
  assert.deepEqual(comparison.rowsOnlyInB, ["new"]);
  const text = renderComparison(comparison, { columns: 80, colors: false, charts: false });
  for (const line of ["Only in A: old", "Only in B: new", "Only in A: both: spawn, ms"]) assert.ok(text.includes(line));
});

for (const columns of [40, 80]) {
  test(`it fits into ${columns} columns, in plain text`, () => {
    const report = sampleReport({ rows: [sampleRow("io_uring × lifetime, small pages", {})] });
    const text = renderComparison(
      { ...compared(report, report), a: "a.json", b: "b.json" },
      { columns, colors: false, charts: false },
    );
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f\x7f]/);
    for (const line of text.split("\n")) assert.ok(line.length <= columns, `${line.length}: ${line}`);
  });
}

test("the command: a table, or JSON", async () => {
  const [a, b] = [written(sampleReport({})), written(sampleReport({}))];
  const table = await run(["bench", "--compare", a, b]);
  assert.equal(table.code, 0, table.stderr);
  assert.match(table.stdout, /0 worse/);
  const json = await run(["bench", "--compare", a, b, "--json", "-"]);
  assert.equal(JSON.parse(json.stdout).a, a);
  const file = path.join(directory, "comparison.json");
  assert.equal((await run(["bench", "--compare", a, b, "--json", file])).code, 0);
  assert.equal(JSON.parse(readFileSync(file, "utf8")).b, b);
});

for (const [what, content, code, why] of [
  ["not JSON", "{", "ERR_BENCH_NOT_A_REPORT", /isn't JSON/],
  ["JSON of something else", [1, 2], "ERR_BENCH_NOT_A_REPORT", /isn't a report/],
  ["null", null, "ERR_BENCH_NOT_A_REPORT", /isn't a report/],
  ["of another format", { ...sampleReport({}), format: 1 }, "ERR_BENCH_FORMAT", /format 1/],
  ["of no format", { ...sampleReport({}), format: undefined }, "ERR_BENCH_FORMAT", /before formats/],
  ["half a report", { ...sampleReport({}), machine: undefined }, "ERR_BENCH_NOT_A_REPORT", /complete report/],
] as const) {
  test(`refused: a file that is ${what}`, async () => {
    const [good, bad] = [written(sampleReport({})), written(content)];
    assert.throws(() => compareReports(readReportFile(good), readReportFile(bad), "0"), { code });
    const { code: exit, stdout, stderr } = await run(["bench", "--compare", good, bad]);
    assert.deepEqual([exit, stdout], [2, ""]);
    assert.match(stderr, /^pinless bench: [^\n]+\n$/);
    assert.match(stderr, why);
  });
}

test("refused: a file that doesn't exist", async () => {
  const { code, stderr } = await run(["bench", "--compare", written(sampleReport({})), path.join(directory, "none")]);
  assert.equal(code, 2);
  assert.match(stderr, /^pinless bench: .*none can't be read: there's no such file \(ENOENT\)\n$/);
});

test("a closed pipe on the standard output ends the command quietly", async () => {
  const many = sampleReport({ rows: Array.from({ length: 300 }, (_, i) => sampleRow(`row ${i}`, {})) });
  const file = written(many);
  const { child, ended } = start(["bench", "--compare", file, file]);
  child.stdout!.destroy();
  const { code, stderr } = await ended;
  assert.deepEqual([code, stderr], [0, ""]);
});
