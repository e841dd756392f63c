// The end of processes and workers that have an engine: on purpose, by signals, by errors, and with nothing left to do.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Engine } from "../../dist/index.js";
import { numberedBlocks } from "../support/blocks.js";
import { type ChildOptions, type Ended, runModule } from "../support/children.js";
import { rounds } from "../support/rounds.js";
import { namedPipe, scratchDirectory } from "../support/undo.js";
import { until } from "../support/until.js";

const NODE_MAJOR = Number.parseInt(process.versions.node, 10);

/**
 * In a child: an engine with leases, and a file that is read all the time, straight, by copies and by the page cache.
 */
const LOAD = `
  import { Engine } from PINLESS;
  const engine = await Engine.open({ depth: 32, lease: { chunk: 65536 } });
  const arena = await engine.arena({ bytes: 4 << 20 });
  const file = await engine.openFile(process.argv[1]);
  let done = 0;
  let goOn = true;
  const load = () => {
    for (let i = 0; i < 16; i++) {
      const straight = arena.alloc(4096);
      const again = (errno) => {
        if (errno !== 0) throw new Error("errno " + errno);
        done++;
        if (goOn) file.submit("read", straight, (done % 64) * 4096, again);
      };
      file.submit("read", straight, 0, again);
    }
    const copy = async (bytes, at) => {
      for (; goOn; done++) await file.read(Buffer.alloc(bytes), { position: at });
    };
    void copy(4096, 0);
    void copy(100, 3);
  };
  const until = async (condition) => { while (!condition()) await new Promise(setImmediate); };
  load();
  await until(() => done > 500 && engine.stats().leases.taken > 0);
`;

function fileOf(t: TestContext): string {
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, numberedBlocks(64));
  return file;
}

async function run(t: TestContext, source: string, options: ChildOptions = {}): Promise<Ended> {
  return runModule(source, { ...options, args: [fileOf(t), ...(options.args ?? [])] });
}

function assertEnded(ended: Ended, code: number | null, signal: NodeJS.Signals | null = null): void {
  assert.deepEqual([ended.code, ended.signal], [code, signal], `${ended.stdout}${ended.stderr}`);
}

for (const [where, exit] of [
  ["from the main program", "process.exit(7)"],
  ["from inside done", 'file.submit("read", arena.alloc(4096), 0, () => process.exit(7)); await new Promise(() => {})'],
  ["from a promise's continuation", "await file.read(arena.alloc(4096), { position: 0 }); process.exit(7)"],
  ["from a timer", "setTimeout(() => process.exit(7), 1); await new Promise(() => {})"],
  ["with process.exitCode set and an end of its own", "process.exitCode = 7; goOn = false; void engine.close()"],
] as const) {
  test(`process.exit under I/O ${where}: its code is the process's`, async (t) => {
    for (let left = rounds(1, 2); left > 0; left--) assertEnded(await run(t, `${LOAD}${exit}`), 7);
  });
}

test("SIGINT and SIGTERM under I/O end the process as they do without an engine", async (t) => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const started: ChildOptions["started"] = (child) => child.stdout!.once("data", () => child.kill(signal));
    assertEnded(await run(t, `${LOAD} console.log("going"); await new Promise(() => {})`, { started }), null, signal);
    const handled = `process.on("${signal}", () => process.exit(3)); console.log("going"); await new Promise(() => {})`;
    assertEnded(await run(t, `${LOAD}${handled}`, { started }), 3);
  }
});

test("An uncaught error ends the process with code 1 under I/O", async (t) => {
  const ended = await run(
    t,
    `${LOAD} setImmediate(() => { throw new Error("on purpose"); }); await new Promise(() => {})`,
  );
  assertEnded(ended, 1);
  assert.match(ended.stderr, /Error: on purpose/);
});

test("A process that ends while its threads still load the FFI ends with its code", async () => {
  for (let ms = 20; ms < 95; ms += rounds(30, 15)) {
    const ended = await runModule(`
      import { Engine } from PINLESS;
      const engine = await Engine.open();
      engine.arena({ bytes: 4096 }).catch(() => {});
      for (const begin = performance.now(); performance.now() - begin < ${ms}; );
      process.exit(7);
    `);
    assert.deepEqual([ended.code, ended.signal, ended.stderr], [7, null, ""], `after ${ms} ms`);
  }
});

