/** Functions of Node that a program replaces after it loaded pinless: timers by fakes, `open` by pinless's own. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { scratchDirectory } from "../support/undo.js";

const INDEX = JSON.stringify(new URL("../../dist/index.js", import.meta.url).href);

/** Runs a module that imports everything first. It ends the process itself: under fake timers nothing else would. */
function run(body: string, scratch: string): { status: number | null; output: string } {
  const program = `
    import fs from "node:fs";
    import assert from "node:assert/strict";
    import timers from "node:timers";
    import { syncBuiltinESMExports } from "node:module";
    import { Engine, open, probe } from ${INDEX};
    const path = ${JSON.stringify(path.join(scratch, "file"))};
    fs.writeFileSync(path, Buffer.alloc(8192, 7));
    const end = process.reallyExit.bind(process);
    process.exitCode = 1;
    ${body}
    end(0);`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    timeout: 180_000,
    encoding: "utf8",
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
  });
  return { status, output: stdout + stderr };
}

const NEVER = `
  const never = () => ({ unref() {}, ref() {} });
  for (const name of ["setTimeout", "setInterval", "setImmediate", "clearTimeout", "clearInterval", "clearImmediate"])
    globalThis[name] = timers[name] = never;
  globalThis.queueMicrotask = process.hrtime = never;
  performance.now = Date.now = () => 0;
  syncBuiltinESMExports();`;

for (const scheme of ["io_uring", "aio", "direct"]) {
  test(`I/O by ${scheme} goes on if timers, clocks and functions of node:fs are replaced by no-ops`, (t) => {
    const { status, output } = run(
      `
      const first = await Engine.open({ scheme: "${scheme}" }).catch(() => null);
      await first?.close();
      if (first === null) { console.log("no such scheme"); end(0); }
      ${NEVER}
      for (const name of ["read", "write", "openSync", "fstat", "fstatSync", "closeSync", "close", "createReadStream"])
        fs[name] = () => assert.fail(name);
      fs.ReadStream = fs.WriteStream = () => assert.fail("streams");
      syncBuiltinESMExports();
      const engine = await Engine.open({ scheme: "${scheme}" });
      const arena = await engine.arena({ bytes: 1 << 20 });
      const file = await engine.openFile(path, "r+");
      const buffer = arena.alloc(4096);
      assert.equal((await file.read(buffer, { position: 0 })).bytesRead, 4096);
      assert.equal((await file.read(Buffer.alloc(100), 0, 100, 1)).bytesRead, 100);
      await file.write("abc", 5);
      const stream = file.createReadStream({ start: 5, end: 7, autoClose: false });
      for await (const part of stream) assert.equal(String(part), "abc");
      await new Promise((resolve) => file.submit("read", buffer, 0, resolve));
      await arena.discard();
      await file.close();
      await engine.close();`,
      scratchDirectory(t),
    );
    assert.equal(status, 0, output);
  });
}

for (const synced of [false, true]) {
  test(`open in the place of fs.promises.open opens files${synced ? ", for importers too" : ""}`, (t) => {
    const { status, output } = run(
      `
      fs.promises.open = open;
      ${synced ? "syncBuiltinESMExports();" : ""}
      const { open: replaced } = await import("node:fs/promises");
      const files = [await fs.promises.open(path), await replaced(path, "r+")];
      for (const file of files) {
        assert.equal((await file.read(Buffer.alloc(10), 0, 10, 0)).bytesRead, 10);
        await file.close();
      }`,
      scratchDirectory(t),
    );
    assert.equal(status, 0, output);
  });
}
