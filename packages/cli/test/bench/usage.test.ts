// Error messages of the command for wrong usage.
import assert from "node:assert/strict";
import { chmodSync, linkSync, mkdtempSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { run } from "./run.js";

const directory = mkdtempSync(path.join(tmpdir(), "pinless-usage-"));
after(() => rmSync(directory, { recursive: true }));

test("--help lists commands and options, and exits with 0", async () => {
  const all = await run(["--help"]);
  assert.equal(all.code, 0);
  assert.match(all.stdout, /bench/);
  const bench = await run(["bench", "--help"]);
  assert.equal(bench.code, 0);
  for (const option of ["--file", "--json", "--seconds", "--quick", "--compare", "PINLESS_SCRATCH"])
    assert.ok(bench.stdout.includes(option), option);
  assert.equal(bench.stderr, "");
});

for (const args of [
  [],
  ["nonsense"],
  ["bench", "--nonsense"],
  ["bench", "--seconds", "59"],
  ["bench", "--seconds", "121"],
  ["bench", "--seconds", "ten"],
  ["bench", "--file"],
  ["bench", "--compare"],
  ["bench", "--compare", "one"],
  ["bench", "--compare", "one", "two", "three"],
  ["bench", "--compare", "one", "two", "--quick"],
]) {
  test(`wrong usage: pinless ${args.join(" ")}`, async () => {
    const { code, stdout, stderr } = await run(args);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    assert.notEqual(stderr, "");
  });
}

/** Fails at once, with one line that says why. */
async function fails(args: readonly string[], why: RegExp, scratch = directory): Promise<void> {
  const { code, stdout, stderr } = await run(["bench", "--quick", ...args], scratch);
  assert.equal(code, 1, stderr);
  assert.equal(stdout, "");
  assert.match(stderr, why);
  assert.match(stderr, /^pinless bench: [^\n]+\n$/);
}

test("a file that doesn't exist, is a directory or is too small", async () => {
  const small = path.join(directory, "small");
  writeFileSync(small, "small");
  await fails(["--file", path.join(directory, "nothing")], /ENOENT.*nothing/);
  await fails(["--file", directory], /is a directory/);
  await fails(["--file", small], /too small/);
  await fails(["--file", "/dev/null"], /isn't a regular file/);
});

test("a path for the JSON that can't be written", async () => {
  await fails(["--json", path.join(directory, "nowhere", "figures.json")], /no directory for it \(ENOENT\)/);
  await fails(["--json", directory], /is a directory/);
});

test("--json must not replace the file that is read, under any of its names", async () => {
  const mine = path.join(directory, "mine");
  writeFileSync(mine, "");
  truncateSync(mine, 64 << 20);
  symlinkSync(mine, `${mine}-symbolic`);
  linkSync(mine, `${mine}-hard`);
  for (const name of [
    mine,
    `${mine}-symbolic`,
    `${mine}-hard`,
    path.join(directory, "..", path.basename(directory), "mine"),
  ])
    await fails(["--file", mine, "--json", name], /would replace .*mine, which is read: give another name/);
  assert.equal(statSync(mine).size, 64 << 20);
});

test("a scratch space that doesn't exist, is a file or has no room", async () => {
  const file = path.join(directory, "file");
  writeFileSync(file, "");
  await fails([], /nowhere.*PINLESS_SCRATCH/, path.join(directory, "nowhere"));
  await fails([], /isn't a directory/, file);
  await fails([], /PINLESS_SCRATCH/, "/proc");
});

// Root reads everything.
if (process.geteuid?.() !== 0) {
  test("a file that can't be read", async () => {
    const file = path.join(directory, "unreadable");
    writeFileSync(file, "");
    truncateSync(file, 64 << 20);
    chmodSync(file, 0);
    await fails(["--file", file], /EACCES/);
  });
}
