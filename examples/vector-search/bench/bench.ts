// Queries a second and recall, beside the same program over node:fs, both in a memory cgroup of a quarter of the index,
// and over an index that is in memory, without a limit:
//
//   npm run bench -- [--folder FOLDER] [--rounds 5] [--limit-mib MIB] [--svg FILE] [--small]
//
// FOLDER is on a filesystem with direct I/O and a disk to be measured; set and index are made there if they are
// missing. Contenders take turns, each in a process of its own, with a cold page cache; medians. Only root can limit.
// --small takes seconds: it shows that everything runs, and its figures mean little.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { Engine } from "pinless";
import { arenaReader, type BlockReader } from "../src/block-reader.js";
import { recallOf } from "../src/exact-search.js";
import { BLOCK_BYTES, type Index, openIndex } from "../src/index-file.js";
import { searchAll } from "../src/search.js";
import { readNumbers, readVectors } from "../src/vectors.js";
import { limitMemory } from "./memory-limit.js";
import { plot } from "./plot.js";

const { values } = parseArgs({
  options: {
    folder: { type: "string", default: "/var/tmp/pinless-vectors" },
    rounds: { type: "string", default: "5" },
    "limit-mib": { type: "string" },
    svg: { type: "string" },
    small: { type: "boolean", default: false },
    // Of the processes that this one starts.
    contender: { type: "string" },
  },
});

interface ColdFiles {
  drop(file: string): void;
}
interface Statistics {
  median(list: readonly number[]): number;
  quantile(list: Iterable<number>, share: number): number;
}
const shared = new URL("../../../../benchmarks/", import.meta.url);
const { drop } = (await import(new URL("cold-files.mjs", shared).href)) as ColdFiles;
const { median, quantile } = (await import(new URL("statistics.mjs", shared).href)) as Statistics;

const LISTS = [10, 16, 24, 32, 48, 64, 100];
const K = 10;

/** Figures of one size of the list. */
interface Figures {
  rate: number;
  p50: number;
  p99: number;
  recall: number;
  reads: number;
  cpu: number;
}

interface Run {
  readonly figures: Figures[];
  readonly rss: number;
  /** Most MiB in the cgroup, or null without one. */
  peak: number | null;
}

/** node:fs/promises in the place of an engine, as far as an index needs one: it has the same methods. */
const NODE = {
  openFile: open,
  arena: async () => ({ alloc: (bytes: number) => new Uint8Array(bytes), grow: async () => {}, close: async () => {} }),
} as unknown as Engine;

/** Reads by node:fs. */
function nodeReader({ file, nodesAt }: Index): BlockReader {
  const handle = file as unknown as FileHandle;
  return async (ids, count, slots) => {
    const reads = Array.from({ length: count }, (_, i) =>
      handle.read(slots[i]!.ints, 0, BLOCK_BYTES, nodesAt + ids[i]! * BLOCK_BYTES),
    );
    await Promise.all(reads);
  };
}

/** Reads of an index that is in memory. */
function memoryReader({ path: index, nodesAt }: Index): BlockReader {
  const all = new Int32Array(readFileSync(index).buffer);
  return async (ids, count, slots) => {
    for (let i = 0; i < count; i++) {
      const at = (nodesAt + ids[i]! * BLOCK_BYTES) / 4;
      slots[i]!.ints.set(all.subarray(at, at + BLOCK_BYTES / 4));
    }
  };
}

const READERS: Record<string, (engine: Engine, index: Index) => BlockReader> = {
  pinless: (engine, index) => arenaReader(engine, index),
  "pinless, 24 MiB cached": (engine, index) => arenaReader(engine, index, 24 << 20),
  "node:fs": (_engine, index) => nodeReader(index),
  "in memory, no limit": (_engine, index) => memoryReader(index),
};

const file = (name: string): string => path.join(values.folder, name);

/** Runs a contender in this process. */
async function contend(name: string): Promise<Run> {
  const engine = name.startsWith("pinless") ? await Engine.open({ depth: 256 }) : NODE;
  const helper = await Engine.open();
  const all = await readVectors(helper, file("queries.fbin"));
  const truth = await readNumbers(helper, file("truth.ibin"));
  await helper.close();
  const index = await openIndex(engine, file("index"));
  const reader = READERS[name]!(engine, index);
  const figures: Figures[] = [];
  const lists = [64, ...LISTS];
  const count = Math.floor(all.count / lists.length);
  for (const [i, list] of lists.entries()) {
    // Each has queries of its own: again the same ones would find their blocks in every cache.
    const queries = { ...all, count, values: all.values.subarray(i * count * all.dimension) };
    const known = truth.values.subarray(i * count * truth.width);
    const before = process.cpuUsage();
    const found = await searchAll(index, reader, queries, { k: K, list, beam: 4, atOnce: 32 });
    const { user, system } = process.cpuUsage(before);
    figures.push({
      rate: queries.count / found.seconds,
      p50: quantile(found.latencies, 0.5),
      p99: quantile(found.latencies, 0.99),
      recall: recallOf(found.ids, K, known, truth.width),
      reads: found.reads / queries.count,
      cpu: (user + system) / 1000 / queries.count,
    });
  }
  await index.close();
  if (engine !== NODE) await engine.close();
  // The first only warmed up.
  return { figures: figures.slice(1), rss: process.resourceUsage().maxRSS / 1024, peak: null };
}

