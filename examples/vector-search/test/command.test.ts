/** The command as it is run from a shell. */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, watch } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { folderFor, rows, written } from "./vector-files.js";

const main = join(import.meta.dirname, "../src/main.js");
const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: "utf8" });

test("sample, build, info and search work on files, with recall", (t) => {
  const folder = folderFor(t);
  const [base, queries, truth, index] = ["base.fbin", "queries.fbin", "truth.ibin", "index"].map((name) =>
    join(folder, name),
  );
  const small = ["--count", "600", "--dimension", "8", "--queries", "20"];
  assert.equal(run("sample", folder, ...small).status, 0);
  assert.match(run("build", base!, index!, "--degree", "16", "--threads", "1").stdout, /: 600 vectors in /);
  assert.match(run("info", index!).stdout, /^600 vectors of dimension 8, at most 16 neighbours/);
  const output = join(folder, "found.ibin");
  const { stdout } = run("search", index!, queries!, "--truth", truth!, "--output", output);
  assert.ok(Number(/^recall@10 (\S+)$/m.exec(stdout)?.[1]) > 0.95, stdout);
  assert.match(run("search", index!, queries!, "--truth", output).stdout, /^recall@10 1\.0000$/m);
  const wrong = written(t, rows(1, 3, new Float32Array(3)));
  assert.match(
    run("search", index!, wrong).stderr,
    /^ERR_INDEX_DIMENSION: .*: vectors of dimension 3, which is to be 8\n$/,
  );
  assert.match(run("search", index!, queries!, "--k", "11", "--truth", truth!).stderr, /^ERR_INDEX_SIZE: /);
});

test("wrong arguments end with code 2, failures with code 1", (t) => {
  const wrong = [["bild"], ["build", "a"], ["info"], ["info", "a", "b"], ["info", "a", "--k", "0"], ["info", "--x"]];
  for (const args of wrong) assert.deepEqual([args, run(...args).status], [args, 2]);
  const one = written(t, rows(1, 960, new Float32Array(960)));
  assert.equal(run("build", one, `${one}.index`, "--degree", "63").status, 2);
  assert.equal(run("info", join(folderFor(t), "none")).status, 1);
  assert.match(run("--help").stdout, /Exit codes/);
});

test("Ctrl-C ends it, and leaves no file half written", async (t) => {
  const folder = folderFor(t);
  const watcher = watch(folder);
  const begun = once(watcher, "change");
  const child = spawn(process.execPath, [main, "sample", folder, "--count", "200000", "--queries", "1"]);
  await begun;
  watcher.close();
  child.kill("SIGINT");
  assert.deepEqual(await once(child, "exit"), [130, null]);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes("unfinished")),
    [],
  );
});
