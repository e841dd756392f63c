// One configuration of pinless or node:fs in a process of its own: runs loads of random reads when told to, and says
// how they went.

import { constants, readdirSync, readFileSync } from "node:fs";
import { open, stat } from "node:fs/promises";
import { Engine } from "../packages/pinless/dist/index.js";
import { quantile } from "./statistics.mjs";

const row = JSON.parse(process.argv[2]);
const { depth, block } = row;
const blocks = Math.floor((await stat(row.file)).size / block);
/** The generator of C's loop; its state is in an array because a number in a variable would be garbage each time. */
const random = new Uint32Array([12345]);
const position = () => {
  random[0] = Math.imul(random[0], 1664525) + 1013904223;
  return (random[0] % blocks) * block;
};

const { scheme = "io_uring", pin = "lease", lease = {}, events = {} } = row;
const engine =
  row.load === "node" ? null : await Engine.open({ scheme, pin, lease, events, depth: Math.max(depth, 8) });
const arena = engine === null ? null : await engine.arena({ bytes: depth * block });
const flags = row.direct === true ? constants.O_RDONLY | constants.O_DIRECT : "r";
const file = engine === null ? await open(row.file, flags) : await engine.openFile(row.file, "r");
const buffers = Array.from({ length: depth }, () => (arena === null ? aligned(block) : arena.alloc(block)));
const slots = new Map(buffers.map((buffer, slot) => [buffer, slot]));
/** Memory as O_DIRECT wants it: WebAssembly's begins on a page. */
function aligned(bytes) {
  return new Uint8Array(new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) }).buffer, 0, bytes);
}

let running = false;
let done = 0;
/** Told of the beginning and the end of every request; null while speed is measured. */
let recorder = null;

/** Keeps up to `depth` requests in flight while `running` is true, and resolves when the last has ended. */
function callbacks() {
  return new Promise((resolve) => {
    let flying = 0;
    const submit = (buffer) => {
      if (recorder !== null) recorder.began(slots.get(buffer));
      if (file.submit("read", buffer, position(), ended) === "queued") flying++;
      else if (flying < engine.depth) throw new Error("the engine has no room for its own depth");
    };
    const ended = (errno, bytes, buffer) => {
      if (errno !== 0 || bytes !== block) throw new Error(`errno ${errno}, ${bytes} bytes`);
      if (recorder !== null) recorder.ended(slots.get(buffer));
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
    buffers.map(async (buffer, slot) => {
      while (running) {
        if (recorder !== null) recorder.began(slot);
        const { bytesRead } = await file.read(buffer, { position: position() });
        if (bytesRead !== block) throw new Error(`${bytesRead} bytes`);
        if (recorder !== null) recorder.ended(slot);
        done++;
      }
    }),
  );
}

/** Discards the whole arena while requests run, as many times a second as the row wants, if it can be. */
async function discards() {
  while (running) await Promise.all([arena.discard(), sleep(1000 / row.discards)]);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Speed and CPU time of `ms` of the load; `requests` counts those too that end after that. */
async function load(ms, recording = null) {
  recorder = recording;
  done = 0;
  running = true;
  const cpu = process.cpuUsage();
  const began = performance.now();
  const ended = row.load === "callback" ? callbacks() : promises();
  const discarded = row.discards === undefined ? null : discards();
  await sleep(ms);
  const wall = performance.now() - began;
  const requests = done;
  const { user, system } = process.cpuUsage(cpu);
  running = false;
  await ended;
  await discarded;
  return {
    iops: requests / (wall / 1000),
    requests: done,
    cpuUsPerIo: (user + system) / requests,
    userUsPerIo: user / requests,
    systemUsPerIo: system / requests,
  };
}

/** Latencies, and the share that a timer of 1 ms keeps of its ticks. */
async function latency(ms) {
  const began = new Float64Array(depth);
  const took = new Float64Array(1 << 20);
  let samples = 0;
  const recording = {
    began(slot) {
      began[slot] = performance.now();
    },
    ended(slot) {
      if (samples < took.length) took[samples++] = performance.now() - began[slot];
    },
  };
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await load(ms, recording);
  clearInterval(timer);
  const sorted = took.subarray(0, samples).sort();
  const us = (share) => 1000 * sorted[Math.floor(share * samples)];
  return { p50Us: us(0.5), p99Us: us(0.99), p999Us: us(0.999), ticksKept: Math.min(1, ticks / ms) };
}

/**
 * Bytes of garbage per request: the growth of the heap over every 500 requests. It's the median of these, because a
 * collection in one of them spoils that one only.
 */
async function garbage(ms) {
  const EVERY = 500;
  const grown = [];
  let requests = 0;
  let before = null;
  const recording = {
    began() {},
    ended() {
      if (++requests % EVERY !== 0) return;
      const heap = process.memoryUsage().heapUsed;
      if (before !== null && heap >= before) grown.push(heap - before);
      before = process.memoryUsage().heapUsed;
    },
  };
  globalThis.gc();
  await load(ms, recording);
  return { garbageBytesPerIo: grown.length === 0 ? null : quantile(grown, 0.5) / EVERY };
}

/** A sentence about the path that requests really took. */
function ran() {
  if (engine === null) {
    const cache = row.direct === true ? "O_DIRECT" : "through the page cache";
    return `node:fs, ${row.uvRing === true ? "libuv's io_uring" : `${row.threads} threads of libuv`}, ${cache}`;
  }
  const { submitted, perIo, invalidations, waited, degraded } = engine.stats();
  const leased = engine.pin === "lease" ? `, ${(100 * (1 - perIo / submitted)).toFixed(1)} % of reads by a lease` : "";
  const cleared =
    row.discards === undefined ? "" : `, ${invalidations.CLEAR} discards that waited for ${waited.p99Ms} ms (p99)`;
  return [`${engine.scheme}, ${engine.pin}${leased}${cleared}`, ...degraded].join("; ");
}

/** True if libuv reads files by its own io_uring: then the kernel has a thread for it, after the first read. */
const hasUvRing = () =>
  readdirSync("/proc/self/task").some((id) => /^iou-sqp/.test(readFileSync(`/proc/self/task/${id}/comm`, "utf8")));

const ACTS = {
  load: ({ ms }) => load(ms),
  latency: ({ ms }) => latency(ms),
  garbage: ({ ms }) => garbage(ms),
  ran: () => ({ ran: ran() }),
};
process.on("message", async (message) => {
  process.send(await ACTS[message.kind](message));
});
process.on("disconnect", () => process.exit(0));
await load(20);
const missing = row.uvRing === true && !hasUvRing();
process.send({ missing: missing ? `Node ${process.version} doesn't read files by io_uring` : null });
