#!/usr/bin/env node
/** The command: builds indexes, searches them, says what is in one, and makes sets of vectors. */

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Engine } from "pinless";
import { arenaReader } from "./block-reader.js";
import { buildGraph } from "./build.js";
import { bruteForce, recallOf } from "./exact-search.js";
import { IndexError } from "./index-error.js";
import { degreeMax, openIndex, writeIndex } from "./index-file.js";
import { quantise } from "./quantiser.js";
import { searchAll } from "./search.js";
import { clustered, readNumbers, readVectors, writeRows } from "./vectors.js";

const HELP = `vector-search: nearest neighbours of vectors, from a graph on disk (Vamana, as in DiskANN)

  vector-search                          makes a small set in a temporary folder, builds an index and searches it
  vector-search sample FOLDER            makes base.fbin, queries.fbin and truth.ibin, the same ones each time
      --count N --dimension N            vectors (100000) and their dimension (96)
      --queries N                        queries (1000)
  vector-search build DATA.fbin INDEX
      --degree N                         neighbours of a vector (32)
      --threads N                        as many as the machine has
  vector-search search INDEX QUERIES.fbin
      --k N --list N                     neighbours to find (10), candidates that a search keeps (64)
      --cache-mib N                      memory for blocks that were read (32)
      --truth TRUTH.ibin                 says how many of the true neighbours were found
      --output FOUND.ibin                writes the numbers of the neighbours
  vector-search info INDEX
  vector-search --help

Exit codes: 0 done; 1 it failed, and the error says why; 2 wrong arguments; 130 ended by Ctrl-C.`;

/** Wrong arguments. */
class UsageError extends Error {}

const number = (value: number, most: number) => ({ type: "string" as const, default: String(value), most });

/** Options that are whole numbers from 1 on: their defaults and limits. */
const NUMBERS = {
  count: number(100_000, 2 ** 31 - 1),
  dimension: number(96, 960),
  queries: number(1000, 1e6),
  degree: number(32, 1000),
  threads: number(availableParallelism(), 256),
  k: number(10, 1000),
  list: number(64, 10_000),
  "cache-mib": number(32, 2 ** 20),
};

interface Options extends Record<keyof typeof NUMBERS, number> {
  readonly truth?: string | undefined;
  readonly output?: string | undefined;
}

type Command = (engine: Engine, options: Options, first: string, second: string) => Promise<void>;

const interrupted = new AbortController();
const { signal } = interrupted;

const sample: Command = async (engine, { count, dimension, queries: asked, k }, folder) => {
  await mkdir(folder, { recursive: true });
  const [base, queries] = [clustered(count, dimension, 10), clustered(asked, dimension, 11)];
  await writeRows(engine, join(folder, "base.fbin"), dimension, base.values, signal);
  await writeRows(engine, join(folder, "queries.fbin"), dimension, queries.values, signal);
  await writeRows(engine, join(folder, "truth.ibin"), k, bruteForce(base, queries, k), signal);
  console.log(`${folder}: ${count} vectors of dimension ${dimension}, ${asked} queries and their ${k} nearest`);
};

const build: Command = async (engine, { degree, threads }, data, path) => {
  const vectors = await readVectors(engine, data);
  const { count, dimension } = vectors;
  const most = degreeMax(dimension);
  if (degree > most) throw new UsageError(`--degree: a block has room for ${most} neighbours beside a vector`);
  if (count === 0) throw new IndexError("ERR_INDEX_SIZE", data, "there are no vectors");
  const began = performance.now();
  const codes = await quantise(vectors, signal);
  const graph = await buildGraph(vectors, degree, threads, signal);
  await writeIndex(engine, path, graph, codes, signal);
  console.log(`${path}: ${count} vectors in ${((performance.now() - began) / 1000).toFixed(1)} s`);
};

