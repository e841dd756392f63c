/** The command as it is run from a shell. */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, watch } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { folderFor, safetensors, written } from "./model-files.js";

const main = join(import.meta.dirname, "../src/main.js");

function run(args: string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  return { status, stdout, stderr };
}

test("without arguments it shows everything, and leaves nothing", (t) => {
  const folder = folderFor(t);
  const { status, stdout, stderr } = run([], { TMPDIR: folder });
  assert.deepEqual([status, stderr], [0, ""]);
  assert.match(stdout, /257 tensors, 66\.0 MiB in/);
  assert.match(stdout, /^[0-9a-f]{64} {2}BF16 {2}"layers\.3\.mlp\.up\.weight"$/m);
  assert.deepEqual(readdirSync(folder), []);
});

test("sample, info and load work on a file", (t) => {
  const path = join(folderFor(t), "m.safetensors");
  assert.equal(run(["sample", path, "--mib", "3"]).status, 0);
  assert.match(run(["info", path]).stdout, /^"embedding\.weight" BF16 \[4000,256\], 2048000 bytes at \d+$/m);
  const { stdout } = run(["load", path, "--tensor", "embedding.weight", "--checksums"]);
  assert.match(stdout, /^[0-9a-f]{64} {2}BF16 {2}"embedding\.weight"\n1 tensors, 2\.0 MiB in/);
});

test("wrong arguments end with code 2, failures with code 1 and an error that says where", (t) => {
  for (const args of [
    ["lod", "x"],
    ["load"],
    ["load", "a", "b"],
    ["load", "a", "--fast"],
    ["sample", "a", "--mib", "-1"],
  ])
    assert.deepEqual([args, run(args).status, run(args).stdout], [args, 2, ""]);
  const path = written(t, "m", safetensors('{"a\\u001b[31m":1}'));
  const { status, stderr } = run(["load", path]);
  assert.equal(status, 1);
  assert.equal(stderr, `ERR_MODEL_TYPE: ${path}, tensor "a\\u001b[31m", byte 8: its dtype is "undefined"\n`);
  assert.equal(run(["info", join(path, "none")]).status, 1);
  assert.match(run(["--help"]).stdout, /Exit codes/);
});

test("Ctrl-C while a sample is written leaves nothing", async (t) => {
  const folder = folderFor(t);
  const watcher = watch(folder);
  const begun = once(watcher, "change");
  const child = spawn(process.execPath, [main, "sample", join(folder, "m"), "--mib", "4000"]);
  await begun;
  watcher.close();
  child.kill("SIGINT");
  assert.deepEqual(await once(child, "exit"), [130, null]);
  assert.deepEqual([existsSync(join(folder, "m")), readdirSync(folder)], [false, []]);
});
