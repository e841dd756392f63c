// Text output fits into a terminal of 80 columns, and has that width without a terminal too.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { parseJson } from "../../../cli/dist/command/json-source.js";
import { runLab } from "../../../pinless/dist-test/support/children.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { renderStudy } from "../../dist/commands/what-if-text.js";
import { readStudy } from "../../dist/what-if/plan.js";
import { runStudy } from "../../dist/what-if/study.js";

function fits(text: string, what: string): void {
  for (const line of text.split("\n")) assert.ok([...line].length <= 80, `${what}: ${line}`);
}

test("the help of every command, and its output, have lines of at most 80 columns", async (t) => {
  const file = path.join(scratchDirectory(t), "one.yaml");
  writeFileSync(
    file,
    "about: a scenario that has more to say of itself than there's room for\nrequests: [read page 0]\n",
  );
  const helps = ["check", "simulate", "simulate run", "simulate trace", "simulate replay", "simulate merge", "what-if"]
    .concat(["what-if run", "what-if calibrate"])
    .map((command) => [...command.split(" "), "--help"]);
  for (const args of [["--help"], ...helps, ["check", file], ["simulate", "--runs", "2", "--requests", "50"]]) {
    const { code, stdout, stderr } = await runLab(args);
    assert.deepEqual([code, stderr], [0, ""], args.join(" "));
    fits(stdout, args.join(" "));
  }
});

test("plots distinguish designs without colours", async () => {
  const text = JSON.stringify({
    machine: { bytes: "1 GiB" },
    buffers: { bytes: "64 MiB" },
    run: { seconds: 0.01 },
    sweep: { "io.depth": [4, 64] },
  });
  const report = await runStudy(readStudy({ name: "plan", ...parseJson(text) }), {
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
