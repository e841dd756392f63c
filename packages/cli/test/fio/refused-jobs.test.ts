// Jobs on places that refuse them: the error names the job's place and the file, and nothing is written.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { ext4, needsRoot, ramfs, readOnly } from "../../../pinless/dist-test/support/disks.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { byPinless } from "./jobs-run.js";

test("a mounted disk isn't written", { skip: needsRoot }, (t) => {
  const mount = ext4(t, 16 << 20);
  const device = execFileSync("findmnt", ["-no", "SOURCE", mount], { encoding: "utf8" }).trim();
  writeFileSync(path.join(mount, "kept"), "kept");
  const words = ["--name=x", "--rw=write", "--size=1m", "--direct=1", `--filename=${device}`];
  const { code, stderr } = byPinless(words, scratchDirectory(t));
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`: x: ${device} is mounted on ${mount}, .*--allow-mounted-write`));
  assert.equal(readFileSync(path.join(mount, "kept"), "utf8"), "kept");
  assert.equal(execFileSync("blkid", ["-o", "value", "-s", "TYPE", device], { encoding: "utf8" }).trim(), "ext4");
});

test("a filesystem without direct I/O, and one that's read-only", { skip: needsRoot }, (t) => {
  const directory = scratchDirectory(t);
  for (const [place, words, why] of [
    [ramfs(t), ["--direct=1"], /data has no direct I\/O/],
    [readOnly(t, directory), [], /can't be written: .*EROFS/],
  ] as const) {
    const job = path.join(directory, "job.fio");
    writeFileSync(job, `[x]\nrw=write\nsize=1m\nfilename=${path.join(place, "data")}\n`);
    const { code, stderr } = byPinless([...words, job], directory);
    assert.equal(code, 1);
    assert.match(stderr, why);
    assert.match(stderr, /^pinless bench: .*job\.fio:1: x: /);
    assert.deepEqual(
      readdirSync(place).filter((name) => name === "data"),
      [],
    );
  }
});

test("more depth than an engine takes", (t) => {
  const words = ["--name=x", "--rw=write", "--size=1m", "--direct=1", "--ioengine=libaio", "--iodepth=5000"];
  const directory = scratchDirectory(t);
  const { code, stderr } = byPinless(words, directory);
  assert.equal(code, 1);
  assert.match(stderr, /iodepth=5000 is too deep/);
  assert.deepEqual(readdirSync(directory), []);
});
