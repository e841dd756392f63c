// Closing an engine gives its threads, descriptors and memory back. Threads exist only while they're needed.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { numberedBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { scratchDirectory } from "../support/undo.js";

const COUNTS = `
  import { readdirSync, readFileSync } from "node:fs";
  import threads from "node:worker_threads";
  import { syncBuiltinESMExports } from "node:module";
  const started = [];
  let running = 0;
  threads.Worker = class extends threads.Worker {
    constructor(url, options) {
      super(url, options);
      started.push(options?.name);
      running++;
      this.once("exit", () => running--);
    }
  };
  syncBuiltinESMExports();
  const file = process.argv[1];
  // The kernel's own threads of a ring come and go as it likes.
  const isOurs = (thread) => {
    try {
      return !readFileSync("/proc/self/task/" + thread + "/comm", "utf8").startsWith("iou-");
    } catch {
      return false;
    }
  };
  const threadIds = () => readdirSync("/proc/self/task").filter(isOurs);
  const count = () => ({ threads: threadIds().length, descriptors: readdirSync("/proc/self/fd").length });
  const within = async (what, condition) => {
    for (const begin = Date.now(); !(await condition()); await new Promise(setImmediate))
      if (Date.now() - begin > 60_000) throw new Error(what + JSON.stringify(count()));
  };
  const isNoMore = (before) => count().threads <= before.threads && count().descriptors <= before.descriptors;
  // What Node, koffi and libuv's pool take once and for all isn't ours.
  const { Engine, open } = await import(PINLESS);
  // Node 25 and later take a file that is collected before it was closed for an error.
  const files = [];
  const once = async (options) => {
    const engine = await Engine.open(options);
    const arena = await engine.arena({ bytes: 2 << 20 });
    const opened = await engine.openFile(file);
    files.push(opened);
    const buffer = arena.alloc(4096);
    for (let i = 0; i < 4; i++) await opened.read(buffer, { position: 0 });
    await opened.read(Buffer.alloc(100), 0, 100, 1);
    return engine;
  };
`;

async function run(t: TestContext, source: string, node: readonly string[] = []): Promise<unknown> {
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, numberedBlocks(16));
  const { code, signal, stdout, stderr } = await runModule(COUNTS + source, { args: [file], node });
  assert.deepEqual([code, signal], [0, null], stderr);
  return JSON.parse(stdout);
}

for (const scheme of ["io_uring", "aio", "direct"]) {
  test(`Closing the last engine gives threads and descriptors back, ${scheme}`, async (t) => {
    const counts = (await run(
      t,
      `const options = { scheme: ${JSON.stringify(scheme)} };
      await (await once(options)).close();
      await within("the end of the first one's threads", () => running === 0);
      const before = count();
      const two = [await once(options), await once(options)];
      const between = count();
      await two[0].close();
      await two[1].close();
      // Some of what Node closes it closes in a turn of the loop.
      await within("the end", () => isNoMore(before));
      if (files.length !== 3) throw new Error("three files were opened");
      console.log(JSON.stringify([before, between]));`,
    )) as { threads: number; descriptors: number }[];
    const [before, between] = counts as [(typeof counts)[0], (typeof counts)[0]];
    assert.ok(between.threads > before.threads);
    assert.ok(between.descriptors > before.descriptors);
  });
}

test("open() gives everything back a while after its last file was closed, and opens again", async (t) => {
  const again = await run(
    t,
    `const use = async () => {
      const handle = await open(file);
      await handle.read(Buffer.alloc(100), 0, 100, 0);
      return handle;
    };
    await (await once()).close();
    await within("the end of the first one's threads", () => running === 0);
    const before = count();
    const handle = await use();
    const other = await use();
    await handle.close();
    const busy = count();
    if (busy.descriptors <= before.descriptors) throw new Error("nothing is open");
    await other.close();
    await within("the default engine's end", () => isNoMore(before));
    const third = await use();
    const again = (await third.read(Buffer.alloc(10), 0, 10, 0)).bytesRead;
    console.log(again);`,
  );
  assert.equal(again, 10);
});

test("A program that only opens and reads files starts no thread; threads at rest end", async (t) => {
  const [atFirst, later, rest] = (await run(
    t,
    `const handle = await open(file);
    await handle.read(Buffer.alloc(100), 0, 100, 0);
    const atFirst = started.length;
    const engine = await Engine.open({ scheme: "aio" });
    const arena = await engine.arena({ bytes: 4096 });
    const later = started.filter((name) => name === "pinless-monitor").length;
    await arena.close();
    const busy = count().threads;
    await within("an end of what rests", () => count().threads <= busy - 2);
    const [again] = [await engine.arena({ bytes: 4096 })];
    await again.discard();
    console.log(JSON.stringify([atFirst, later, engine.stats().invalidations.CLEAR]));`,
  )) as [number, number, number];
  assert.deepEqual([atFirst, later, rest], [0, 1, 1]);
});

test("Engines opened and closed without a turn of the loop between give their memory back", async (t) => {
  const grownGiB = await run(
    t,
    `const takenGiB = () => Number(/VmSize:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / (1 << 20);
    const rounds = async (count) => {
      for (let i = 0; i < count; i++) await (await Engine.open({ depth: 1, events: { userfaultfd: false } })).close();
      for (let i = 0; i < 3; i++) gc();
      return takenGiB();
    };
    const before = await rounds(3);
    console.log((await rounds(100)) - before);`,
    ["--expose-gc"],
  );
  // Each of two rings takes 10 GiB of address space, since its memory can't be moved.
  assert.ok(Number(grownGiB) < 500, `${grownGiB} GiB`);
});
