// The arguments of bench:engine, its rows, and its tables; nothing is measured.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const BENCHMARKS = new URL("../../../../benchmarks/", import.meta.url);
const { rowsOf } = await import(new URL("rows.mjs", BENCHMARKS).href);
const { figuresOf, tableOf } = await import(new URL("report.mjs", BENCHMARKS).href);

const REFUSED: readonly [args: readonly string[], said: RegExp][] = [
  [["--bed", "ramdisk"], /--bed takes zram, loop and file, got ramdisk/],
  [["--bed", "file"], /--bed file needs --file FILE/],
  [["--rounds", "0"], /--rounds takes a number from 1 on, got 0/],
  [["--ms", "fast"], /--ms takes a number from 1 on, got fast/],
  [["--only", "nothing"], /no row has a name with one of these in it: nothing/],
  [["--depth", "3"], /--depth/],
];

for (const [args, said] of REFUSED) {
  test(`bench:engine refuses ${args.join(" ")}`, () => {
    const script = fileURLToPath(new URL("engine.mjs", BENCHMARKS));
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { encoding: "utf8" });
    assert.equal(status, 2, stderr);
    assert.match(stderr, said);
    assert.equal(stdout, "");
  });
}

const namesOf = (only?: string): string[] => rowsOf(only).map(({ name }: { name: string }) => name);

test("rows are chosen by whole words of their names, and C's loop comes with them", () => {
  assert.deepEqual(namesOf("callback 4 KiB depth 1"), ["C 4 KiB depth 1", "callback 4 KiB depth 1"]);
  assert.deepEqual(namesOf("promises 64 KiB, aio promise 128 KiB"), [
    "C 64 KiB depth 32",
    "promises 64 KiB depth 32",
    "C 128 KiB depth 32",
    "aio promise 128 KiB depth 32",
  ]);
  for (const contender of ["C", "callback", "promises"])
    assert.equal(namesOf().filter((name) => name.startsWith(`${contender} `) && !name.includes("per-io")).length, 6);
});

test("a table has a line for each row measured, and says what ran and what couldn't", () => {
  const rounds = [1, 3, 2].map((cpuUsPerIo) => ({
    iops: 1_500_000,
    cpuUsPerIo,
    userUsPerIo: cpuUsPerIo / 4,
    systemUsPerIo: (cpuUsPerIo * 3) / 4,
  }));
  const ofC = rounds.map((round) => ({ ...round, iops: 3_000_000, cpuUsPerIo: 1 }));
  const details = { p50Us: 12, p99Us: 340, p999Us: 5600, systemCallsPerIo: null, garbageBytesPerIo: 3 };
  const ours = { name: "ours", ...figuresOf(rounds, ofC), ...details, ran: "io_uring, lease; degraded" };
  const lines = tableOf([ours, { name: "fio", missing: "fio isn't installed" }]).split("\n");
  const cells = (line: string): string[] => line.split("|").map((cell) => cell.trim());
  assert.deepEqual(cells(lines[2]), [
    ...["", "ours", "1,500,000", "0.50 (0.50–0.50)", "2.00 (0.50 + 1.50)", "2.00 (1.00–3.00)"],
    ...["12", "340", "5600", "–", "3", "–", ""],
  ]);
  assert.equal(cells(lines[0]).length, cells(lines[2]).length);
  assert.deepEqual(lines.slice(3), [
    "",
    "What ran:",
    "",
    "- io_uring, lease; degraded (ours)",
    "- not measured: fio isn't installed (fio)",
  ]);
});
