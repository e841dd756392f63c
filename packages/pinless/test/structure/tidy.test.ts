// The check of STYLE.md's limits, on a tree of sources that keep to each rule, and on one that goes past each.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { scratchDirectory } from "../support/undo.js";

const SCRIPT = fileURLToPath(new URL("../../../../scripts/tidy.mjs", import.meta.url));
const FOLDERS = [
  ...["pinless/src", "cli/src", "lab/src", "lab/mutants", "lab/page", "pinless/test", "cli/test", "lab/test"].map(
    (room) => `packages/${room}`,
  ),
  ...["benchmarks", "scripts"],
];

interface Exception {
  readonly rule: string;
  readonly where: string;
  readonly count: number;
  readonly reason: string;
}

interface Tree {
  readonly tidy: (...options: string[]) => { status: number | null; said: string };
  readonly exceptions: () => Exception[];
}

/** A repository of these files. */
function tree(t: TestContext, files: Readonly<Record<string, string>>, exceptions: readonly Exception[] = []): Tree {
  const root = scratchDirectory(t);
  for (const folder of FOLDERS) mkdirSync(path.join(root, folder), { recursive: true });
  const listed = path.join(root, "scripts/tidy-exceptions.json");
  writeFileSync(listed, JSON.stringify(exceptions));
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
  }
  return {
    tidy: (...options) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, root, ...options], { encoding: "utf8" });
      return { status, said: stdout + stderr };
    },
    exceptions: () => JSON.parse(readFileSync(listed, "utf8")),
  };
}

type Files = Readonly<Record<string, string>>;

const lines = (count: number): string => "export {};\n".repeat(count);
const ofColumns = (count: number): string => `${"// ".padEnd(count, "x")}\n`;
const ofLines = (count: number): string => `export function work(): void {\n${"  work();\n".repeat(count - 2)}}\n`;
const documented = (comment: string): string => `export {};\n/** ${comment} */\nexport const one = 1;\n`;

/** For each rule files that just keep to it, the same files past it, and what is then said. */
const RULES: readonly [rule: string, clean: Files, past: Files, said: readonly RegExp[]][] = [
  [
    "line",
    { "packages/pinless/src/line.ts": ofColumns(120) },
    { "packages/pinless/src/line.ts": ofColumns(121) },
    [/^line packages\/pinless\/src\/line\.ts: 1,.*\n {2}line 1 has 121 columns$/m],
  ],
  [
    "line, in tests, benchmarks and scripts",
    {
      "packages/cli/test/a.test.ts": ofColumns(120),
      "benchmarks/a.c": ofColumns(120),
      "scripts/a.mjs": ofColumns(120),
    },
    {
      "packages/cli/test/a.test.ts": ofColumns(121),
      "benchmarks/a.c": ofColumns(121),
      "scripts/a.mjs": ofColumns(121),
    },
    [/^line packages\/cli\/test\/a\.test\.ts: 1,/m, /^line benchmarks\/a\.c: 1,/m, /^line scripts\/a\.mjs: 1,/m],
  ],
  [
    "function",
    { "packages/pinless/src/function.ts": ofLines(70) },
    { "packages/pinless/src/function.ts": ofLines(71) },
    [/^function .*\/function\.ts: 1,.*\n {2}line 1: a function of 71 lines$/m],
  ],
  [
    "file",
    { "packages/lab/mutants/file.ts": lines(400), "packages/lab/test/file.test.ts": lines(400) },
    { "packages/lab/mutants/file.ts": lines(401), "packages/lab/test/file.test.ts": lines(401) },
    [/^file packages\/lab\/mutants\/file\.ts: 1,.*\n {2}401 lines$/m, /^file packages\/lab\/test\/file\.test\.ts: 1,/m],
  ],
  [
    "docstring",
    { "packages/pinless/src/docstring.ts": documented("The number of places. Why: they are counted.") },
    { "packages/pinless/src/docstring.ts": documented("Whether there is one.") },
    [/^docstring .*\/docstring\.ts: 1,.*\n {2}line 2 begins with "Whether"$/m],
  ],
  [
    "docstring, of a file",
    { "packages/pinless/src/header.ts": `// The one number.\n${lines(1)}` },
    { "packages/pinless/src/header.ts": `// What there is.\n${lines(1)}` },
    [/^docstring .*\/header\.ts: 1,.*\n {2}line 1 begins with "What"$/m],
  ],
  [
    "docstring, in tests, benchmarks and scripts",
    {
      "packages/lab/test/documented.ts": documented("The number of places."),
      "benchmarks/header.mjs": `// The one number.\n${lines(1)}`,
      "scripts/header.mjs": `#!/usr/bin/env node\n// The one number.\n${lines(1)}`,
    },
    {
      "packages/lab/test/documented.ts": documented("How many places there are."),
      "benchmarks/header.mjs": `// Of all numbers the one.\n${lines(1)}`,
      "scripts/header.mjs": `#!/usr/bin/env node\n// Who counts.\n${lines(1)}`,
    },
    [
      /^docstring .*lab\/test\/documented\.ts: 1,.*\n {2}line 2 begins with "How"$/m,
      /^docstring benchmarks\/header\.mjs: 1,.*\n {2}line 1 begins with "Of"$/m,
      /^docstring scripts\/header\.mjs: 1,.*\n {2}line 2 begins with "Who"$/m,
    ],
  ],
  [
    "file name",
    { "packages/pinless/src/name.ts": lines(1), "packages/lab/test/name.ts": lines(1) },
    { "packages/pinless/src/name.ts": lines(1), "packages/lab/src/deep/name.ts": lines(1) },
    [/^file name name\.ts: 1,.*\n {2}packages\/pinless\/src\/name\.ts, packages\/lab\/src\/deep\/name\.ts$/m],
  ],
  [
    "class name",
    { "packages/cli/src/b.ts": "export class One {}\n", "packages/cli/src/c.ts": "class One {}\nnew One();\n" },
    { "packages/cli/src/b.ts": "export class One {}\n", "packages/cli/src/c.ts": "export class One {}\n" },
    [/^class name One: 1,.*\n {2}packages\/cli\/src\/b\.ts, packages\/cli\/src\/c\.ts$/m],
  ],
];

