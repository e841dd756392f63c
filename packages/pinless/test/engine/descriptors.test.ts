// A file has one descriptor until it needs a second one.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { Engine } from "../../dist/index.js";
import { runModule } from "../support/children.js";
import { descriptorsOf } from "../support/proc.js";
import { scratchDirectory, undoing } from "../support/undo.js";

test("A file opens a second descriptor with its first direct request, and closes both", async (t) => {
  const engine = await Engine.open({ depth: 8, pin: "per-io" });
  undoing(t, () => engine.close());
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, Buffer.alloc(65536, 7));
  const buffer = (await engine.arena({ bytes: 1 << 20 })).alloc(4096);
  const file = await engine.openFile(name, "r+");
  if (!file.direct) return t.skip("machine: scratch files without direct I/O");
  for (const position of [1, 0]) await file.read(Buffer.alloc(100), { position });
  assert.equal(descriptorsOf(name), 1);
  await file.read(buffer, { position: 0 });
  await file.write(buffer, { position: 4096 });
  assert.equal(descriptorsOf(name), 2);
  assert.equal(engine.stats().buffered, 2);
  await file.close();
  assert.equal(descriptorsOf(name), 0);
});

test("A file with no descriptor left for direct I/O is buffered, says so, and is direct later", async (t) => {
  const source = `
    import { Engine } from PINLESS;
    import { closeSync, openSync } from "node:fs";
    const engine = await Engine.open({ depth: 8, pin: "per-io" });
    const arena = await engine.arena({ bytes: 1 << 20 });
    const file = await engine.openFile(process.env.FILE);
    const taken = [];
    try {
      for (;;) taken.push(openSync("/dev/null"));
    } catch (error) {
      if (error.code !== "EMFILE") throw error;
    }
    const results = [file.direct];
    const read = async () => {
      const before = engine.stats().buffered;
      const { bytesRead, buffer } = await file.read(arena.alloc(4096), { position: 0 });
      results.push(bytesRead, buffer.every((byte) => byte === 7), engine.stats().buffered - before);
    };
    await read();
    for (const fd of taken) closeSync(fd);
    await read();
    results.push(file.direct, engine.stats().degraded.filter((why) => why.includes("EMFILE")).length);
    process.stdout.write(JSON.stringify(results));
    await engine.close();
  `;
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, Buffer.alloc(65536, 7));
  const wrapper = ["prlimit", "--nofile=200:200"];
  const { code, stdout, stderr } = await runModule(source, { wrapper, env: { FILE: name } });
  assert.equal(code, 0, stderr);
  const results = JSON.parse(stdout);
  if (results[0] === false) return t.skip("machine: scratch files without direct I/O");
  assert.deepEqual(results, [true, 4096, true, 1, 4096, true, 0, true, 1]);
});