/** Runs a contender in a process of its own, with a cold cache. */
function measured(name: string, limitBytes: number): Run {
  drop(file("index"));
  const limit = name.includes("no limit") ? null : limitMemory(limitBytes);
  try {
    const own = [process.execPath, import.meta.filename, "--folder", values.folder, "--contender", name];
    const [command = "", ...args] = [...(limit?.prefix ?? []), ...own];
    const { status, signal, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`${name} ended with ${status ?? signal}: ${stderr}`);
    const run = JSON.parse(stdout) as Run;
    if (limit !== null) run.peak = limit.peak() / 2 ** 20;
    return run;
  } finally {
    limit?.remove();
  }
}

function make(...args: string[]): void {
  const main = path.join(import.meta.dirname, "../src/main.js");
  const { status } = spawnSync(process.execPath, [main, ...args], { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error(`vector-search ${args.join(" ")} failed`);
}

function compare(rounds: number): void {
  const { size } = statSync(file("index"));
  const limit = values["limit-mib"] === undefined ? size / 4 : Number(values["limit-mib"]) * 2 ** 20;
  const runs = new Map(Object.keys(READERS).map((name) => [name, [] as Run[]]));
  for (let round = 0; round < rounds; round++)
    for (const [name, found] of runs) found.push(measured(name, values.small ? 1e9 : limit));
  const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);
  console.log(`${file("index")}: ${mib(size)} MiB, limit ${mib(limit)} MiB; medians of ${rounds} rounds`);
  const machine = `${os.cpus().length} × ${os.cpus()[0]?.model}, Linux ${os.release()}`;
  console.log(`${machine}, Node ${process.version}, load ${os.loadavg()}`);
  console.log(
    "\n| | list | recall@10 | queries/s | times node:fs | p50 ms | p99 ms | blocks a query | CPU ms a query |",
  );
  console.log("|---|---|---|---|---|---|---|---|---|");
  const of = (name: string, i: number, field: keyof Figures) =>
    median(runs.get(name)!.map(({ figures }) => figures[i]![field]));
  for (const name of runs.keys())
    for (const [i, list] of LISTS.entries()) {
      const theirs = runs.get("node:fs")!;
      const ratio = median(runs.get(name)!.map(({ figures }, r) => figures[i]!.rate / theirs[r]!.figures[i]!.rate));
      const [recall, rate] = [of(name, i, "recall").toFixed(4), of(name, i, "rate").toFixed(0)];
      const rest = (["p50", "p99", "reads", "cpu"] as const).map((field) => of(name, i, field).toFixed(2));
      console.log(`| ${[name, list, recall, rate, ratio.toFixed(2), ...rest].join(" | ")} |`);
    }
  console.log();
  for (const [name, found] of runs) {
    const peak =
      found[0]!.peak === null
        ? "no limit"
        : `most in the cgroup ${median(found.map((run) => run.peak!)).toFixed(0)} MiB`;
    console.log(`${name}: peak resident memory ${median(found.map(({ rss }) => rss)).toFixed(0)} MiB, ${peak}`);
  }
  if (values.svg === undefined) return;
  const series = [...runs.keys()].map((name) => {
    const points = LISTS.map((_, i) => [of(name, i, "recall"), of(name, i, "rate")] as const);
    return { name: name === "in memory, no limit" ? name : `${name}, ${mib(limit)} MiB`, points };
  });
  writeFileSync(values.svg, plot(`Recall and queries a second, an index of ${mib(size)} MiB`, series));
}

function main(): void {
  const temporary = values.small ? mkdtempSync(path.join(os.tmpdir(), "pinless-vectors-")) : null;
  values.folder = temporary ?? values.folder;
  try {
    const size = values.small ? ["--count", "2000", "--dimension", "16", "--queries", "160"] : ["--queries", "4000"];
    if (!existsSync(file("truth.ibin"))) make("sample", values.folder, ...size);
    if (!existsSync(file("index"))) make("build", file("base.fbin"), file("index"));
    compare(values.small ? 1 : Number(values.rounds));
  } finally {
    if (temporary !== null) rmSync(temporary, { recursive: true });
  }
}

if (values.contender === undefined) main();
else console.log(JSON.stringify(await contend(values.contender)));
