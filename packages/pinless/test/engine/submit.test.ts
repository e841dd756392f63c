// Effects of a throwing callback on its process, and on other requests.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { numberedBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { scratchDirectory } from "../support/undo.js";

const SOURCE = `
  import { Engine } from PINLESS;
  const engine = await Engine.open({ scheme: process.argv[3], depth: 16 });
  const arena = await engine.arena({ bytes: 2 << 20 });
  const file = await engine.openFile(process.argv[1]);
  const caught = [];
  if (process.argv[2] === "caught")
    process.on("uncaughtException", (error, origin) => caught.push(origin + ": " + error.message));
  const seen = [];
  await new Promise((resolve) => {
    for (let i = 0; i < 8; i++) {
      // Straight, by a buffer of the heap, and unaligned.
      const buffer = i % 3 === 0 ? arena.alloc(4096) : Buffer.alloc(i % 3 === 1 ? 4096 : 10);
      file.submit("read", buffer, i * 4096, (errno, bytes) => {
        seen.push(i);
        if (seen.length === 8) setImmediate(() => setImmediate(resolve));
        if (i < 4) throw new Error("thrown by " + i);
      });
    }
  });
  await engine.close();
  console.log(JSON.stringify({ seen: seen.sort(), caught: caught.sort(), submitted: engine.stats().submitted }));
`;

for (const scheme of ["io_uring", "aio", "direct"]) {
  test(`${scheme}: File.submit: an error in done goes to uncaughtException, others are called`, async (t) => {
    const file = path.join(scratchDirectory(t), "file");
    writeFileSync(file, numberedBlocks(8));
    const { code, stdout, stderr } = await runModule(SOURCE, { args: [file, "caught", scheme] });
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), {
      seen: [0, 1, 2, 3, 4, 5, 6, 7],
      caught: [0, 1, 2, 3].map((i) => `uncaughtException: thrown by ${i}`),
      submitted: 8,
    });
  });

  test(`${scheme}: File.submit: an error in done ends a process without a handler`, async (t) => {
    const file = path.join(scratchDirectory(t), "file");
    writeFileSync(file, numberedBlocks(8));
    const { code, signal, stdout, stderr } = await runModule(SOURCE, { args: [file, "uncaught", scheme] });
    assert.deepEqual([code, signal, stdout], [1, null, ""]);
    assert.match(stderr, /Error: thrown by [0-3]\n/);
    assert.doesNotMatch(stderr, /unhandled/i);
  });
}
