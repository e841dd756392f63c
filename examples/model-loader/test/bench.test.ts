/** The benchmark, small. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

test("the benchmark runs, and loads leave nothing in the page cache", () => {
  const args = [join(import.meta.dirname, "../bench/bench.js"), "--small"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  const grew = /^\| pinless, loadModel \|.*\| (\S+) MiB \| \S+ MiB \|$/m.exec(stdout)?.[1];
  assert.ok(Number(grew) < 1, stdout);
  for (const name of ["readFile", "4 reads of 1 MiB at a time", "mmap by koffi"])
    assert.match(stdout, new RegExp(name));
});
