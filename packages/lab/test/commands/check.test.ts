// `pinless check` as a command: what it says of scenarios that hold, of those that can't be read, and of an engine with
// a step left out.
import assert from "node:assert/strict";
import { cpSync, linkSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { type Ended, runModule } from "../../../pinless/dist-test/support/children.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { parseScenario } from "../../dist/commands/check/scenario-file.js";
import { compiled } from "../../dist-mutants/edit.js";
import { MUTANTS } from "../../dist-mutants/index.js";

const MAIN = new URL("../../dist/main.js", import.meta.url).href;

function check(args: readonly string[]): Promise<Ended> {
  return runModule(`await import(${JSON.stringify(MAIN)});`, { args: ["check", ...args] });
}

test("check --json has the number of states; the text output has the same", async () => {
  const json = await check(["unmap", "partly-read-only", "--json"]);
  assert.equal(json.code, 0, json.stderr);
  const report = JSON.parse(json.stdout);
  assert.equal(report.format, "pinless-check/1");
  assert.ok(report.states > 10_000);
  assert.deepEqual(
    report.scenarios.map((s: { name: string; cases: number; violations: unknown[] }) => [
      s.name,
      s.cases,
      s.violations.length,
    ]),
    [
      ["unmap", 3, 0],
      ["partly-read-only", 4, 0],
    ],
  );
  const text = await check(["unmap"]);
  assert.equal(text.code, 0);
  assert.match(text.stdout, /^unmap +3 cases +[\d,]+ states/m);
  assert.match(text.stdout, /^nothing is violated$/m);
});

test("violations by Linux without an engine are found as expected; a missing one is an error", async (t) => {
  const found = await check(["gup-discard", "gup-writeback"]);
  assert.equal(found.code, 0, found.stderr);
  assert.match(
    found.stdout,
    /^ +== {2}NO_STALE_IO: a goes to a frame that isn't page 0's any more \(its buffer is\n +registered\)$/m,
  );
  assert.match(found.stdout, /^nothing is violated but what 3 cases expect, and it was found$/m);
  const directory = scratchDirectory(t);
  const file = path.join(directory, "proposal.yaml");
  const linux = readFileSync("packages/lab/scenarios/gup-discard.yaml", "utf8");
  writeFileSync(file, linux.replace(/^kernel: gup\nengine: none$/m, "kernel: notifier"));
  const others = await check([file, "--json", "--failure", path.join(directory, "failure.json")]);
  assert.equal(others.code, 1, others.stderr);
  const [{ violations, expected }] = JSON.parse(others.stdout).scenarios;
  assert.deepEqual(expected, []);
  assert.match(violations[0].message, /^NO_STALE_IO: the scenario expects that it doesn't hold, and it does$/);
});

test("with a mutant: a readable trace, and exit code 1", async () => {
  const ended = await check(["--mutant", "no-populate", "clean-pages"]);
  assert.equal(ended.code, 1, ended.stderr);
  assert.match(ended.stdout, /^ +1 {2}the program submits /m);
  assert.match(ended.stdout, /^ +== {2}DEVICE_WRITES_DIRTY: a writes by a lease to page 0, which is clean/m);
});

test("docs/broken-engines.md shows the real output", async (t) => {
  const blocks = readFileSync("docs/broken-engines.md", "utf8").matchAll(
    /```console\n\$ npx pinless-lab (check .*)\n([\s\S]*?)```/g,
  );
  const failure = path.join(scratchDirectory(t), "failure.json");
  let shown = 0;
  for (const [, command = "", printed = ""] of blocks) {
    const { stdout, stderr } = await check([...command.split(" ").slice(1), "--failure", failure]);
    assert.ok(stdout.includes(`\n${printed}`), `${command} prints, instead of what is shown:\n${stdout}${stderr}`);
    shown++;
  }
  assert.equal(shown, 4);
});

test("simulate finds it too, and says how to reproduce it", async () => {
  const args = ["simulate", "--mutant", "no-hold", "--runs", "5", "--requests", "200"];
  const ended = await runModule(`await import(${JSON.stringify(MAIN)});`, { args });
  assert.equal(ended.code, 1, ended.stderr);
  const again = /again, with all steps: pinless-lab (simulate trace .* --mutant no-hold)$/m.exec(ended.stdout)?.[1];
  assert.ok(again !== undefined, ended.stdout);
  for (const other of ["release-takes-a-lock", "notifier-no-wait"]) {
    const refused = await runModule(`await import(${JSON.stringify(MAIN)});`, {
      args: ["simulate", "--mutant", other],
    });
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /which pinless-lab simulate doesn't run: pinless-lab check does/);
  }
});

test("check --mutants: each with the invariant that it breaks", async () => {
  const ended = await check(["unmap", "--mutants", "--json"]);
  // Of the others the scenarios weren't named: they live.
  assert.equal(ended.code, 1, ended.stderr);
  const { mutants } = JSON.parse(ended.stdout) as {
    mutants: { name: string; killed: boolean; invariant: string | null }[];
  };
  assert.equal(mutants.length, MUTANTS.length);
  assert.ok(mutants.length >= 30);
  for (const { name, killed, invariant } of mutants) {
    const shown = MUTANTS.find((m) => m.name === name)!.shows === "unmap";
    assert.deepEqual([killed, invariant !== null], [shown, shown], name);
  }
});

test(`${MUTANTS.length} mutants: each matches one place of the shipped sources, and gives a valid module`, () => {
  assert.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length);
  for (const mutant of MUTANTS) assert.deepEqual(compiled(mutant).errors, [], mutant.name);
  const [first] = MUTANTS;
  const { within } = first!;
  assert.throws(
    () => compiled({ ...first!, node: "gate" }),
    /fits \d+ places, not one: `gate` in \w+ of pinless\/src\/protocol\/gate-bits\.ts/,
  );
  assert.throws(
    () => compiled({ ...first!, node: "nobody wrote this" }),
    /fits 0 places, not one: `nobody wrote this`/,
  );
  assert.throws(() => compiled({ ...first!, within: "nobody" }), /fits 0 places, not one: .* in nobody of/);
  assert.throws(() => compiled({ ...first!, to: first!.node! }), new RegExp(`changes nothing: ${within} of`));
});

test("a published package has no mutants, and its message says where they are", async (t) => {
  const directory = scratchDirectory(t);
  const lab = new URL("../../", import.meta.url);
  const { files } = JSON.parse(readFileSync(new URL("package.json", lab), "utf8")) as { files: string[] };
  for (const name of ["package.json", ...files.filter((file) => !file.startsWith("!"))])
    cpSync(new URL(name, lab), path.join(directory, name), { recursive: true });
  symlinkSync(path.resolve("node_modules"), path.join(directory, "node_modules"));
  const source = `await import(${JSON.stringify(path.join(directory, "dist/main.js"))});`;
  for (const args of [
    ["check", "--mutants"],
    ["check", "--mutant", "no-hold", "pairs"],
    ["simulate", "--mutant", "no-hold"],
  ]) {
    const { code, stdout, stderr } = await runModule(source, { args });
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, /^pinless-lab \w+: mutants are not in the published package: clone the repository/);
  }
});

