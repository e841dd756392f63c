// What is written for people fits a terminal of 80 columns, and where there's none it's written for one.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { renderGrid } from "../../dist/bench/report/grid.js";
import { parseJson } from "../../dist/cli/json-source.js";
import { renderStudy } from "../../dist/cli/what-if-text.js";
import { readStudy } from "../../dist/simulate/what-if/plan.js";
import { runStudy } from "../../dist/simulate/what-if/study.js";
import { runCommand } from "../support/children.js";
import { scratchDirectory } from "../support/undo.js";

function fits(text: string, what: string): void {
  for (const line of text.split("\n")) assert.ok([...line].length <= 80, `${what}: ${line}`);
}

test("every command's help, and what they say, are lines of 80 columns at most", async (t) => {
  const file = path.join(scratchDirectory(t), "one.yaml");
  writeFileSync(
    file,
    "about: a scenario that has more to say of itself than there's room for\nrequests: [read page 0]\n",
  );
  const helps = ["bench", "check", "doctor", "release", "simulate", "top"].map((command) => [command, "--help"]);
  const outputs = [["doctor"], ["check", file], ["simulate", "--runs", "2", "--requests", "50"]];
  for (const args of [["--help"], ...helps, ...outputs]) {
    const { code, stdout, stderr } = await runCommand(args);
    assert.deepEqual([code, stderr], [0, ""], args.join(" "));
    fits(stdout, args.join(" "));
  }
});

test("a table that is wider than the terminal goes on below, and leaves nothing out", () => {
  const columns = Array.from({ length: 12 }, (_, i) => `column ${i}`);
  const cells = columns.map((column) => `of ${column}`);
  const rows = ["first", "second with a longer name"].map((name) => ({ name, cells }));
  const lines = renderGrid({ title: "Wide", columns, rows }, { columns: 80, colors: false, charts: false });
  fits(lines.join("\n"), "grid");
  const words = `${lines.join("\n")} `.replace(/\s+/g, " ");
  for (const column of columns) assert.equal(words.split(`of ${column} `).length, 3, column);
  assert.equal(words.split("second with a longer name").length, lines.filter((line) => line === "").length + 2);
});

test("plots tell designs apart without colours", async () => {
  const text = JSON.stringify({
    machine: { bytes: "1 GiB" },
    buffers: { bytes: "64 MiB" },
    run: { seconds: 0.01 },
    sweep: { "io.depth": [4, 64] },
  });
  const report = await runStudy(readStudy(parseJson(text)), {
    engine: "this one",
    seed: 1,
    stopped: () => false,
    progress: () => {},
    turn: async () => {},
  });
  for (const colors of [false, true]) {
    const shown = stripVTControlCharacters(renderStudy(report!, { columns: 80, colors, charts: true }));
    fits(shown, "study");
    // Two points each, and the axis beside the first.
    const plot = shown.split(/\nCPU a request, µs\n/)[1]!.split("g: gup, n: notifier, p: pinless")[0]!;
    assert.match(plot, /p/);
    assert.match(plot, /[gn]/);
  }
});
