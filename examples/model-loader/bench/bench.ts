// A model's load beside node:fs and mmap, with a cold cache, and fio with the same block size:
//
//   npm run bench -- [--file FILE] [--mib 2048] [--rounds 5] [--svg FILE] [--small]
//
// FILE is on a filesystem with direct I/O and a disk to be measured; it is made unless it is there. Contenders take
// turns, each in a process of its own, with the file dropped from the page cache; medians. --small takes seconds: it
// shows that everything runs, and its figures mean little.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import koffi from "koffi";
import { Engine } from "pinless";
import { BLOCK_BYTES, DEPTH, loadModel } from "../src/load-model.js";
import { parseSafetensors } from "../src/safetensors.js";
import { writeSample } from "../src/sample.js";
import { type Bar, bars } from "./bars.js";

const { values } = parseArgs({
  options: {
    file: { type: "string", default: "/var/tmp/pinless-model-loader.safetensors" },
    mib: { type: "string", default: "2048" },
    rounds: { type: "string", default: "5" },
    svg: { type: "string" },
    small: { type: "boolean", default: false },
    // Of the processes that this one starts.
    contender: { type: "string" },
  },
});

interface ColdFiles {
  cachedMib(file: string): number;
  drop(file: string): void;
}
interface Statistics {
  median(list: readonly number[]): number;
}
const shared = new URL("../../../../benchmarks/", import.meta.url);
const { cachedMib, drop } = (await import(new URL("cold-files.mjs", shared).href)) as ColdFiles;
const { median } = (await import(new URL("statistics.mjs", shared).href)) as Statistics;

/** Figures of a run. */
interface Figures {
  /** Milliseconds until the first tensor was there, and seconds until all were. */
  first: number;
  seconds: number;
  cpu: number;
  cached: number;
  rss: number;
}

/** Calls `first` when the first tensor is there; returns when all are. */
type Contender = (file: string, first: () => void) => Promise<void>;

const CONTENDERS: Record<string, Contender> = {
  "pinless, loadModel": (file, first) => loads(file, false, first),
  "pinless, loadModel into an arena that is there": (file, first) => loads(file, true, first),
  "node:fs, readFile": async (file, first) => {
    await readFile(file);
    first();
  },
  "node:fs, reads of 1 MiB": (file, first) => readsInto(file, 1, first),
  "node:fs, 4 reads of 1 MiB at a time": (file, first) => readsInto(file, 4, first),
  "mmap by koffi, each page touched": async (file, first) => mapped(file, first),
};
/** Figures of memory that is there, or not: the first touch of a page of memory may cost more than its read. */
async function loads(file: string, isThere: boolean, first: () => void): Promise<void> {
  const engine = await Engine.open();
  const arena = isThere ? await engine.arena({ bytes: statSync(file).size + (128 << 20) }) : undefined;
  if (isThere) begin();
  const model = await loadModel(engine, file, { arena, onProgress: ({ tensor }) => tensor !== null && first() });
  finished = performance.now();
  await model.close();
  await engine.close();
}

/** Limit of readFile in Node 20. */
const READ_FILE_MAX = 2 ** 31 - 1;
let began = 0;
let cpuBefore = process.cpuUsage();
let finished = 0;

/** Begins to measure, again if the contender has made something ready first. */
function begin(): void {
  cpuBefore = process.cpuUsage();
  began = performance.now();
}

/** Offset of the end of the first tensor. */
function firstEnd(file: string, bytes: Buffer, size: number): number {
  const [tensor] = parseSafetensors({ file, bytes, size }).tensors;
  return tensor!.position + tensor!.bytes;
}

async function readsInto(file: string, atOnce: number, first: () => void): Promise<void> {
  const handle = await open(file);
  const { size } = await handle.stat();
  const memory = Buffer.allocUnsafeSlow(size);
  let next = 0;
  let end = Number.POSITIVE_INFINITY;
  const reader = async (): Promise<void> => {
    while (next < size) {
      const at = next;
      next += BLOCK_BYTES;
      await handle.read(memory, at, Math.min(BLOCK_BYTES, size - at), at);
      if (at === 0) end = firstEnd(file, memory, size);
      if (at + BLOCK_BYTES >= end) first();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, reader));
  await handle.close();
}

async function mapped(file: string, first: () => void): Promise<void> {
  const libc = koffi.load("libc.so.6");
  const mmap = libc.func("void *mmap(void *at, size_t bytes, int prot, int flags, int fd, long offset)");
  const handle = await open(file);
  const { size } = await handle.stat();
  const [PROT_READ, MAP_PRIVATE] = [1, 2];
  const memory = Buffer.from(koffi.view(mmap(null, size, PROT_READ, MAP_PRIVATE, handle.fd, 0), size));
  const end = firstEnd(file, memory, size);
  let sum = 0;
  for (let at = 0; at < size; at += 4096) {
    sum += memory[at]!;
    if (at >= end) first();
  }
  if (sum === 0) throw new Error("the sample has no bytes");
  await handle.close();
}