test("a scenario that can't be read or is invalid is an error with its file and line", async (t) => {
  const read = (text: string) => (): unknown => parseScenario(text, "x", "x.yaml");
  const head = "about: a test\nrequests:\n  - read page 0\n";
  const refused: [string, RegExp][] = [
    [`${head}  - erase page 0\n`, /^x\.yaml:4: "erase" isn't one of: read/],
    [`${head}  - read page 1\n`, /^x\.yaml:4: "read page 1": the memory has pages 0 to 0/],
    [`${head}  - read the page\n`, /^x\.yaml:4: "read the page" doesn't say which/],
    [`${head}invalidation:\n  - CLEAR page 0\n`, /^x\.yaml:4: "invalidation" isn't one of: about, kernel/],
    [`${head}invalidations:\n  - CLAER page 0\n`, /^x\.yaml:5: "CLAER page 0" doesn't read: EVENT page N/],
    [
      `${head}memory: { pages: 2 }\ninvalidations:\n  - UNMAP page 0\n`,
      /^x\.yaml:6: .*UNMAP is of whole chunks of 2 pages/,
    ],
    [`${head}memory: { pages: 3 }\n`, /^x\.yaml:4: a chunk has 1, 2 or 4 pages/],
    [`${head}memory: { chunks: 99 }\n`, /^x\.yaml:4: "chunks" is a number from 1 to 4, not 99/],
    [`${head}memory: { frames: 9 }\n`, /^x\.yaml:4: "frames" isn't one of/],
    [`${head}schemes: [io_uring, epoll]\n`, /^x\.yaml:4: "epoll" isn't a scheme/],
    [`${head}other code:\n  - fork\n`, /^x\.yaml:5: "fork" doesn't read: discard page N/],
    [`${head}may happen: { earthquake: 1 }\n`, /^x\.yaml:4: "earthquake" isn't one of: reclaim/],
    [`${head}may happen: { reclaim: many }\n`, /^x\.yaml:4: "reclaim" is a number from 0 to/],
    [`${head}kernel: linux\n`, /^x\.yaml:4: "kernel" is one of: gup, notifier; not "linux"/],
    [`${head}expects: NOTHING\n`, /^x\.yaml:4: "expects" is one of: LINEAR, /],
    [`${head}kernel: notifier\nother code:\n  - discard page 0\n`, /^x\.yaml:5: "other code" needs the engine/],
    [`${head}engine: none\nleases: 1\n`, /^x\.yaml:5: "leases" needs the engine/],
    [`${head}engine: none\nmay happen: { clock: 1 }\n`, /^x\.yaml:5: "clock" happens to the engine/],
    [`${head}may happen: { fork: 1 }\n`, /^x\.yaml:4: "fork" is of kernels without the engine/],
    [
      `${head}memory: { chunks: 4 }\nother code:\n  - discard page 0\n  - discard page 3\n`,
      /^x\.yaml:6: other code discards chunks that touch/,
    ],
    ["about: a test\n", /^x\.yaml:1: a scenario has requests/],
    ["requests:\n  - read page 0\n", /^x\.yaml:1: "about" is missing/],
    [`${head}invalidations: [\n`, /^x\.yaml:\d+: /],
    ["- 1\n", /^x\.yaml:1: a scenario is a list of names with values/],
  ];
  for (const [text, message] of refused) assert.throws(read(text), { name: "InputError", message }, text);

  const ended = await check([path.join(scratchDirectory(t), "none.yaml")]);
  assert.equal(ended.code, 2);
  assert.match(ended.stderr, /^pinless-lab check: .*none\.yaml can't be read/);
  const unknown = await check(["--mutant", "no-such", "unmap"]);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /there's no mutant "no-such"; there are no-hold, /);
});

test("any: every event, in every combination once", () => {
  const text = "about: x\nschemes: [aio]\nrequests: [read page 0]\ninvalidations: [any page 0, any page 0]\n";
  const names = parseScenario(text, "x", "x.yaml").cases.map(({ name }) => name);
  assert.equal(names.length, 36);
  assert.ok(names.includes("x: aio: CLEAR + MIGRATE") !== names.includes("x: aio: MIGRATE + CLEAR"));
});

test("a scenario of one request is explored by every scheme", async (t) => {
  const file = path.join(scratchDirectory(t), "one.yaml");
  writeFileSync(file, "about: one\nrequests: [read page 0]\n");
  const { code, stdout, stderr } = await check([file]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^one +4 cases +\d+ states {2}one$/m);
});

test("a mutant's scenario comes first, only scenarios that ran are listed, no other file is written", async (t) => {
  const cwd = scratchDirectory(t);
  const url = MAIN;
  const source = `process.chdir(${JSON.stringify(cwd)}); await import(${JSON.stringify(url)});`;
  const ended = await runModule(source, { args: ["check", "--mutant", "no-populate", "--threads", "1"] });
  assert.equal(ended.code, 1, ended.stderr);
  assert.match(ended.stdout, /^clean-pages /);
  assert.doesNotMatch(ended.stdout, / 0 states/);
  for (const line of ended.stdout.split("\n")) assert.ok(line.length <= 80, line);
  assert.deepEqual([readdirSync(cwd), ended.stderr], [[], ""]);
});

test("wrong usage is reported before anything runs, with the right arguments", async (t) => {
  const directory = scratchDirectory(t);
  const scenario = path.join(directory, "mine.yaml");
  writeFileSync(scenario, "about: one\nrequests: [read page 0]\n");
  const link = path.join(directory, "link");
  linkSync(scenario, link);
  for (const [args, message] of [
    [["--threads", "0"], /argument '0' is invalid. It takes a whole number from 1 to 1,024/],
    [["--threads", "NaN"], /It takes a whole number/],
    [["--threads", "1e99"], /It takes a whole number/],
    [["--thread", "1"], /Did you mean --threads/],
    [["--mutant", "x", "--mutants"], /cannot be used with/],
    [["--mutant", "x"], /there's no mutant "x"; there are /],
    [["no-such"], /there's no file "no-such", and no scenario of that name; there are .*unmap/],
    [[directory], /is a directory/],
    [[scenario, "--json", scenario], /mine\.yaml would replace .*mine\.yaml, which is read/],
    [[scenario, "--failure", link], /link would replace .*mine\.yaml, which is read/],
    [[scenario, "--json", path.join(directory, "a", "b")], /can't be written: there's no directory for it/],
    [[scenario, "--json", directory], /is a directory: give the name of a file/],
  ] as const) {
    const { code, stdout, stderr } = await check(args);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, message, args.join(" "));
  }
  assert.equal(readFileSync(scenario, "utf8"), "about: one\nrequests: [read page 0]\n");
});
