// One configuration in a process of its own: runs loads when told to, and says how they went.

import { constants } from "node:fs";
import { open, stat } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { Engine, probe } from "../packages/pinless/dist/index.js";

const row = JSON.parse(process.argv[2]);
const { depth, block } = row;
const blocks = Math.floor((await stat(row.file)).size / block);
let random = 12345;
const position = () => {
  random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
  return (random % blocks) * block;
};

const engine =
  row.load === "node"
    ? null
    : await Engine.open({
        scheme: row.scheme ?? "io_uring",
        pin: row.pin ?? "lease",
        depth: Math.max(depth, 8),
        lease: row.lease ?? {},
        events: row.events ?? {},
      });
const arena = engine === null ? null : await engine.arena({ bytes: depth * block });
const flags = row.direct === true ? constants.O_RDONLY | constants.O_DIRECT : "r";
const file = engine === null ? await open(row.file, flags) : await engine.openFile(row.file, "r");
const buffers = Array.from({ length: depth }, () => (arena === null ? aligned(block) : arena.alloc(block)));
/** Memory as O_DIRECT wants it: WebAssembly's begins on a page. */
function aligned(bytes) {
  return new Uint8Array(new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) }).buffer, 0, bytes);
}

let running = false;
let done = 0;

/** Keeps up to `depth` requests in flight while `running` is true, and resolves when the last has ended. */
function callbacks() {
  return new Promise((resolve) => {
    let flying = 0;
    const submit = (buffer) => {
      if (file.submit("read", buffer, position(), ended) === "queued") flying++;
      else if (flying < engine.depth) throw new Error("the engine has no room for its own depth");
    };
    const ended = (errno, bytes, buffer) => {
      if (errno !== 0 || bytes !== block) throw new Error(`errno ${errno}, ${bytes} bytes`);
      done++;
      flying--;
      if (running) submit(buffer);
      else if (flying === 0) resolve();
    };
    for (const buffer of buffers) submit(buffer);
  });
}

async function promises() {
  await Promise.all(
    buffers.map(async (buffer) => {
      while (running) {
        const { bytesRead } = await file.read(buffer, { position: position() });
        if (bytesRead !== block) throw new Error(`${bytesRead} bytes`);
        done++;
      }
    }),
  );
}

const start = () => {
  running = true;
  return row.load === "callback" ? callbacks() : promises();
};
const stop = async (ended) => {
  running = false;
  await ended;
};
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function load(ms) {
  globalThis.gc();
  const heap = process.memoryUsage().heapUsed;
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  done = 0;
  const cpu = process.cpuUsage();
  const began = performance.now();
  const ended = start();
  await sleep(ms);
  const wall = performance.now() - began;
  const requests = done;
  const used = process.cpuUsage(cpu);
  clearInterval(timer);
  await stop(ended);
  // Only right where no collection ran meanwhile: true of the callback path, which makes next to none.
  const garbage = Math.max(0, process.memoryUsage().heapUsed - heap);
  return {
    iops: requests / (wall / 1000),
    cpuUsPerIo: (used.user + used.system) / requests,
    garbageBytesPerIo: garbage / requests,
    ticksKept: ticks / wall,
  };
}

/** Invalidations of one chunk while requests fly: how long each waited, and the slowest request. */
async function invalidate(times) {
  let slowest = 0;
  const sent = new Map();
  let flying = 0;
  let ended;
  const all = new Promise((resolve) => {
    ended = resolve;
  });
  let stopping = false;
  const submit = (buffer) => {
    flying++;
    sent.set(buffer, performance.now());
    file.submit("read", buffer, position(), (_errno, _bytes, b) => {
      slowest = Math.max(slowest, performance.now() - sent.get(b));
      flying--;
      if (!stopping) submit(b);
      else if (flying === 0) ended();
    });
  };
  for (const buffer of buffers) submit(buffer);
  const waits = [];
  for (let i = 0; i < times; i++) {
    const report = await arena.discard();
    waits.push(report.waited);
  }
  stopping = true;
  await all;
  waits.sort((a, b) => a - b);
  return {
    p50Ms: waits[times >> 1],
    p99Ms: waits[Math.floor(times * 0.99)],
    maxMs: waits[times - 1],
    slowestRequestMs: slowest,
  };
}

/** Milliseconds from the last request to no pin at all, as another thread sees it. */
async function rest(blockMs) {
  const before = (await probe()).pinnedBytes;
  const watcher = new Worker(new URL("watch-pins.mjs", import.meta.url));
  await new Promise((resolve) => watcher.once("message", resolve));
  const ended = start();
  await sleep(300);
  await stop(ended);
  const answered = new Promise((resolve) => watcher.once("message", resolve));
  watcher.postMessage("watch");
  for (const until = performance.now() + blockMs; performance.now() < until; );
  const { ms, peak } = await answered;
  await watcher.terminate();
  return { msToNone: ms, pinnedBytesBefore: before, pinnedBytesPeak: peak };
}

/** Resident memory that one more engine costs beside its arena, with 128 requests in flight. */
async function memory() {
  const resident = () => {
    globalThis.gc();
    return process.memoryUsage.rss();
  };
  const cost = [];
  for (let i = 0; i < 5; i++) {
    const before = resident();
    const one = await Engine.open({ depth: 128 });
    const mine = await one.arena({ bytes: 2 << 20 });
    const f = await one.openFile(row.file, "r");
    const small = Array.from({ length: 128 }, () => mine.alloc(4096));
    await Promise.all(small.map((buffer) => f.read(buffer, { position: position() })));
    for (const buffer of small) f.submit("read", buffer, position(), () => {});
    cost.push(resident() - before - (2 << 20));
    await one.close();
  }
  return { bytesEach: cost };
}

const ACTS = {
  load: ({ ms }) => load(ms),
  invalidate: ({ times }) => invalidate(times),
  rest: ({ blockMs }) => rest(blockMs),
  memory,
};
process.on("message", async (message) => {
  process.send(await ACTS[message.kind](message));
});
process.on("disconnect", () => process.exit(0));
process.send("ready");
