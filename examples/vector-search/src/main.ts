#!/usr/bin/env node
/** The command: builds indexes, searches them, says what is in one, and makes sets of vectors. */

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Engine } from "pinless";
import { buildGraph } from "./build.js";
import { IndexError } from "./index-error.js";
import { degreeMax, openIndex, writeIndex } from "./index-file.js";
import { arenaReader } from "./node-reader.js";
import { encode, trainCodebook } from "./quantiser.js";
import { bruteForce, recallOf, searchAll } from "./search.js";
import { clustered, readNumbers, readVectors, writeRows } from "./vectors.js";

const HELP = `vector-search: nearest neighbours of vectors, from a graph on disk (Vamana, as in DiskANN)

  vector-search                          makes a small set in a temporary folder, builds an index and searches it
  vector-search sample FOLDER            makes base.fbin, queries.fbin and truth.ibin, the same ones each time
      --count N --dimension N            vectors (100000) and their dimension (96)
      --queries N                        queries (1000)
  vector-search build DATA.fbin INDEX
      --degree N --build-list N          neighbours of a vector (32), candidates of a search while building (64)
      --threads N                        as many as the machine has
  vector-search search INDEX QUERIES.fbin
      --k N --list N                     neighbours to find (10), candidates that a search keeps (64)
      --beam N --at-once N               reads of a query at a time (4), queries at a time (32)
      --cache-mib N                      memory for blocks that were read (32)
      --truth TRUTH.ibin                 says how many of the true neighbours were found
      --output FOUND.ibin                writes the numbers of the neighbours
  vector-search info INDEX
  vector-search --help

Exit codes: 0 done; 1 it failed, and the error says why; 2 wrong arguments; 130 ended by Ctrl-C.`;

/** Wrong arguments. */
class UsageError extends Error {}

const NUMBERS = {
  count: ["100000", 2 ** 31 - 1],
  dimension: ["96", 960],
  queries: ["1000", 1e6],
  degree: ["32", 1000],
  "build-list": ["64", 10_000],
  threads: [String(availableParallelism()), 256],
  k: ["10", 1000],
  list: ["64", 10_000],
  beam: ["4", 64],
  "at-once": ["32", 1024],
  "cache-mib": ["32", 2 ** 20],
} as const;

type Numbers = Record<keyof typeof NUMBERS, number>;

function parse() {
  const numbers = Object.entries(NUMBERS).map(([name, [value]]) => [name, { type: "string", default: value }] as const);
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        ...(Object.fromEntries(numbers) as Record<keyof Numbers, { type: "string"; default: string }>),
        truth: { type: "string" },
        output: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
    const given = Object.entries(NUMBERS).map(([name, [, most]]) => {
      const value = Number(values[name as keyof Numbers]);
      if (!Number.isInteger(value) || value < 1 || value > most)
        throw new UsageError(`--${name} must be a whole number from 1 to ${most}`);
      return [name, value];
    });
    return { ...values, positionals, numbers: Object.fromEntries(given) as Numbers };
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function sample(engine: Engine, folder: string, numbers: Numbers, signal: AbortSignal): Promise<void> {
  const { count, dimension, queries: asked, k } = numbers;
  await mkdir(folder, { recursive: true });
  const [base, queries] = [clustered(count, dimension, 10), clustered(asked, dimension, 11)];
  await writeRows(engine, join(folder, "base.fbin"), dimension, base.values, signal);
  await writeRows(engine, join(folder, "queries.fbin"), dimension, queries.values, signal);
  await writeRows(engine, join(folder, "truth.ibin"), k, bruteForce(base, queries, k), signal);
  console.log(`${folder}: ${count} vectors of dimension ${dimension}, ${asked} queries and their ${k} nearest`);
}

async function build(engine: Engine, data: string, path: string, numbers: Numbers, signal: AbortSignal): Promise<void> {
  const vectors = await readVectors(engine, data);
  const { degree, threads, "build-list": list } = numbers;
  const most = degreeMax(vectors.dimension);
  if (degree > most) throw new UsageError(`--degree: a block has room for ${most} neighbours beside a vector`);
  if (vectors.count === 0) throw new IndexError("ERR_INDEX_SIZE", data, "there are no vectors");
  const began = performance.now();
  const codebook = await trainCodebook(vectors, signal);
  const codes = await encode(vectors, codebook, signal);
  const coded = performance.now();
  const onProgress = (done: number): void => {
    if (process.stderr.isTTY)
      process.stderr.write(`\r${done} of ${vectors.count}${done === vectors.count ? "\n" : ""}`);
  };
  const graph = await buildGraph(vectors, { degree, list, threads, signal, onProgress });
  const linked = performance.now();
  await writeIndex(engine, path, graph, codebook, codes, signal);
  const seconds = (from: number, to: number): string => ((to - from) / 1000).toFixed(1);
  const times = [seconds(began, coded), seconds(coded, linked), seconds(linked, performance.now())];
  console.log(`${path}: ${vectors.count} vectors; codes ${times[0]} s, graph ${times[1]} s, file ${times[2]} s`);
}

interface Files {
  readonly truth?: string | undefined;
  readonly output?: string | undefined;
}

async function search(engine: Engine, path: string, from: string, files: Files, numbers: Numbers, signal: AbortSignal) {
  const index = await openIndex(engine, path);
  try {
    const queries = await readVectors(engine, from, index.dimension);
    const { k, list, beam, "at-once": atOnce } = numbers;
    const truth = files.truth === undefined ? null : await readNumbers(engine, files.truth);
    if (truth !== null && (truth.width < k || truth.values.length !== queries.count * truth.width))
      throw new IndexError("ERR_INDEX_SIZE", files.truth!, `it hasn't ${k} neighbours of ${queries.count} queries`);
    const reader = arenaReader(engine, index, numbers["cache-mib"] * 2 ** 20);
    const found = await searchAll(index, reader, queries, { k, list, beam, atOnce, signal });
    const rate = (queries.count / found.seconds).toFixed(0);
    const sorted = found.latencies.toSorted();
    const at = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1);
    console.log(`${queries.count} queries, ${rate} a second; half within ${at(0.5)} ms, 99 % within ${at(0.99)} ms`);
    console.log(`${(found.reads / queries.count).toFixed(1)} blocks of 4 KiB for each`);
    if (truth !== null) console.log(`recall@${k} ${recallOf(found.ids, k, truth.values, truth.width).toFixed(4)}`);
    if (files.output !== undefined) await writeRows(engine, files.output, k, found.ids);
  } finally {
    await index.close();
  }
}

