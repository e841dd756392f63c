// Text from elsewhere doesn't tell a terminal what to do, whichever command it comes through.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { runCommand, runLab } from "../../../pinless/dist-test/support/children.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { processNumber, seconds, wholeNumber } from "../../dist/command/number-arguments.js";
import { jsonText, printable, printableLines, printableValue } from "../../dist/command/printable.js";
import { sampleReport, sampleRow } from "../bench/report.js";

const TAKEOVER = "\u001b]0;owned\u0007\u009b2J\u202e\u2028\r";
/** Everything that isn't seen, but for ends of lines. */
const UNSEEN = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

test("invisible characters are escaped by their numbers; in JSON the value stays the same", () => {
  assert.equal(printable(TAKEOVER), "\\x1b]0;owned\\x07\\x9b2J\\u202e\\u2028\\x0d");
  assert.equal(printable("päge 🙂 \t\n\u007f\u{e0001}\ud800"), "päge 🙂 \\x09\\x0a\\x7f\\u{e0001}\\ud800");
  assert.equal(printableLines("a\nb\u001b[m"), "a\nb\\x1b[m");
  const value = { [TAKEOVER]: [TAKEOVER, 1, null, { a: "\u{e0001}" }] };
  assert.doesNotMatch(jsonText(value, 2), UNSEEN);
  assert.deepEqual(JSON.parse(jsonText(value, 2)), value);
  assert.deepEqual(printableValue({ "\u0007": ["\u0007", 1, null] }), { "\\x07": ["\\x07", 1, null] });
});

test("numbers are digits in their range", () => {
  const refuses = (read: (text: string) => number, ...texts: string[]): void => {
    for (const text of texts) assert.throws(() => read(text), { code: "commander.invalidArgument" }, text);
  };
  assert.deepEqual([wholeNumber(1, 9)("9"), seconds(0.1, 9)(".5"), processNumber("4194304")], [9, 0.5, 4194304]);
  refuses(wholeNumber(1, 9), "", "0", "10", "-1", "1.5", "NaN", "1e0", "0x1", " 1", "99999999999999999999", "Infinity");
  refuses(seconds(0.1, 9), "", ".", "0", "9.1", "-1", "NaN", "1e0", "0x1", "1.");
  refuses(processNumber, "", "0", "-1", "1.5", "4194305", "self");
});

test("reports, file names and arguments are shown with invisible characters escaped", async (t) => {
  const directory = scratchDirectory(t);
  const odd = path.join(directory, TAKEOVER);
  mkdirSync(odd);
  const written = (name: string, value: unknown): string => {
    const file = path.join(odd, name);
    writeFileSync(file, typeof value === "string" ? value : JSON.stringify(value));
    return file;
  };
  const bench = written("bench.json", { ...sampleReport({ rows: [sampleRow(TAKEOVER, {})] }), pinless: TAKEOVER });
  const failure = { seed: 1, requests: 1, changes: {}, what: TAKEOVER, message: TAKEOVER, atMs: 0 };
  const simulated = written("simulate.json", {
    format: "pinless-simulate-2",
    engine: `pinless ${TAKEOVER}`,
    mutant: null,
    asked: { seed: 1, runs: 1, requests: 1, changes: {} },
    shards: [{ index: 0, of: 1, runs: 1 }],
    runs: 1,
    requests: 1,
    operations: 0,
    virtualMs: 0,
    failures: [failure],
  });
  const scenario = written("scenario.yaml", `about: ${JSON.stringify(TAKEOVER)}\nrequests: [read page 0]\n`);
  for (const args of [
    ["bench", "--compare", bench, bench],
    ["bench", "--compare", bench, bench, "--json", "-"],
    ["bench", "--file", path.join(odd, "none")],
    ["check", scenario],
    ["check", scenario, "--json"],
    ["check", path.join(odd, "none")],
    ["check", written("odd.yaml", `about: a\n${JSON.stringify(TAKEOVER)}: 1\n`)],
    ["doctor", odd],
    ["doctor", odd, "--json"],
    ["doctor", path.join(odd, "none")],
    ["simulate", "merge", simulated],
    ["simulate", "merge", simulated, "--json", "-"],
    ["simulate", "replay", simulated],
    ["what-if", written("what-if.json", { [TAKEOVER]: 1 })],
    [TAKEOVER],
    ["top", TAKEOVER],
  ]) {
    const run = ["check", "simulate", "what-if"].includes(args[0]!) ? runLab : runCommand;
    const { stdout, stderr } = await run(args);
    assert.notEqual(stdout + stderr, "", args.join(" "));
    assert.doesNotMatch(stdout + stderr, UNSEEN, printable(args.join(" ")));
  }
});

test("an output that can't be written is one line, and exit code 1", async () => {
  for (const args of [["doctor"], ["doctor", "--json"], ["--help"]]) {
    const full = await runCommand(args, { wrapper: ["sh", "-c", '"$@" > /dev/full', "sh"] });
    assert.equal(full.code, 1, args.join(" "));
    assert.match(full.stderr, /^pinless[^\n]*: the output can't be written: ENOSPC[^\n]*\n$/, args.join(" "));
    const closed = await runCommand(args, { wrapper: ["bash", "-c", 'set -o pipefail; "$@" | true', "bash"] });
    assert.deepEqual([closed.code, closed.stderr], [0, ""], args.join(" "));
  }
});
