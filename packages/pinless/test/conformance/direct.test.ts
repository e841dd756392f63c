// The conformance suites on the real kernel, by calls on libuv's thread pool. It registers nothing, so there is one pin
// mode.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, readSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { Engine } from "../../dist/index.js";
import { numberedBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { scratchDirectory } from "../support/undo.js";
import { requestSuites } from "./conformance.js";
import { kernelGround } from "./kernel.js";
import { withoutRegistrations } from "./without-registrations.js";

const ground = kernelGround("direct", "per-io");
requestSuites(ground);
withoutRegistrations("direct");

test("Engine by direct has a depth of one request for each thread of libuv's pool, and says so", async () => {
  const source = `
    import { Engine } from PINLESS;
    const engine = await Engine.open({ scheme: "direct", pin: "per-io", depth: 8 });
    console.log(JSON.stringify([engine.depth, engine.stats().degraded.length]));
    await engine.close();
  `;
  const sizes: [string, number][] = [
    ["", 1],
    ["2", 2],
    ["7x", 7],
    ["0", 1],
    ["64", 8],
  ];
  for (const [size, depth] of sizes) {
    const { stdout, stderr } = await runModule(source, { env: { UV_THREADPOOL_SIZE: size } });
    assert.deepEqual(JSON.parse(stdout || "null"), [depth, depth < 8 ? 1 : 0], `${size}: ${stderr}`);
  }
  const engine = await Engine.open({ scheme: "direct", pin: "per-io", depth: 2 });
  assert.equal(engine.depth, 2);
  assert.deepEqual(engine.stats().degraded, []);
  await engine.close();
});

test("Engine by direct queues requests up to eight a thread and the depth asked for, and answers all", async (t) => {
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, numberedBlocks(64));
  const source = `
    import { Engine } from PINLESS;
    const engine = await Engine.open({ scheme: "direct", pin: "per-io", depth: Number(process.argv[2]) });
    const arena = await engine.arena({ bytes: 2 << 20 });
    const file = await engine.openFile(process.argv[1]);
    const buffers = Array.from({ length: 64 }, () => arena.alloc(4096));
    let done = 0;
    const submit = (buffer, i) => file.submit("read", buffer, i * 4096, (errno) => done += errno + 1);
    const taken = buffers.filter((buffer, i) => submit(buffer, i) === "queued").length;
    const reads = buffers.slice(taken).map((buffer, i) => file.read(buffer, { position: (taken + i) * 4096 }));
    await Promise.all(reads);
    await engine.close();
    console.log(JSON.stringify([engine.depth, taken, done, engine.stats().completed]));
  `;
  for (const [threads, depth, taken] of [
    [2, 128, 16],
    [2, 3, 3],
    [1, 1, 1],
  ]) {
    const env = { UV_THREADPOOL_SIZE: String(threads) };
    const { stdout, stderr } = await runModule(source, { env, args: [file, String(depth)] });
    assert.deepEqual(JSON.parse(stdout || "null"), [Math.min(threads!, depth!), taken, taken, 64], stderr);
  }
});

test("direct: File refuses reads of a pipe, which could keep a thread for ever, and writes to one", async (t) => {
  const pipe = path.join(scratchDirectory(t), "pipe");
  execFileSync("mkfifo", [pipe]);
  const other = openSync(pipe, constants.O_RDWR);
  const engine = await ground.open();
  try {
    const file = await engine.openFile(pipe, "r+");
    await assert.rejects(file.read(Buffer.alloc(1)), { code: "ERR_PINLESS_UNSUPPORTED", message: /"io_uring"/ });
    await file.write("text");
    const got = Buffer.alloc(10);
    assert.equal(got.toString("utf8", 0, readSync(other, got)), "text");
  } finally {
    await engine.close();
    closeSync(other);
  }
});