const search: Command = async (engine, options, path, from) => {
  const { k, list, truth, output } = options;
  const index = await openIndex(engine, path);
  try {
    const queries = await readVectors(engine, from, index.dimension);
    const known = truth === undefined ? null : await readNumbers(engine, truth);
    if (known !== null && (known.width < k || known.values.length !== queries.count * known.width))
      throw new IndexError("ERR_INDEX_SIZE", truth!, `it hasn't ${k} neighbours of ${queries.count} queries`);
    const reader = arenaReader(engine, index, options["cache-mib"] * 2 ** 20);
    const found = await searchAll(index, reader, queries, { k, list, beam: 4, atOnce: 32, signal });
    const rate = (queries.count / found.seconds).toFixed(0);
    const sorted = found.latencies.toSorted();
    const at = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1);
    console.log(`${queries.count} queries, ${rate} a second; half within ${at(0.5)} ms, 99 % within ${at(0.99)} ms`);
    console.log(`${(found.reads / queries.count).toFixed(1)} blocks of 4 KiB for each`);
    if (known !== null) console.log(`recall@${k} ${recallOf(found.ids, k, known.values, known.width).toFixed(4)}`);
    if (output !== undefined) await writeRows(engine, output, k, found.ids, signal);
  } finally {
    await index.close();
  }
};

const info: Command = async (engine, _options, path) => {
  const { count, dimension, degree, medoid, codes, bytes, close } = await openIndex(engine, path);
  console.log(`${count} vectors of dimension ${dimension}, at most ${degree} neighbours, searches begin at ${medoid}`);
  console.log(`${bytes} bytes, ${codes.byteLength} of them codes, which a search has in memory`);
  await close();
};

const demonstrate: Command = async (engine, options) => {
  const folder = await mkdtemp(join(tmpdir(), "vector-search-"));
  const file = (name: string): string => join(folder, name);
  try {
    await sample(engine, { ...options, count: 5000, queries: 200 }, folder, "");
    await build(engine, options, file("base.fbin"), file("index"));
    await info(engine, options, file("index"), "");
    await search(engine, { ...options, truth: file("truth.ibin") }, file("index"), file("queries.fbin"));
    console.log("Vectors of your own: vector-search build DATA.fbin INDEX; --help says more");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** Commands, and how many paths they take. */
const COMMANDS = new Map<string, readonly [Command, paths: number]>([
  ["", [demonstrate, 0]],
  ["sample", [sample, 1]],
  ["build", [build, 2]],
  ["search", [search, 2]],
  ["info", [info, 1]],
]);

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...NUMBERS,
      truth: { type: "string" },
      output: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) return console.log(HELP);
  const given = Object.entries(NUMBERS).map(([name, { most }]) => {
    const value = Number(values[name as keyof typeof NUMBERS]);
    if (!Number.isInteger(value) || value < 1 || value > most)
      throw new UsageError(`--${name} must be a whole number from 1 to ${most}`);
    return [name, value];
  });
  const [name = "", ...paths] = positionals;
  const [command, wanted] = COMMANDS.get(name) ?? [null, 0];
  if (command === null) throw new UsageError(`there is no command ${JSON.stringify(name)}`);
  if (paths.length !== wanted) throw new UsageError(`${name} takes ${wanted} paths, not ${paths.length}`);
  const [first = "", second = ""] = paths;
  const engine = await Engine.open({ depth: 256 });
  try {
    await command(engine, { ...values, ...Object.fromEntries(given) }, first, second);
  } finally {
    await engine.close();
  }
}

for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => interrupted.abort());
try {
  await main();
} catch (error) {
  const { name, message, code } = error as NodeJS.ErrnoException;
  const isUsage = error instanceof UsageError || code?.startsWith("ERR_PARSE_ARGS");
  process.exitCode = signal.aborted ? 130 : isUsage ? 2 : 1;
  if (process.exitCode === 2) console.error(`vector-search: ${message}; --help says more`);
  else if (process.exitCode === 1) console.error(`${error instanceof IndexError ? error.code : name}: ${message}`);
}
