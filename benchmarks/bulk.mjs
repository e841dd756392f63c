// Bulk I/O beside node:fs: a large file through a read stream into sha256, through a pipeline into another file, and by
// blocks(), and many random ranges of it; how much the page cache grew, and the process. fio's sequential reads stand
// beside them if it's installed.
//
//   node benchmarks/bulk.mjs [--file FILE] [--mib 2048] [--rounds 3] [--scheme io_uring]
//
// FILE is on a filesystem with direct I/O and a disk to be measured; it's made, of random bytes, unless it's there.
// Contenders take turns, each in a process of its own, with the file's pages dropped from the page cache; medians.
// The copy is beside it, as FILE.copy, and ends with fsync. A file of "mib" MiB is read whole.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, createReadStream, createWriteStream, existsSync, fsyncSync, openSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { untilExit } from "./beds.mjs";
import { cachedMib, drop, makeFile } from "./cold-files.mjs";
import { median } from "./statistics.mjs";

const { values } = parseArgs({
  options: {
    file: { type: "string", default: "/var/tmp/pinless-bulk" },
    mib: { type: "string", default: "2048" },
    rounds: { type: "string", default: "3" },
    scheme: { type: "string", default: "io_uring" },
    // Of the processes that this one starts.
    contender: { type: "string" },
  },
});
const { file: path, scheme } = values;
const bytes = Number(values.mib) * 2 ** 20;
const copy = `${path}.copy`;
const end = bytes - 1;
const RANGES = 10_000;
const RANGE_BYTES = 4096;

/** Bytes read in blocks by fio, one job. */
const FIO = ["--name=read", `--filename=${path}`, "--rw=read", "--direct=1", "--bs=512k", "--iodepth=5"];

/** Each job's contenders: what `engine` has is pinless's. */
const JOBS = {
  "read → sha256": {
    "node:fs": () => hashed(createReadStream(path, { end })),
    pinless: async (engine) => hashed((await engine.openFile(path)).createReadStream({ end })),
  },
  "pipeline → file": {
    "node:fs": () => pipeline(createReadStream(path, { end }), createWriteStream(copy)),
    pinless: async (engine) => {
      const [from, to] = [await engine.openFile(path), await engine.openFile(copy, "w")];
      await pipeline(from.createReadStream({ end }), to.createWriteStream());
    },
  },
  "sequential reads": {
    "node:fs": () => emptied(createReadStream(path, { end })),
    pinless: async (engine) => {
      const file = await engine.openFile(path);
      await emptied(file.blocks({ end }));
      await file.close();
    },
  },
  "10,000 × 4 KiB": {
    "node:fs": () => manyByNode(once),
    pinless: (engine) => manyByPinless(engine, once),
  },
  "10,000 × 4 KiB, again": {
    "node:fs": () => manyByNode(again),
    pinless: (engine) => manyByPinless(engine, again),
  },
  "100 bytes at 0": {
    "node:fs": () => small(() => open(path)),
    pinless: (engine) => small(() => engine.openFile(path)),
  },
};

if (values.contender !== undefined) await contend(JSON.parse(values.contender));
else compare();

function compare() {
  makeFile(path, bytes);
  untilExit(() => rmSync(copy, { force: true }));
  const table = {};
  for (const [job, contenders] of Object.entries(JOBS)) {
    const found = Object.fromEntries(Object.keys(contenders).map((by) => [by, []]));
    const fio = [];
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const by of Object.keys(contenders)) found[by].push(measured(job, by));
      if (job === "sequential reads") fio.push(fioSeconds());
    }
    for (const by of Object.keys(contenders)) table[`${job}, ${by}`] = row(job, found[by], found["node:fs"]);
    const known = fio.filter((each) => each !== null);
    if (known.length > 0) table["sequential reads, fio"] = { "MiB/s": rate(median(known)) };
  }
  console.table(table);
}

