/** The benchmark, small. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { folderFor } from "./vector-files.js";

test("the benchmark runs, draws its plot, and readers agree on what is found", (t) => {
  const svg = join(folderFor(t), "plot.svg");
  const args = [join(import.meta.dirname, "../bench/bench.js"), "--small", "--svg", svg];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  const recalls = (name: string) =>
    [...stdout.matchAll(new RegExp(`^\\| ${name} \\| \\d+ \\| (\\S+)`, "gm"))].map((row) => row[1]);
  const ours = recalls("pinless");
  assert.ok(ours.length === 7 && Number(ours[6]) > 0.95, stdout);
  for (const name of ["pinless, 24 MiB cached", "node:fs", "in memory, no limit"])
    assert.deepEqual(recalls(name), ours);
  assert.match(readFileSync(svg, "utf8"), /^<svg [\s\S]*<polyline class="s2"[\s\S]*<\/svg>\n$/);
});
