/** Examples in docstrings: they compile, with the types that a user gets. */

import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { scratchDirectory } from "../support/undo.js";

const PACKAGE = fileURLToPath(new URL("../..", import.meta.url));
const SOURCES = path.join(PACKAGE, "src");

/** Declarations that examples may use. */
const GIVEN = `
import { createHash } from "node:crypto";
import { Engine, type File, type Arena, type ArenaToken, type Invalidation, open, PinlessError } from "pinless";
declare const engine: Engine, arena: Arena, token: ArenaToken, file: File, buffer: Uint8Array;
declare const start: number, end: number;
export { createHash, Engine, open, PinlessError, type Invalidation };
`;

/** The code of each example, without the comment's stars. */
function examplesOf(source: string): string[] {
  return [...source.matchAll(/\* @example\n *\* ```ts\n([\s\S]*?)\n *\* ```/g)].map(([, code]) =>
    code!.replaceAll(/^ *\* ?/gm, ""),
  );
}

test("the examples in docstrings compile", (t) => {
  const files = readdirSync(SOURCES, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const examples = files.flatMap((name) => examplesOf(readFileSync(path.join(SOURCES, name), "utf8")));
  assert.ok(examples.length >= 10, `${examples.length} examples`);
  const directory = scratchDirectory(t);
  mkdirSync(path.join(directory, "node_modules"));
  symlinkSync(PACKAGE, path.join(directory, "node_modules/pinless"));
  const program = path.join(directory, "examples.mts");
  const functions = examples.map((code, i) => `export async function example${i}() {\n${code}\n}`);
  writeFileSync(program, [GIVEN, ...functions].join("\n"));
  const diagnostics = ts.getPreEmitDiagnostics(
    ts.createProgram([program], {
      module: ts.ModuleKind.NodeNext,
      target: ts.ScriptTarget.ES2022,
      lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
      strict: true,
      noEmit: true,
      types: ["node"],
      typeRoots: [path.join(path.dirname(path.dirname(PACKAGE)), "node_modules/@types")],
      skipLibCheck: true,
    }),
  );
  const said = diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
  assert.deepEqual(said, []);
});
