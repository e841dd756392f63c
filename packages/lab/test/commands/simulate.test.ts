// `pinless-lab simulate` and `what-if` as commands: recorded failures run again, and bad arguments are refused.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { type Ended, runLab, runModule } from "../../../pinless/dist-test/support/children.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";

const MAIN = new URL("../../dist/main.js", import.meta.url).href;

function lab(args: readonly string[]): Promise<Ended> {
  return runModule(`await import(${JSON.stringify(MAIN)});`, { args });
}

function simulate(args: readonly string[]): Promise<Ended> {
  return lab(["simulate", ...args]);
}

test("replay reproduces the failures of a report; a report of another version is refused, with the line", async (t) => {
  const file = path.join(scratchDirectory(t), "report.json");
  const runs = ["--runs", "6", "--requests", "300"];
  const found = await simulate([...runs, "--mutant", "no-hold", "--json", file]);
  assert.equal(found.code, 1, found.stderr);
  const again = await simulate(["replay", file]);
  assert.equal(again.code, 1, again.stderr);
  const seeds = JSON.parse(readFileSync(file, "utf8")).failures.map(({ seed }: { seed: number }) => seed);
  for (const seed of seeds) assert.match(again.stdout, new RegExp(`^seed ${seed}: [A-Z_]+: `, "m"));
  assert.match(again.stdout, new RegExp(`^${seeds.length} of ${seeds.length} fail$`, "m"));
  const text = readFileSync(file, "utf8");
  writeFileSync(file, text.replace('"mutant": "no-hold"', '"mutant": null'));
  const mended = await simulate(["replay", file]);
  assert.equal(mended.code, 0, mended.stderr);
  assert.equal(mended.stdout.match(/^seed \d+: doesn't fail any more$/gm)?.length, seeds.length);
  writeFileSync(file, text.replace(/"pinless \S+/, '"pinless 0.0.1'));
  const other = await simulate(["replay", file]);
  assert.deepEqual([other.code, other.stdout], [2, ""]);
  assert.match(
    other.stderr,
    /report\.json:3: the report is of pinless 0\.0\.1 .*, and this is pinless .*: replay it with the version /,
  );
});

test("run --change changes every run, and is part of the command that reproduces a failure", async () => {
  const change = ["--requests", "200", "--change", '{"design":"notifier"}'];
  const { code, stdout, stderr } = await simulate(["trace", ...change]);
  const [, last] = /\n(\{.*\})\n$/s.exec(stdout) ?? [];
  assert.deepEqual([code, JSON.parse(last ?? "{}").failure], [0, null], stderr);
  const broken = ["--runs", "4", "--json", "-", "--mutant", "no-hold"];
  const { failures, ...report } = JSON.parse((await simulate([...change, ...broken])).stdout);
  assert.deepEqual([report.runs, report.asked.changes], [4, { design: "notifier" }]);
  assert.ok(failures.length > 0);
  for (const { changes } of failures) assert.equal(changes.design, "notifier");
});

test("invalid arguments are reported in one line, and nothing runs", async (t) => {
  const directory = scratchDirectory(t);
  const broken = path.join(directory, "broken.json");
  writeFileSync(broken, '{\n "format": oops }');
  for (const [args, message] of [
    [["--change", '{"odd":1}'], /^pinless-lab simulate: a run has no "odd"; it has engine, /],
    [["--change", '{"arenaMiB":-5}'], /^pinless-lab simulate: "arenaMiB" is a whole number from 1 to /],
    [["--change", "{"], /It takes JSON/],
    [["merge", broken], /broken\.json:2: /],
    [
      ["merge", path.join(directory, "none.json")],
      /^pinless-lab simulate: .*none\.json can't be read: there's no such file \(ENOENT\)$/m,
    ],
    [["replay", broken, "--runs", "3"], /unknown option '--runs'/],
    [["--runs", "0"], /argument '0' is invalid. It takes a whole number from 1 to/],
    [["--requests", "1e99"], /It takes a whole number from 1 to 1,000,000/],
    [["--runs", "3", "--shard", "5/9"], /of 3 runs none is in shard 5 of 9/],
    [["trace", "--runs", "3"], /unknown option '--runs'/],
    [["run", "trace"], /too many arguments/],
    [["replay"], /missing required argument 'file'/],
    [["--run", "3"], /unknown option '--run'/],
    [["merge", broken, "--json", broken], /would replace .*broken\.json, which is read/],
  ] as const) {
    const { code, stdout, stderr } = await simulate(args);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, message);
  }
});

test("what-if takes the name of a shipped file; for an unknown name it lists them", async () => {
  const named = await lab(["what-if", "one-machine", "--json", "-"]);
  assert.equal(named.code, 0, named.stderr);
  assert.ok(JSON.parse(named.stdout).points.length > 0);
  const { code, stdout, stderr } = await lab(["what-if", "run", "no-machine"]);
  assert.deepEqual([code, stdout], [2, ""]);
  assert.match(stderr, /^pinless-lab what-if: no-machine: there's no such file: give .* or one of .*one-machine\.json/);
});

test("each command ends with exit code 2 for a bad file, and names the file, the line and the value", async (t) => {
  const file = path.join(scratchDirectory(t), "bad");
  const report = JSON.stringify({ format: "pinless-simulate-2", odd: 7 }, null, 1);
  for (const [args, text, message] of [
    [["check"], "about: a test\nrequests: 7\n", /^pinless-lab check: \S+\/bad:2: "requests" is a list/],
    [["simulate", "merge"], report, /^pinless-lab simulate: \S+\/bad:3: a report has no "odd"; it has format, /],
    [["simulate", "replay"], report, /^pinless-lab simulate: \S+\/bad:3: a report has no "odd"; it has format, /],
    [["what-if", "run"], '{\n "title": 7 }', /^pinless-lab what-if: \S+\/bad:2: title takes a text, not 7$/m],
  ] as const) {
    writeFileSync(file, text);
    const { code, stdout, stderr } = await lab([...args, file]);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, message);
  }
});

test("an output that can't be written is one line, and exit code 1", {
  skip: existsSync("/dev/full") ? false : "machine: not Linux: no /dev/full",
}, async () => {
  const args = ["simulate", "--runs", "1", "--requests", "9"];
  const full = await runLab(args, { wrapper: ["sh", "-c", '"$@" > /dev/full', "sh"] });
  assert.equal(full.code, 1);
  assert.match(full.stderr, /^pinless-lab[^\n]*: the output can't be written: ENOSPC[^\n]*\n$/);
  const file = await runLab([...args, "--json", "/dev/full"]);
  assert.equal(file.code, 1);
  assert.match(file.stderr, /^pinless-lab simulate: the report can't be written: ENOSPC[^\n]*\n$/);
});
