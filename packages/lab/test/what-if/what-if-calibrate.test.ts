// The what-if's model against what was measured: the same is better in every row; a model with a mistake is found out.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { type CalibratedRow, calibrate, calibrated } from "../../dist/what-if/calibrate/calibrate.js";
import { type CalibrationRow, side } from "../../dist/what-if/calibrate/row.js";

const DIST = path.resolve(import.meta.dirname, "../../dist");
const { rows, disagreeing, notModelled } = calibrate("this one", 1);

test("in every row the model prefers the same design as the measurement", () => {
  assert.equal(disagreeing, 0);
  assert.ok(rows.filter(({ winner }) => winner !== null).length >= 25);
  assert.ok(
    rows.some(({ winner }) => winner?.model === "first") && rows.some(({ winner }) => winner?.model === "second"),
  );
  assert.ok(notModelled.length > 0);
});

test("costs of pins follow from the mechanism: no row's figure is an input from its own measurement", () => {
  const costs = /^taking|^giving|DONTFORK|POPULATE|loop in C|right after the last|on ext4$|wrong checksums/;
  const ofPins = rows.filter(({ title }) => !costs.test(title));
  assert.ok(ofPins.length >= 15, `${ofPins.length}`);
  for (const { title, sides } of ofPins) assert.ok(!sides.some(({ isInput }) => isInput), title);
});

test("figures that aren't inputs are within a factor of 2.5 of the measured ones", () => {
  const ratios = rows.flatMap(({ sides }) => sides.flatMap(({ ratio, isInput }) => (isInput ? [] : [ratio])));
  assert.ok(ratios.length > 30);
  for (const ratio of ratios) assert.ok(ratio !== null && ratio > 0.4 && ratio < 2.5, `${ratio}`);
});

test("a row with another winner disagrees, and so does a tie where the measurement shows a difference", () => {
  const row = (a: number, b: number): CalibratedRow => {
    const made: CalibrationRow = {
      title: "",
      unit: "",
      better: "less",
      sides: [side("a", [9, 11], a), side("b", 100, b)],
      mechanism: "",
      inputs: [],
    };
    return calibrated(made);
  };
  assert.deepEqual([row(10, 50).agrees, row(50, 10).agrees, row(50, 50.1).agrees], [true, false, false]);
  assert.deepEqual(row(50, 10).winner, { measured: "first", model: "second" });
  assert.deepEqual(
    row(5, 10).sides.map(({ ratio }) => ratio),
    [0.5, 0.1],
  );
});

/** `pinless-lab` in a process of its own, after `first`. */
function pinless(args: readonly string[], first = ""): { status: number | null; stdout: string; stderr: string } {
  const main = JSON.stringify(path.join(DIST, "main.js"));
  // Without the script's name: --eval has none.
  const source = `${first}; process.argv = ["node", ...${JSON.stringify(args)}]; await import(${main})`;
  return spawnSync(process.execPath, ["--input-type=module", "--eval", source], { encoding: "utf8", timeout: 180_000 });
}

test("what-if calibrate exits with 0, and with 1 where a mistake in the machine makes something else better", () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), "pinless-calibration-"));
  try {
    const file = path.join(directory, "report.json");
    const right = pinless(["what-if", "calibrate", "--seed", "1", "--json", file]);
    assert.equal(right.status, 0, right.stderr);
    assert.match(right.stdout, /The same is better in (\d+) of \1 rows/);
    assert.match(right.stdout, /What the model does not model/);
    // The same seed is the same calibration, wherever it runs.
    assert.deepEqual(JSON.parse(readFileSync(file, "utf8")).rows, JSON.parse(JSON.stringify(rows)));
  } finally {
    rmSync(directory, { recursive: true });
  }
  const machine = JSON.stringify(path.join(DIST, "model/address-space.js"));
  const mistake = `const { AddressSpace } = await import(${machine}); AddressSpace.prototype.migrate = () => 0`;
  const wrong = pinless(["what-if", "calibrate", "--json", "-"], mistake);
  assert.equal(wrong.status, 1, wrong.stderr);
  assert.ok(JSON.parse(wrong.stdout).disagreeing > 0);
});

test("what-if reports errors in a file, and exits with 2 for those and for an unknown option", () => {
  const file = path.join(DIST, "../package.json");
  const wrong = pinless(["what-if", file]);
  assert.equal(wrong.status, 2);
  assert.match(wrong.stderr, /^pinless-lab what-if: .*package\.json:2: "name" isn't known; there are machine/);
  assert.equal(wrong.stdout, "");
  assert.equal(pinless(["what-if", file, "--runs", "3"]).status, 2);
});