async function info(engine: Engine, path: string): Promise<void> {
  const { count, dimension, degree, medoid, codes, bytes, close } = await openIndex(engine, path);
  console.log(`${count} vectors of dimension ${dimension}, at most ${degree} neighbours, searches begin at ${medoid}`);
  console.log(`${bytes} bytes, ${codes.byteLength} of them codes, which a search has in memory`);
  await close();
}

async function demonstrate(engine: Engine, numbers: Numbers, signal: AbortSignal): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "vector-search-"));
  const [index, base] = [join(folder, "index"), join(folder, "base.fbin")];
  try {
    await sample(engine, folder, { ...numbers, count: 5000, queries: 200 }, signal);
    await build(engine, base, index, numbers, signal);
    await info(engine, index);
    const truth = join(folder, "truth.ibin");
    await search(engine, index, join(folder, "queries.fbin"), { truth }, numbers, signal);
    console.log("Vectors of your own: vector-search build DATA.fbin INDEX; --help says more");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const PATHS: Record<string, number> = { "": 0, sample: 1, build: 2, search: 2, info: 1 };

async function main(signal: AbortSignal): Promise<void> {
  const { help, truth, output, numbers, positionals } = parse();
  if (help) return console.log(HELP);
  const [command = "", ...paths] = positionals;
  const wanted = PATHS[command];
  if (wanted === undefined) throw new UsageError(`there is no command ${JSON.stringify(command)}`);
  if (paths.length !== wanted) throw new UsageError(`${command} takes ${wanted} paths, not ${paths.length}`);
  const [first = "", second = ""] = paths;
  const engine = await Engine.open({ depth: 256 });
  try {
    if (command === "sample") await sample(engine, first, numbers, signal);
    else if (command === "build") await build(engine, first, second, numbers, signal);
    else if (command === "search") await search(engine, first, second, { truth, output }, numbers, signal);
    else if (command === "info") await info(engine, first);
    else await demonstrate(engine, numbers, signal);
  } finally {
    await engine.close();
  }
}

const interrupted = new AbortController();
for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => interrupted.abort());
try {
  await main(interrupted.signal);
} catch (error) {
  const { name, message } = error as Error;
  process.exitCode = interrupted.signal.aborted ? 130 : error instanceof UsageError ? 2 : 1;
  if (process.exitCode === 2) console.error(`vector-search: ${message}; --help says more`);
  else if (process.exitCode === 1) console.error(`${error instanceof IndexError ? error.code : name}: ${message}`);
}