function row(job, ours, theirs) {
  const of = (what) => median(ours.map((each) => each[what]));
  const ratio = median(ours.map(({ seconds }, i) => theirs[i].seconds / seconds)).toFixed(2);
  if (job.startsWith("100 bytes")) return { "µs a read": (of("seconds") * 1e6).toFixed(1), "times node:fs": ratio };
  return {
    "MiB/s": rate(of("seconds"), job.startsWith("10,000") ? RANGES * RANGE_BYTES : bytes),
    "times node:fs": ratio,
    "CPU s": of("cpu").toFixed(2),
    "page cache grew, MiB": of("cached").toFixed(1),
    "RSS, MiB": of("rss").toFixed(0),
  };
}

function rate(seconds, moved = bytes) {
  return (moved / 2 ** 20 / seconds).toFixed(0);
}

/** Runs a contender in a process of its own, with a cold cache. */
function measured(job, by) {
  rmSync(copy, { force: true });
  drop(path);
  const args = [import.meta.filename, ...process.argv.slice(2), "--contender", JSON.stringify([job, by])];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

async function contend([job, by]) {
  const engine =
    by === "pinless" ? await (await import("../packages/pinless/dist/index.js")).Engine.open({ scheme }) : null;
  const run = JOBS[job][by];
  const cachedBefore = cachedMib(path);
  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  const result = await run(engine);
  if (job.startsWith("pipeline")) synced(copy);
  const seconds = result?.seconds ?? (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  const cached = cachedMib(path) - cachedBefore + (existsSync(copy) ? cachedMib(copy) : 0);
  const rss = process.resourceUsage().maxRSS / 1024;
  await engine?.close();
  console.log(JSON.stringify({ seconds, cpu: result?.cpu ?? (user + system) / 1e6, cached, rss }));
}

async function hashed(parts) {
  const hash = createHash("sha256");
  for await (const part of parts) hash.update(part);
  hash.digest();
}

async function emptied(parts) {
  let read = 0;
  for await (const part of parts) read += part.length;
  if (read !== bytes) throw new Error(`${read} bytes were read`);
}

/** Ranges at random places, the same ones for every contender. */
function randomRanges() {
  let state = 1;
  return Array.from({ length: RANGES }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const block = Math.floor((state / 2 ** 32) * (bytes / RANGE_BYTES));
    return { position: block * RANGE_BYTES, length: RANGE_BYTES };
  });
}

async function manyByNode(times) {
  const handle = await open(path);
  const read = ({ position, length }) => handle.read(Buffer.alloc(length), 0, length, position);
  const done = await times(() => Promise.all(randomRanges().map(read)));
  await handle.close();
  return done;
}

async function manyByPinless(engine, times) {
  const file = await engine.openFile(path);
  const done = await times(() => file.readMany(randomRanges()).toArray());
  await file.close();
  return done;
}

async function once(run) {
  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  await run();
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { seconds, cpu: (user + system) / 1e6 };
}

/** Times the last of three runs: by then threads have started, and V8 has compiled what is run often. */
async function again(run) {
  for (let i = 0; i < 2; i++) {
    await run();
    drop(path);
  }
  return once(run);
}

/** Seconds of a read of 100 bytes, one after the other, of what the page cache has. */
async function small(opened) {
  const file = await opened();
  const memory = Buffer.alloc(100);
  const times = 20_000;
  let began = 0;
  for (let i = -times / 4; i < times; i++) {
    if (i === 0) began = performance.now();
    await file.read(memory, 0, 100, 0);
  }
  const seconds = (performance.now() - began) / 1000 / times;
  await file.close();
  return { seconds };
}

function fioSeconds() {
  drop(path);
  const fio = spawnSync("fio", [...FIO, "--ioengine=io_uring", `--size=${bytes}`, "--output-format=json"]);
  return fio.status === 0 ? JSON.parse(fio.stdout).jobs[0].read.runtime / 1000 : null;
}

function synced(file) {
  const fd = openSync(file, "r+");
  fsyncSync(fd);
  closeSync(fd);
}