test("An idle engine doesn't keep the process alive, even with leases, arenas and files", async (t) => {
  for (const pin of ["lease", "lifetime", "per-io"]) {
    const source = `
      import { Engine, open } from PINLESS;
      const engine = await Engine.open({ pin: "${pin}", lease: { idle: 3_600_000, max: 3_600_000 } });
      const arena = await engine.arena({ bytes: 4 << 20 });
      const file = await engine.openFile(process.argv[1]);
      const buffer = arena.alloc(4096);
      for (let i = 0; i < 4; i++) await file.read(buffer, { position: 0 });
      await arena.discard(buffer);
      const other = await open(process.argv[1]);
      await other.read(Buffer.alloc(10));
      globalThis.kept = [engine, arena, file, other];
      if ("${pin}" === "lease") for (let i = 0; i < 4; i++) await file.read(buffer, { position: 0 });
      console.log("end");
    `;
    const ended = await run(t, source);
    assertEnded(ended, 0);
    assert.equal(ended.stdout, "end\n");
  }
});

test("A pending read keeps the process alive until it has its data", async (t) => {
  const pipe = namedPipe(t);
  const writer = openSync(pipe, constants.O_RDWR);
  try {
    const source = `
      import { Engine } from PINLESS;
      const engine = await Engine.open();
      const file = await engine.openFile(process.argv[2]);
      file.read(Buffer.alloc(10)).then(({ bytesRead, buffer }) => console.log(buffer.toString("utf8", 0, bytesRead)));
      setImmediate(() => console.log("waiting"));
    `;
    let written = false;
    const started: ChildOptions["started"] = (child) => {
      child.stdout!.once("data", async () => {
        // Once its thread sleeps, nothing but the read can be what it waits for.
        await until("the child to sleep", () => /\) S /.test(readFileSync(`/proc/${child.pid}/stat`, "utf8")));
        written = true;
        writeSync(writer, "something");
      });
    };
    const ended = await run(t, source, { args: [pipe], started });
    assertEnded(ended, 0);
    assert.equal(ended.stdout, "waiting\nsomething\n");
    assert.ok(written);
  } finally {
    closeSync(writer);
  }
});

test("Calls that wait for an invalidation's end keep the process alive until they have gone on", async (t) => {
  for (const scheme of ["io_uring", "aio", "direct"]) {
    const source = `
      import { Engine } from PINLESS;
      const engine = await Engine.open({ scheme: "${scheme}" });
      const arena = await engine.arena({ bytes: 4 << 20 });
      const file = await engine.openFile(process.argv[1]);
      const memory = arena.alloc(4096);
      const { addressOf } = await import(new URL("linux/libc-bindings.js", PINLESS));
      const start = addressOf(memory.buffer) + memory.byteOffset;
      const range = { start, end: start + 4096 };
      const calls = {
        "unaligned read": () => file.read(memory.subarray(1, 99), { position: 0 }),
        discard: () => arena.discard(memory),
      };
      for (const [name, call] of Object.entries(calls)) {
        const invalidation = engine.notifier.invalidateRangeStart(range, "CLEAR");
        const answer = call();
        // A timer that the process doesn't stay for, as it doesn't for the messages of other threads.
        setTimeout(() => engine.notifier.invalidateRangeEnd(invalidation), 20).unref();
        await answer;
        console.log(name);
      }
    `;
    const ended = await run(t, source);
    assertEnded(ended, 0);
    assert.equal(ended.stdout, "unaligned read\ndiscard\n", scheme);
  }
});

/** In a child: workers that have an engine under load, and what's left of them. */
const WORKERS = `
  import { readdirSync, readFileSync, readlinkSync } from "node:fs";
  import { once } from "node:events";
  import { Worker } from "node:worker_threads";
  const links = () => readdirSync("/proc/self/fd").flatMap((fd) => {
    try { return [readlinkSync("/proc/self/fd/" + fd)]; } catch { return []; }
  });
  const rings = () => links().filter((link) => link.includes("io_uring")).length;
  const pinned = () => Number(/VmPin:\\s*(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
  const SOURCE = ${JSON.stringify(`
    const { parentPort, workerData } = require("node:worker_threads");
    (async () => {
      const { Engine } = await import(workerData.pinless);
      const engine = await Engine.open({ depth: 32 });
      const arena = await engine.arena({ bytes: 4 << 20 });
      const file = await engine.openFile(workerData.file);
      let done = 0;
      for (let i = 0; i < 16; i++) {
        const buffer = arena.alloc(4096);
        const again = (errno) => {
          if (errno !== 0) throw new Error("errno " + errno);
          if (++done === 200) parentPort.postMessage(engine.stats().leases.live);
          if (workerData.end === "exit" && done === 300) process.exit(5);
          if (workerData.end === "throw" && done === 300) throw new Error("on purpose");
          if (workerData.end === "natural" && done > 300) return;
          file.submit("read", buffer, (done % 64) * 4096, again);
        };
        file.submit("read", buffer, 0, again);
      }
    })();
  `)};
  const start = (end) =>
    new Worker(SOURCE, { eval: true, execArgv: [], workerData: { pinless: PINLESS, file: process.argv[1], end } });
  // Newer Nodes have rings of their own.
  const ringsBefore = rings();
  const nothingLeft = async (what) => {
    // The kernel takes a ring down on a thread of its own.
    for (const begin = Date.now(); rings() > ringsBefore || pinned() > 0; await new Promise(setImmediate))
      if (Date.now() - begin > 60_000) throw new Error(what + ": " + rings() + " rings, " + pinned() + " kB pinned");
  };
`;

