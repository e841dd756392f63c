// What-if files: everything wrong is said with its line; the examples run; the format's description is what is read.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { readWhatIf } from "../../dist/commands/what-if-file.js";
import { renderStudy } from "../../dist/commands/what-if-text.js";
import type { InputError } from "../../dist/simulate/input-error.js";
import { FIELDS, readStudy, type Study } from "../../dist/what-if/plan.js";
import { runStudy } from "../../dist/what-if/study.js";

const EXAMPLES = path.resolve(import.meta.dirname, "../../plans");
const PLAIN = { columns: 100, colors: false, charts: false };

function read(text: string): Study {
  const directory = mkdtempSync(path.join(os.tmpdir(), "pinless-what-if-"));
  try {
    writeFileSync(path.join(directory, "file.json"), text);
    return readStudy(readWhatIf(path.join(directory, "file.json")));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

type Wrong = readonly [text: string, line: number, message: RegExp];

const WRONG: readonly Wrong[] = [
  ["", 1, /end of input/],
  ['{\n "machine": {\n  "bytes": \n }\n}', 4, /Unexpected/],
  ["[]", 1, /takes an object/],
  ['{\n "machin": {}\n}', 2, /"machin" isn't known; there are machine, buffers/],
  ['{ "toString": {} }', 1, /toString/],
  ['{ "io": { "__proto__": 1 } }', 1, /__proto__/],
  ['{\n "machine": {\n  "bytes": "64 GiB",\n  "node": 2\n }\n}', 4, /"machine.node" isn't known/],
  ['{ "machine": {},\n "machine": {} }', 2, /"machine" occurs twice: remove one/],
  ['{ "title": 7 }', 1, /takes a text/],
  ['{\n "machine": 64\n}', 2, /machine takes an object/],
  ['{ "machine": { "bytes": "64 GB" } }', 1, /takes bytes/],
  ['{ "machine": {\n "bytes": "2 TiB" } }', 2, /is from 256 MiB to 1 TiB, not 2 TiB/],
  ['{ "machine": { "bytes": 1000000001 } }', 1, /multiple of 2 MiB/],
  ['{ "machine": { "nodes": 1.5 } }', 1, /a whole number from 1 to 64, not 1.5/],
  ['{ "io": {\n\n "scheme": "sync" } }', 3, /one of "io_uring", "aio", "direct", not "sync"/],
  ['{ "notifier": { "filter": "yes" } }', 1, /true or false/],
  ['{ "device": { "latencyUs": {} } }', 1, /percentiles/],
  ['{ "device": { "latencyUs": { "median": 4 } } }', 1, /not "median"/],
  ['{ "device": { "latencyUs": { "p50": -4 } } }', 1, /p50 takes microseconds/],
  ['{ "device": { "latencyUs": { "p50": 9, "p99": 4 } } }', 1, /latencyUs falls from 9 to 4/],
  ['{ "sweep": [] }', 1, /sweep takes an object/],
  ['{ "sweep": { "bytes": [1] } }', 1, /"bytes" isn't known/],
  ['{ "sweep": { "machine.bytes": 7 } }', 1, /takes a list/],
  ['{ "sweep": {\n "io.depth": [1,\n 0] } }', 3, /io.depth takes a whole number/],
  [`{ "sweep": { "io.depth": [${Array(65).fill(1)}] } }`, 1, /65 combinations: at most 64 are allowed/],
  ['{\n "buffers": {\n "bytes": "60 GiB" } }', 3, /60 GiB don't fit into a machine of 64 GiB/],
  ['{ "sweep": { "machine.bytes":\n ["64 GiB",\n "8 GiB"] } }', 3, /of 8 GiB/],
  ['{ "buffers": {\n "activeBytes": "9 GiB" } }', 2, /activeBytes is more/],
  ['{ "buffers": {\n "spreadBytes": "4 GiB" } }', 2, /can't lie scattered over 4 GiB/],
  ['{ "buffers": { "activeBytes": "2 MiB" },\n "io": {\n "requestBytes": "1 MiB" } }', 3, /need 32 MiB/],
];

for (const [text, line, message] of WRONG)
  test(`line ${line}: ${text.replaceAll("\n", "⏎").slice(0, 70)}`, () => {
    assert.throws(
      () => read(text),
      (error: InputError) => {
        assert.deepEqual([error.name, error.code], ["InputError", "ERR_LAB_INPUT"]);
        assert.equal(/^\S+\/file\.json:(\d+): /.exec(error.message)?.[1], line.toString());
        assert.match(error.message, message);
        return true;
      },
    );
  });

test("a file that doesn't exist", () => {
  assert.throws(() => readWhatIf(path.join(os.tmpdir(), "pinless-no-such-file")), {
    name: "UsageError",
    message: /ENOENT/,
  });
});

test("an empty file is one machine with all defaults; lists combine in every way, the last varying fastest", () => {
  assert.equal(read("{}").points.length, 1);
  const { points, swept } = read('{ "sweep": { "io.depth": [1, 2], "machine.bytes": ["64 GiB", 1099511627776] } }');
  assert.deepEqual(swept, ["io.depth", "machine.bytes"]);
  assert.deepEqual(
    points.map(({ plan }) => [plan.io.depth, plan.machine.bytes / 2 ** 30]),
    [
      [1, 64],
      [1, 1024],
      [2, 64],
      [2, 1024],
    ],
  );
  assert.deepEqual(points[1]!.values, { "io.depth": 1, "machine.bytes": 2 ** 40 });
});

test("buffers may be given as a share of the machine's memory", () => {
  const { points } = read('{ "buffers": { "machineShare": 0.25 }, "sweep": { "machine.bytes": ["8 GiB", "1 TiB"] } }');
  assert.deepEqual(
    points.map(({ plan: { buffers } }) =>
      [buffers.bytes, buffers.activeBytes, buffers.spreadBytes].map((b) => b / 2 ** 30),
    ),
    [
      [2, 2, 4],
      [256, 256, 512],
    ],
  );
});

test("README.md of the examples has every word of the format, and no other", () => {
  const readme = readFileSync(path.join(EXAMPLES, "README.md"), "utf8");
  const described = [...readme.matchAll(/^\| `(.+?)` \| (.+?) \|/gm)].map(([, word, says]) => [word, says]);
  const words = Object.entries(FIELDS).flatMap(([section, fields]) =>
    Object.entries(fields).map(([name, { says }]) => [`${section}.${name}`, says]),
  );
  assert.deepEqual(described, words);
});

for (const name of readdirSync(EXAMPLES).filter((file) => file.endsWith(".json")))
  test(`${name} runs twice alike; its report has every design at every point, and what isn't modelled`, async () => {
    const study = readStudy(readWhatIf(path.join(EXAMPLES, name)));
    assert.ok(study.title.length > 0);
    // Fractions of its points and time: what it says isn't looked at here.
    const some = study.points.slice(0, study.swept.length === 0 ? 1 : 3);
    const short = some.map(({ values, plan }) => ({ values, plan: { ...plan, run: { seconds: 0.02 } } }));
    const report = (await runStudy({ ...study, points: short }, { engine: "this one", seed: 1 }))!;
    const again = await runStudy({ ...study, points: short.slice(-1) }, { engine: "this one", seed: 1 });
    assert.deepEqual(again!.points, report.points.slice(-1));
    assert.ok(report.points.every(({ designs }) => designs.length === 3));
    const text = renderStudy(report, PLAIN);
    assert.match(text, /What the model does not model/);
    for (const design of ["gup", "notifier", "pinless"]) assert.ok(text.includes(design));
    if (study.swept.length > 0) assert.match(text, /Growth with events.times/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: there are none
    assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f]/);
    assert.ok(
      renderStudy(report, { ...PLAIN, columns: 40 })
        .split("\n")
        .every((line) => line.length <= 40),
    );
    assert.match(
      renderStudy(report, { columns: 100, colors: false, charts: true }),
      study.swept.length > 0 ? /┤/ : /./,
    );
  });
