/** Files that are garbage-collected without having been closed. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { scratchDirectory } from "../support/undo.js";

const NODE_MAJOR = Number.parseInt(process.versions.node, 10);
/** Long enough for many reads. */
const TEXT = "x".repeat(300_000);

test("Files are closed on garbage collection, with this Node's warnings or errors; a stream keeps its File", (t) => {
  const index = JSON.stringify(new URL("../../dist/index.js", import.meta.url).href);
  const program = `
    import { open } from ${index};
    import assert from "node:assert/strict";
    import { readdirSync, readlinkSync } from "node:fs";
    const warnings = [];
    process.on("warning", ({ code, message }) => warnings.push({ code, message }));
    const errors = [];
    process.on("uncaughtException", ({ code, message }) => {
      if (code !== "ERR_INVALID_STATE") {
        console.error(code, message);
        process.exit(2);
      }
      errors.push(message);
    });
    const path = process.argv[1];
    const target = (fd) => {
      try {
        return readlinkSync("/proc/self/fd/" + fd);
      } catch {
        return "closed meanwhile";
      }
    };
    const descriptors = () => readdirSync("/proc/self/fd").filter((fd) => target(fd) === path).length;
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    for await (const part of (await open(path)).createReadStream());
    const before = descriptors();
    const stream = (await open(path)).createReadStream({ highWaterMark: 1024 });
    const kept = descriptors();
    await (async () => { for (let i = 0; i < 200; i++) await open(path); })();
    await (async () => { for (let i = 0; i < 50; i++) { const h = await open(path); h.readableWebStream(); } })();
    const collectedTo = async (count) => {
      for (const begin = Date.now(); descriptors() > count && Date.now() - begin < 60_000; await turn()) gc();
      assert.equal(descriptors(), count, "dropped Files stay open");
    };
    await collectedTo(kept);
    let bytes = 0;
    for await (const part of stream) {
      bytes += part.length;
      if (bytes % (32 << 10) === 0) gc();
      await turn();
    }
    assert.equal(bytes, 300000);
    await collectedTo(before);
    const closing = /^Closing file descriptor \\d+ on garbage collection$/;
    const dropped = warnings.filter(({ message }) => closing.test(message));
    const deprecations = warnings.filter(({ code }) => code === "DEP0137").length;
    const found = [dropped.length, deprecations, errors.length];
    const expected = ${NODE_MAJOR >= 25 ? "[0, 0, 250]" : "[250, 1, 0]"};
    assert.deepEqual(found, expected, JSON.stringify([warnings[0], errors[0]]));
    for (const message of errors) assert.match(message, /closed on garbage collection.* descriptor was \\d+ \\(\\//);
  `;
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, TEXT);
  const args = ["--expose-gc", "--no-warnings", "--input-type=module", "-e", program, file];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 180_000 });
  assert.equal(status, 0, stdout + stderr);
});

test("a File that its engine would have closed is closed on garbage collection with a warning, in every Node", () => {
  const index = JSON.stringify(new URL("../../dist/index.js", import.meta.url).href);
  const program = `
    import { Engine } from ${index};
    import assert from "node:assert/strict";
    const warnings = [];
    process.on("warning", ({ message }) => warnings.push(message));
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    const engine = await Engine.open({ depth: 8 });
    await (async () => { for (let i = 0; i < 50; i++) await engine.openFile(process.argv[1]); })();
    for (const begin = Date.now(); warnings.length < 50 && Date.now() - begin < 60_000; await turn()) gc();
    for (const each of warnings) assert.match(each, /^Closing file descriptor \\d+ on garbage collection$/);
    assert.equal(warnings.length, 50);
    await engine.close();
  `;
  const args = ["--expose-gc", "--no-warnings", "--input-type=module", "-e", program, import.meta.filename];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 180_000 });
  assert.equal(status, 0, stdout + stderr);
});
