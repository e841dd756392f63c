// Traces of an engine on the real kernel: lanes and flows by the format's rules, bounds, ends of a process, bad files.
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import { type Arena, Engine, type File } from "../../dist/index.js";
import { ChromeTrace } from "../../dist/trace/chrome-trace.js";
import { BLOCK_BYTES, numberedBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { addressOf } from "../support/proc.js";
import { eventsOf, type TraceEvent } from "../support/trace-events.js";
import { namedPipe, scratchDirectory } from "../support/undo.js";

const MIB = 1 << 20;
const BLOCKS = 16;

interface Scene {
  readonly engine: Engine;
  readonly arena: Arena;
  readonly file: File;
  readonly memory: Uint8Array;
}

/** Runs `body` on an engine that is traced; returns the events of the closed file. */
async function traced(t: TestContext, body: (scene: Scene) => Promise<void>): Promise<readonly TraceEvent[]> {
  const directory = scratchDirectory(t);
  const trace = path.join(directory, "trace.json");
  writeFileSync(path.join(directory, "file"), numberedBlocks(BLOCKS));
  const engine = await Engine.open({ trace, lease: { idle: 60_000, max: 60_000 }, events: { pressure: false } });
  try {
    const arena = await engine.arena({ bytes: 2 * MIB });
    const file = await engine.openFile(path.join(directory, "file"));
    await body({ engine, arena, file, memory: arena.alloc(2 * MIB) });
  } finally {
    await engine.close();
  }
  return eventsOf(readFileSync(trace, "utf8"));
}

function readAll({ file, memory }: Scene): Promise<unknown>[] {
  return Array.from({ length: BLOCKS }, (_, i) =>
    file.read(memory.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), { position: i * BLOCK_BYTES }),
  );
}

/** Names of the slices of a group, and those of its flows' beginnings. */
function namesIn(events: readonly TraceEvent[], group: string): readonly string[] {
  const named = events.find(({ ph, name, args }) => ph === "M" && name === "process_name" && args?.name === group);
  return events
    .filter(({ ph, pid }) => pid === named?.pid && "Bsf".includes(ph))
    .map(({ ph, name }) => `${ph} ${name}`);
}

test("A trace has requests, leases, a discard that waits for them, and requests that it holds", async (t) => {
  let leased = false;
  const events = await traced(t, async (scene) => {
    const { engine, arena } = scene;
    leased = engine.pin === "lease";
    for (let round = 0; round < 3; round++) await Promise.all(readAll(scene));
    assert.equal(engine.stats().leases.live > 0, leased);
    const reads = readAll(scene);
    await arena.discard();
    await Promise.all(reads);
    const start = addressOf(scene.memory);
    let held: Promise<unknown> = Promise.resolve();
    await new Promise<void>((resolve) => {
      const invalidation = engine.notifier.invalidateRangeStart({ start, end: start + 4096 }, "CLEAR", {
        ready: () => {
          held = Promise.all(readAll(scene));
          setImmediate(() => {
            engine.notifier.invalidateRangeEnd(invalidation);
            resolve();
          });
        },
      });
    });
    await held;
    assert.equal(engine.stats().held, BLOCKS);
  });
  const requests = namesIn(events, "requests");
  assert.equal(requests.filter((name) => name === "B read").length, 5 * BLOCKS);
  assert.equal(requests.filter((name) => name === "B held read").length, BLOCKS);
  assert.equal(requests.filter((name) => name === "f holds").length, BLOCKS);
  assert.equal(requests.filter((name) => name === "f waits for I/O").length, BLOCKS);
  const invalidations = namesIn(events, "invalidations");
  for (const name of ["B CLEAR", "B begun: the memory may change", "s holds", "s waits for I/O"])
    assert.ok(invalidations.includes(name), name);
  if (leased)
    for (const name of ["B lease", "B drop", "s is dropped", "f asks for the drop"])
      assert.ok(namesIn(events, "leases").includes(name), name);
});

test("A memory call of other code is on a lane of its own, with a flow to its invalidation", async (t) => {
  let followed = false;
  const events = await traced(t, async (scene) => {
    await Promise.all(readAll(scene));
    followed = !scene.engine.stats().degraded.some((why) => why.includes("followed"));
    const { memory } = scene;
    const worker = new Worker(
      `const { workerData: { at, bytes } } = require("node:worker_threads");
      const madvise = require("koffi").load(null).func("int madvise(uintptr_t at, size_t bytes, int advice)");
      if (madvise(at, bytes, 4) !== 0) throw new Error("madvise");`,
      { eval: true, workerData: { at: addressOf(memory), bytes: memory.byteLength } },
    );
    assert.deepEqual(await once(worker, "exit"), [0]);
    await Promise.all(readAll(scene));
  });
  if (!followed) {
    t.skip("machine: memory calls of other code aren't followed here");
    return;
  }
  assert.deepEqual(namesIn(events, "other threads"), ["B memory call", "s is drained for"]);
  assert.ok(namesIn(events, "invalidations").includes("f is drained for"));
});

const CHILD = `
  import { Engine } from PINLESS;
  import { readFileSync } from "node:fs";
  const [input, output] = process.argv.slice(1);
  const engine = await Engine.open(output === undefined ? {} : { trace: output });
  const arena = await engine.arena({ bytes: 2 << 20 });
  const file = await engine.openFile(input);
  const read = () => file.read(arena.alloc(4096), { position: 0 });
  await read();
`;

