// The built package is as package.json says.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { accessSync, constants, cpSync, readFileSync, rmSync } from "node:fs";
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

test("require and import give the same exports", async () => {
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

test("the files that package.json names exist", () => {
  const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const targets = [".", "./fs", "./portable", "./internal"].flatMap((name) =>
    Object.values<string>(manifest.exports[name]),
  );
  for (const file of targets) accessSync(path.join(root, file));
});

const ROOT = path.resolve(root, "../..");
const COMMANDS = { pinless: "cli", "pinless-lab": "lab" };

for (const [name, folder] of Object.entries(COMMANDS))
  test(`at the root of the clone npx finds ${name}`, () => {
    const manifest = path.join(ROOT, "packages", folder, "package.json");
    const { version, bin } = JSON.parse(readFileSync(manifest, "utf8"));
    // npm links a command only if its file is there before anything is built.
    assert.doesNotMatch(bin[name], /dist/);
    const said = execFileSync("npx", ["--no-install", name, "--version"], { cwd: ROOT, encoding: "utf8" });
    assert.equal(said, `${version}\n`);
    const command = path.join(ROOT, "packages", folder, "bin", `${name}.js`);
    accessSync(command, constants.X_OK);
    assert.match(readFileSync(command, "utf8"), /^#!\/usr\/bin\/env node\n/);
  });

/** The declarations that a user's TypeScript reads: those that index.d.ts reaches. */
function reachedDeclarations(): string[] {
  const reached = new Set<string>();
  const follow = (file: string): void => {
    if (reached.has(file)) return;
    reached.add(file);
    const text = readFileSync(path.join(ROOT, "packages/pinless", file), "utf8");
    for (const [, specifier] of text.matchAll(/(?:from |import\()"(\.[^"]+)"/g))
      follow(path.join(path.dirname(file), specifier!.replace(/\.js$/, ".d.ts")));
  };
  follow("dist/index.d.ts");
  return [...reached];
}

/** The files of a package that npm would pack, and the size of the archive. */
function packed(folder: string): { readonly names: readonly string[]; readonly bytes: number } {
  const args = ["pack", "--dry-run", "--json", "--ignore-scripts"];
  const cwd = path.join(ROOT, "packages", folder);
  const [{ files, size }] = JSON.parse(execFileSync("npm", args, { cwd, encoding: "utf8" }));
  return { names: files.map((file: { path: string }) => file.path), bytes: size };
}

test("go to definition ends in TypeScript, in a package of less than 350 kB", () => {
  const { names, bytes } = packed("pinless");
  const wanted = reachedDeclarations().flatMap((file) => {
    const map = JSON.parse(readFileSync(path.join(ROOT, "packages/pinless", `${file}.map`), "utf8"));
    return [file, `${file}.map`, ...map.sources.map((source: string) => path.join(path.dirname(file), source))];
  });
  assert.ok(wanted.includes("src/engine/arena.ts"), `${wanted}`);
  assert.deepEqual(
    wanted.filter((name) => !names.includes(name)),
    [],
  );
  assert.ok(bytes < 350_000, `${bytes} bytes`);
});

test("the packed README has no relative links", (t) => {
  const copy = path.join(ROOT, "packages/pinless/README.md");
  t.after(() => rmSync(copy, { force: true }));
  execFileSync(process.execPath, [path.join(ROOT, "scripts/packed-readme.mjs")]);
  const text = readFileSync(copy, "utf8");
  assert.doesNotMatch(text, /\]\((?!https?:)/);
  assert.match(text, /`docs\/guarantees\.md`/);
});

test("the package has built files with their sources, and no tests or test files", () => {
  const has = {
    pinless: ["dist/index.js", "dist/index.d.ts", "dist/events/monitor-thread.js", "src/index.ts"],
    cli: ["dist/main.js", "dist/command/index.d.ts"],
    lab: ["dist/main.js", "scenarios/unmap.yaml", "plans/one-machine.json"],
  };
  for (const [folder, wanted] of Object.entries(has)) {
    const { names } = packed(folder);
    for (const name of wanted) assert.ok(names.includes(name), `${folder}: ${name}`);
    assert.deepEqual(
      names.filter((name) => /(^|\/)(scripts|node_modules|test|dist-test|mutants)\/|tsbuildinfo/.test(name)),
      [],
    );
  }
});

test("npm install --omit=dev in a clone succeeds, and says how to build dist/", (t) => {
  const clone = scratchDirectory(t);
  for (const name of ["package.json", "scripts"])
    cpSync(path.join(ROOT, name), path.join(clone, name), { recursive: true });
  const { status, stderr } = spawnSync("npm", ["run", "prepare"], { cwd: clone, encoding: "utf8" });
  assert.equal(status, 0, stderr);
  assert.match(stderr, /there's no typescript here .*; npm run build makes dist/);
});
