// The bench where something isn't there, goes away, or is in use by another bench.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { scratchDirectory, undoing, withSetting } from "../../../pinless/dist-test/support/undo.js";
import { until } from "../../../pinless/dist-test/support/until.js";
import type { Report } from "../../dist/bench/report-schema.js";
import { childrenOf, run, start } from "./run.js";

const root = process.geteuid?.() === 0;

test("io_uring switched off: its rows say why, the others run, and the exit code is 0", async (t) => {
  if (!root) return t.skip("needs root");
  await withSetting(t, "/proc/sys/kernel/io_uring_disabled", "2");
  const { code, stdout, stderr } = await run(["bench", "--quick", "--json", "-"], scratchDirectory(t));
  assert.deepEqual([code, stderr], [0, ""]);
  const { rows }: Report = JSON.parse(stdout);
  for (const row of rows) {
    for (const figures of [row.ran, row.read4KiB, row.read128KiB]) {
      if (row.scheme !== "io_uring") assert.ok(!("skipped" in figures), row.name);
      else assert.match((figures as { skipped: string }).skipped, /io_uring_disabled is 2/, row.name);
    }
  }
});

test("two benches at the same time in one scratch directory and on one file in tmpfs", async (t) => {
  const scratch = scratchDirectory(t);
  const directory = mkdtempSync("/dev/shm/pinless-test-");
  undoing(t, () => rmSync(directory, { recursive: true }));
  const file = path.join(directory, "file");
  writeFileSync(file, randomBytes(16 << 20));
  const both = await Promise.all([1, 2].map(() => run(["bench", "--quick", "--file", file, "--json", "-"], scratch)));
  for (const { code, stdout, stderr } of both) {
    assert.deepEqual([code, stderr], [0, ""]);
    const { settings, rows }: Report = JSON.parse(stdout);
    assert.equal(settings.filesystem, "tmpfs");
    assert.ok(!("skipped" in rows[0]!.read4KiB));
    const { lostAfterDiscard } = rows.find(({ name }) => name === "io_uring × lease")!;
    assert.equal("skipped" in lostAfterDiscard ? lostAfterDiscard.skipped : lostAfterDiscard.blocksLost, 0);
  }
  assert.deepEqual(readdirSync(scratch), []);
});

test("a file that vanishes during the run: one line for each reason, and the run ends", async (t) => {
  const scratch = scratchDirectory(t);
  const file = path.join(scratchDirectory(t, tmpdir()), "mine");
  writeFileSync(file, randomBytes(16 << 20));
  const { child, ended } = start(["bench", "--quick", "--file", file], scratch);
  await until("the run to begin", () => childrenOf(child.pid!).length >= 10);
  rmSync(file);
  const { code, stderr } = await ended;
  assert.equal(code, 1);
  for (const line of stderr.trimEnd().split("\n")) assert.match(line, /^pinless bench: .*ENOENT/);
  assert.deepEqual(readdirSync(scratch), []);
  assert.ok(!readFileSync("/proc/swaps", "utf8").includes(scratch));
});