test("worker.terminate() under I/O, again and again: no ring, no pin is left, and the process lives", async (t) => {
  const source = `${WORKERS}
    let leased = 0;
    for (let round = 0; round < ${rounds(3, 6)}; round++) {
      const workers = [start("never"), start("never")];
      for (const [live] of await Promise.all(workers.map((worker) => once(worker, "message")))) leased += live;
      await Promise.all(workers.map((worker) => worker.terminate()));
      if (round % 3 === 2) await nothingLeft("round " + round);
    }
    await nothingLeft("end");
    console.log("leased", leased > 0);
  `;
  const ended = await run(t, source);
  assertEnded(ended, 0);
  assert.equal(ended.stdout, "leased true\n");
});

test("worker.terminate() under I/O beside an engine of the main thread, which goes on", async (t) => {
  const IMPORT = /import \{ (.*) \} from (.*);/g;
  const source = `${LOAD}${WORKERS.replaceAll(IMPORT, "const { $1 } = await import($2);")}
    const before = rings();
    for (let round = 0; round < ${rounds(2, 3)}; round++) {
      const worker = start("never");
      await once(worker, "message");
      await worker.terminate();
    }
    const at = done;
    await until(() => done > at + 500);
    for (const begin = Date.now(); rings() > before; await new Promise(setImmediate))
      if (Date.now() - begin > 60_000) throw new Error(rings() + " rings");
    goOn = false;
  `;
  assertEnded(await run(t, source), 0);
});

for (const [end, code] of [
  ["natural", 0],
  ["exit", 5],
  ["throw", 1],
] as const) {
  test(`A worker with the only engine ends by ${end}: code ${code}, nothing left, the process lives`, async (t) => {
    const source = `${WORKERS}
      for (let round = 0; round < ${rounds(1, 2)}; round++) {
        const worker = start("${end}");
        const errors = [];
        worker.on("error", (error) => errors.push(error.message));
        const code = await new Promise((resolve) => worker.once("exit", resolve));
        const expected = "${end === "throw" ? "on purpose" : ""}";
        if (code !== ${code} || errors.join() !== expected) throw new Error(code + errors.join());
        await nothingLeft("end");
      }
      console.log("alive");
    `;
    const ended = await run(t, source);
    assertEnded(ended, 0);
    assert.equal(ended.stdout, "alive\n");
  });
}

test("require() gives a working engine, in a script that isn't a module", (t) => {
  const script = path.join(scratchDirectory(t), "script.cjs");
  const index = path.resolve(import.meta.dirname, "../../dist/index.js");
  const source = `
    const { Engine } = require(${JSON.stringify(index)});
    Engine.open().then(async (engine) => {
      const file = await engine.openFile(__filename);
      const { buffer, bytesRead } = await file.read();
      await engine.close();
      console.log(bytesRead === require("node:fs").readFileSync(__filename).length && buffer.includes("require"));
    });
  `;
  writeFileSync(script, source);
  assert.equal(execFileSync(process.execPath, [script], { encoding: "utf8" }), "true\n");
});

test("Symbol.asyncDispose of engine, arena and file closes them", async (t) => {
  const name = fileOf(t);
  const engine = await Engine.open();
  const arena = await engine.arena({ bytes: 1 << 20 });
  const file = await engine.openFile(name);
  await file[Symbol.asyncDispose]();
  await assert.rejects(file.read(), { code: "EBADF" });
  await arena[Symbol.asyncDispose]();
  assert.throws(() => arena.alloc(1), { code: "ERR_PINLESS_CLOSED" });
  await engine[Symbol.asyncDispose]();
  await assert.rejects(engine.openFile(name), { code: "ERR_PINLESS_CLOSED" });
});

test("await using closes an engine", {
  skip: NODE_MAJOR < 24 ? "machine: this Node has no await using" : false,
}, async (t) => {
  const source = `
    import { Engine } from PINLESS;
    let kept;
    {
      await using engine = await Engine.open();
      kept = engine;
      await using file = await engine.openFile(process.argv[1]);
      await file.read(Buffer.alloc(10));
    }
    await kept.openFile(process.argv[1]).catch(({ code }) => console.log(code));
  `;
  const ended = await run(t, source);
  assert.equal(ended.stdout, "ERR_PINLESS_CLOSED\n", ended.stderr);
});
