// What package.json promises of the built package.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { accessSync, constants, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { test } from "node:test";

const root = path.resolve(import.meta.dirname, "../..");
const require = createRequire(import.meta.url);
// Through a variable: the compiler would look for the source of a package that imports itself.
const self: string = "pinless";

/** Runs a module in a fresh process and gives back what it prints. */
function run(source: string): string {
  return execFileSync(process.execPath, ["--input-type=module", "--eval", source], { cwd: root, encoding: "utf8" });
}

test("require and import give the same exports, which aren't none", async () => {
  const imported: Record<string, unknown> = await import(self);
  const names = Object.keys(imported);
  assert.ok(names.includes("Engine") && names.includes("open"), `exports are ${names}`);
  for (const specifier of [self, "../../dist/index.js"]) {
    const required: Record<string, unknown> = require(specifier);
    assert.deepEqual(Object.keys(required), names);
    for (const name of names) assert.equal(required[name], imported[name], name);
  }
});

test("require works before any import", () => {
  const source = `process.stdout.write(typeof require(${JSON.stringify(root)} + "/dist/index.js").Engine)`;
  assert.equal(execFileSync(process.execPath, ["--eval", source], { encoding: "utf8" }), "function");
});

test("importing doesn't load koffi", () => {
  const loaded = `(readFileSync("/proc/self/maps", "utf8").includes("koffi.node") ? "loaded" : "not loaded")`;
  const source = (specifier: string): string =>
    `import { readFileSync } from "node:fs"; await import("${specifier}"); process.stdout.write(${loaded})`;
  assert.equal(run(source("pinless")), "not loaded");
  assert.equal(run(source("koffi")), "loaded"); // or the line above would say nothing
});

test("the files that package.json names are there", () => {
  const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const { types, import: module, default: other } = manifest.exports["."];
  for (const file of [types, module, other, ...manifest.files]) accessSync(path.join(root, file));
  const command = path.join(root, manifest.bin.pinless);
  accessSync(command, constants.X_OK);
  assert.match(readFileSync(command, "utf8"), /^#!\/usr\/bin\/env node\n/);
});