async function child(t: TestContext, rest: string, wrapper: readonly string[] = [], env: Record<string, string> = {}) {
  const directory = scratchDirectory(t);
  const [input, output] = [path.join(directory, "file"), path.join(directory, "trace.json")];
  writeFileSync(input, numberedBlocks(BLOCKS));
  const args = env.PINLESS_TRACE === undefined ? [input, output] : [input];
  const ended = await runModule(CHILD + rest, { args, wrapper, env });
  return { ...ended, output };
}

test("process.exit ends the trace; a killed process leaves one that opens without its end", async (t) => {
  const exits = await child(t, "process.exit(0);");
  assert.equal(exits.code, 0, exits.stderr);
  assert.ok(namesIn(eventsOf(readFileSync(exits.output, "utf8")), "requests").includes("B read"));
  const killed = await child(
    t,
    `while (!readFileSync(output, "utf8").includes('"read"')) await new Promise((resolve) => setTimeout(resolve, 10));
    process.kill(process.pid, "SIGKILL");`,
  );
  assert.equal(killed.signal, "SIGKILL");
  const text = readFileSync(killed.output, "utf8");
  assert.throws(() => JSON.parse(text));
  assert.ok(namesIn(eventsOf(text, true), "requests").includes("B read"));
});

test("Where the disk has no room the trace ends early: stats().degraded says so, and I/O goes on", async (t) => {
  const full = await child(
    t,
    `while (!engine.stats().degraded.some((why) => why.includes("ends early"))) await read();
    console.log(engine.stats().degraded.at(-1));
    await engine.close();`.replace("await read()", "await file.read(Buffer.alloc(4096), { position: 0 })"),
    ["prlimit", `--fsize=${BLOCKS * BLOCK_BYTES}`],
  );
  assert.equal(full.code, 0, full.stderr);
  assert.match(full.stdout, /^the trace .*trace\.json ends early, because it couldn't be written: EFBIG/);
});

test("PINLESS_TRACE: a second engine of a process writes beside the first, and degraded names the file", async (t) => {
  const directory = scratchDirectory(t);
  const file = path.join(directory, "run.json");
  const { code, stdout, stderr } = await child(
    t,
    `const second = await Engine.open();
    console.log(JSON.stringify([engine, second].map((each) => each.stats().degraded.join())));
    await second.close();
    await (await Engine.open()).close();
    await engine.close();`,
    [],
    { PINLESS_TRACE: file },
  );
  assert.equal(code, 0, stderr);
  const [first, second] = JSON.parse(stdout) as [string, string];
  assert.ok(first.includes(`the trace ${file} takes time`), first);
  assert.ok(second.includes(`the trace ${path.join(directory, "run.2.json")} takes time`), second);
  for (const name of ["run.json", "run.2.json", "run.3.json"])
    eventsOf(readFileSync(path.join(directory, name), "utf8"));
});

test("A trace that can't be written is ERR_PINLESS_OPTION and names the file", async (t) => {
  const directory = scratchDirectory(t);
  const missing = path.join(directory, "none", "trace.json");
  const taken = path.join(directory, "taken.json");
  mkdirSync(path.join(directory, "directory"));
  const writing = await Engine.open({ trace: taken });
  const cases: [unknown, RegExp][] = [
    ["", /option trace is ""; it takes the name of a file$/],
    [5, /option trace is 5; it takes the name of a file$/],
    [null, /option trace is null/],
    [missing, /option trace is ".*none\/trace\.json"; it takes a file that can be written: ENOENT/],
    [path.join(directory, "directory"), /EISDIR/],
    [namedPipe(t), /can be written: (ENXIO|it isn't a regular file)/],
    ["/dev/null", /it isn't a regular file/],
    [taken, /option trace is ".*taken\.json"; it takes a file to which no other engine is writing/],
  ];
  try {
    for (const [trace, message] of cases)
      await assert.rejects(Engine.open({ trace: trace as string }), { code: "ERR_PINLESS_OPTION", message });
  } finally {
    await writing.close();
  }
  assert.ok(!existsSync(missing));
  await (await Engine.open({ trace: taken })).close();
  const { code, stderr } = await child(t, "", [], { PINLESS_TRACE: missing });
  assert.equal(code, 1);
  assert.match(stderr, /PINLESS_TRACE asks for a trace in ".*none\/trace\.json", which can't be written: ENOENT/);
});

test("A full trace begins nothing more, ends what is open, and counts what it dropped", () => {
  let text = "";
  const trace = new ChromeTrace(
    (more) => {
      text += more;
    },
    () => 1,
    4096,
    4000,
  );
  for (let i = 0; i < 100; i++) trace.begin("requests", i, "read", {});
  for (let i = 0; i < 100; i++) trace.end("requests", i);
  trace.instant("monitor", "asks");
  const dropped = trace.dropped;
  trace.close();
  const events = eventsOf(text);
  const begun = events.filter(({ ph }) => ph === "B").length;
  assert.ok(begun > 0 && begun < 100);
  assert.equal(dropped, 101 - begun);
  assert.ok(events.some(({ name }) => name?.startsWith("the trace is full")));
  assert.equal(events.find(({ name }) => name === "dropped")?.args?.dropped, dropped);
});
