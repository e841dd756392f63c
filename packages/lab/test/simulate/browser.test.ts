/** The engine, the model and the simulator without Node: its modules are refused, its globals taken away. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { simulate } from "../../dist/simulate/run-simulation.js";

const PACKAGES = path.join(import.meta.dirname, "../../..");

/** Copies the compiled modules as a bundler for browsers takes them: replacements of "browser", no package by name. */
function bundle(into: string): void {
  const { browser } = JSON.parse(readFileSync(path.join(PACKAGES, "pinless/package.json"), "utf8"));
  for (const name of ["pinless", "lab"])
    cpSync(path.join(PACKAGES, name, "dist"), path.join(into, name), { recursive: true });
  for (const [from, to] of Object.entries<string>(browser))
    cpSync(path.join(PACKAGES, "pinless", to), path.join(into, from.replace("./dist", "pinless")));
  for (const file of readdirSync(path.join(into, "lab"), { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".js")) continue;
    const at = path.join(into, "lab", file);
    const portable = path.relative(path.dirname(at), path.join(into, "pinless/portable.js"));
    writeFileSync(at, readFileSync(at, "utf8").replaceAll('"pinless/portable"', JSON.stringify(portable)));
  }
  writeFileSync(path.join(into, "package.json"), '{ "type": "module" }');
}

/** Refuses Node's modules, and takes Node's globals away before anything is loaded. */
const RUN = `
import { register } from "node:module";
register("data:text/javascript," + encodeURIComponent(
  'export const resolve = (specifier, context, next) => {' +
  '  if (!/^(\\\\.|file:)/.test(specifier)) throw new Error("imports " + specifier + " in " + context.parentURL);' +
  '  return next(specifier, context);' +
  '};'));
const { stdout } = process;
const write = stdout.write.bind(stdout);
for (const name of ["process", "Buffer", "setImmediate", "clearImmediate", "global"]) delete globalThis[name];
const { simulate } = await import("./lab/simulate/run-simulation.js");
write(JSON.stringify(await simulate({ seed: 5, requests: 300 })));
`;

test("A simulated run is the same without Node's modules and globals", async (t) => {
  const directory = mkdtempSync(path.join(os.tmpdir(), "pinless-browser-"));
  t.after(() => rmSync(directory, { recursive: true }));
  bundle(directory);
  writeFileSync(path.join(directory, "run.mjs"), RUN);
  const { stdout, stderr } = spawnSync(process.execPath, ["run.mjs"], { cwd: directory, encoding: "utf8" });
  assert.equal(stderr, "");
  assert.deepEqual(JSON.parse(stdout), await simulate({ seed: 5, requests: 300 }));
});
