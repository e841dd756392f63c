// What package.json promises of the built package.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  accessSync,
  constants,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { test } from "node:test";
import { scratchDirectory } from "../support/undo.js";

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

test("after npm install in a fresh clone npx finds the command, and what is packed has it", (t) => {
  const clone = scratchDirectory(t);
  const sources = ["package.json", "tsconfig.json", "src", "scripts", "scenarios", "what-if"];
  for (const name of [...sources, "CHANGELOG.md", "README.md", "LICENSE"])
    cpSync(path.join(root, name), path.join(clone, name), { recursive: true });
  // What npm would have installed, without what this package's own script adds.
  const modules = path.join(root, "node_modules");
  const bin = path.join(clone, "node_modules/.bin");
  mkdirSync(bin, { recursive: true });
  for (const name of readdirSync(modules).filter((name) => !name.startsWith(".")))
    symlinkSync(path.join(modules, name), path.join(clone, "node_modules", name));
  // Compiling takes half a minute on a busy machine, and isn't what this is about.
  writeFileSync(path.join(bin, "tsc"), `#!/bin/sh\ncp -r "${path.join(root, "dist")}" dist\n`, { mode: 0o755 });
  const npm = (command: string, ...args: string[]): string =>
    execFileSync(command, args, { cwd: clone, encoding: "utf8", env: { ...process.env, npm_config_offline: "true" } });
  const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  npm("npm", "run", "prepare");
  assert.equal(npm("npx", "pinless", "--version"), `${version}\n`);
  const [packed] = JSON.parse(npm("npm", "pack", "--json", "--ignore-scripts"));
  const names = packed.files.map((file: { path: string }) => file.path);
  for (const name of ["dist/index.js", "dist/index.d.ts", "dist/cli/main.js", "scenarios/unmap.yaml"])
    assert.ok(names.includes(name), name);
  assert.deepEqual(
    names.filter((name: string) => /^(scripts|node_modules|test|dist-test)\//.test(name)),
    [],
  );
  // Where nothing can be built that's no failure: npm install --omit=dev. What was built is left.
  rmSync(path.join(bin, "tsc"));
  npm("npm", "run", "prepare");
  assert.equal(npm("npx", "pinless", "--version"), `${version}\n`);
});