/** Runs a contender in this process. */
async function contend(name: string, file: string): Promise<Figures> {
  const cachedBefore = cachedMib(file);
  begin();
  let first = 0;
  await CONTENDERS[name]!(file, () => {
    first ||= performance.now() - began;
  });
  finished ||= performance.now();
  const { user, system } = process.cpuUsage(cpuBefore);
  const rss = process.resourceUsage().maxRSS / 1024;
  return {
    first,
    seconds: (finished - began) / 1000,
    cpu: (user + system) / 1e6,
    cached: cachedMib(file) - cachedBefore,
    rss,
  };
}

/**
 * Touches as much memory as a contender will. A virtual machine gets memory from its host at the first touch, which may
 * take ten times as long as to read the same bytes from a disk; later ones use what earlier ones have left.
 */
function warmMemory(bytes: number): void {
  spawnSync(process.execPath, ["-e", `Buffer.allocUnsafeSlow(${Math.min(bytes, 2 ** 32 - 1)}).fill(1)`]);
}

/** Runs a contender in a process of its own, with a cold cache. */
function measured(name: string, file: string): Figures {
  drop(file);
  warmMemory(statSync(file).size);
  const args = [import.meta.filename, "--file", file, "--contender", name];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${name}: ${stderr}`);
  return JSON.parse(stdout) as Figures;
}

/** Seconds of fio's reads of the same file, or null without fio. */
function fioSeconds(file: string, bytes: number): number | null {
  drop(file);
  const job = ["--name=read", `--filename=${file}`, "--rw=read", "--direct=1", "--ioengine=io_uring"];
  const how = [`--bs=${BLOCK_BYTES}`, `--iodepth=${DEPTH}`, `--size=${bytes}`, "--output-format=json"];
  const { status, stdout } = spawnSync("fio", [...job, ...how], { encoding: "utf8" });
  return status === 0 ? JSON.parse(stdout).jobs[0].read.runtime / 1000 : null;
}

async function compare(file: string, rounds: number): Promise<void> {
  const { size } = statSync(file);
  const names = Object.keys(CONTENDERS).filter((name) => !name.endsWith("readFile") || size <= READ_FILE_MAX);
  const found = new Map(names.map((name) => [name, [] as Figures[]]));
  const fio: number[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const name of names) found.get(name)!.push(measured(name, file));
    const seconds = fioSeconds(file, size);
    if (seconds !== null) fio.push(seconds);
  }
  const rate = (seconds: number): number => Math.round(size / 2 ** 20 / seconds);
  const [model] = os.cpus();
  console.log(`${file}: ${size} bytes; medians of ${rounds} rounds`);
  console.log(
    `${os.cpus().length} × ${model?.model}, Linux ${os.release()}, Node ${process.version}, load ${os.loadavg()}`,
  );
  console.log(
    "\n| | to the first tensor | to all | MiB/s | CPU | page cache grew | peak memory |\n|---|---|---|---|---|---|---|",
  );
  for (const [name, rows] of found) {
    const of = (field: keyof Figures): number => median(rows.map((row) => row[field]));
    const times = [`${of("first").toFixed(0)} ms`, `${of("seconds").toFixed(2)} s`, rate(of("seconds"))];
    const costs = [`${of("cpu").toFixed(2)} s`, `${of("cached").toFixed(1)} MiB`, `${of("rss").toFixed(0)} MiB`];
    console.log(`| ${[name, ...times, ...costs].join(" | ")} |`);
  }
  const drawn: Bar[] = [...found].map(([name, rows]) => {
    return { name, rate: rate(median(rows.map((row) => row.seconds))), cached: median(rows.map((row) => row.cached)) };
  });
  if (fio.length > 0)
    drawn.push({ name: `fio, ${DEPTH} reads of 1 MiB at a time`, rate: rate(median(fio)), cached: 0 });
  const title = `A model of ${Math.round(size / 2 ** 20)} MiB, cold page cache`;
  if (values.svg !== undefined) writeFileSync(values.svg, bars(title, drawn));
  if (fio.length === 0) return;
  console.log(
    `| fio, ${DEPTH} reads of 1 MiB at a time | | ${median(fio).toFixed(2)} s | ${rate(median(fio))} | | | |`,
  );
  console.log();
  for (const name of names.slice(0, 2)) {
    const ratio = median(fio.map((seconds, i) => seconds / found.get(name)![i]!.seconds));
    console.log(`${name}: ${ratio.toFixed(2)} of fio's rate (median of the rounds' ratios)`);
  }
}

async function main(): Promise<void> {
  const folder = values.small ? mkdtempSync(path.join(os.tmpdir(), "pinless-model-")) : null;
  const file = folder === null ? values.file : path.join(folder, "small.safetensors");
  try {
    if (!existsSync(file)) {
      await using engine = await Engine.open();
      await writeSample(engine, file, values.small ? 64 : Number(values.mib));
    }
    await compare(file, values.small ? 1 : Number(values.rounds));
  } finally {
    if (folder !== null) rmSync(folder, { recursive: true });
  }
}

if (values.contender === undefined) await main();
else console.log(JSON.stringify(await contend(values.contender, values.file)));