test("tidy accepts files that just keep to each rule, and ignores built and installed ones", (t) => {
  const built = ["dist", "dist-test", "node_modules"].map((name) => [`packages/lab/test/${name}/a.ts`, ofColumns(121)]);
  const files = Object.assign(Object.fromEntries(built), ...RULES.map(([, clean]) => clean)) as Files;
  assert.deepEqual(tree(t, files).tidy(), { status: 0, said: "" });
});

test("tidy names each violation of a rule, with its file and line", (t) => {
  const { status, said } = tree(t, Object.assign({}, ...RULES.map(([, , past]) => past)) as Files).tidy();
  assert.equal(status, 1);
  for (const [rule, , , expected] of RULES) for (const each of expected) assert.match(said, each, rule);
  const places = said.split("\n").filter((line) => line.startsWith("  "));
  assert.equal(places.length, RULES.flatMap(([, , , expected]) => expected).length, said);
});

test("tidy's exceptions allow a number of places; a number that is too high is an error until it's lowered", (t) => {
  const files = {
    "packages/cli/src/a.ts": ofColumns(121).repeat(2),
    "packages/cli/src/b.ts": ofColumns(121).repeat(2),
  };
  const [a, b] = Object.keys(files).map((where) => ({ rule: "line", where, reason: "a table" }));
  const gone = { rule: "file", where: "packages/cli/src/gone.ts", count: 1, reason: "a table" };
  const { tidy, exceptions } = tree(t, files, [{ ...a!, count: 1 }, { ...b!, count: 5 }, gone]);
  const { status, said } = tidy();
  assert.equal(status, 1);
  assert.match(said, /^line .*a\.ts: 2, of which 1 are allowed/m);
  assert.match(said, /^line .*b\.ts: 5 are allowed, and there are 2 now: npm run tidy -- --lower$/m);
  assert.match(said, /^file .*gone\.ts: 1 are allowed, and there are 0 now/m);
  tidy("--lower");
  assert.deepEqual(exceptions(), [
    { ...a!, count: 1 },
    { ...b!, count: 2 },
  ]);
});
