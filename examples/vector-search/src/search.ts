/** Beam search: goes through the graph by distances to codes, and ranks what it has read by the vectors themselves. */

import { Candidates } from "./candidates.js";
import { IndexError } from "./index-error.js";
import type { Index } from "./index-file.js";
import type { NodeReader, Slot } from "./node-reader.js";
import { CENTROIDS, fillTable, partsOf } from "./quantiser.js";
import { squaredDistance, type Vectors } from "./vectors.js";

export interface SearchOptions {
  /** Neighbours to find. */
  readonly k: number;
  /** Candidates that a search keeps: more find more, and read more. */
  readonly list: number;
  /** Blocks that a query reads at a time. */
  readonly beam: number;
  /** Queries at a time. */
  readonly atOnce: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Found {
  /** Numbers of the k nearest vectors of each query, the nearest first; -1 where there are fewer. */
  readonly ids: Int32Array;
  /** Milliseconds of each query. */
  readonly latencies: Float64Array;
  readonly reads: number;
  readonly seconds: number;
}

/** State of one query at a time. */
class Searcher {
  readonly #index: Index;
  readonly #reader: NodeReader;
  readonly #slots: readonly Slot[];
  readonly #near: Candidates;
  readonly #nearest: Candidates;
  readonly #table: Float32Array;
  readonly #ids: Int32Array;
  reads = 0;

  constructor(index: Index, reader: NodeReader, slots: readonly Slot[], { k, list }: SearchOptions) {
    this.#index = index;
    this.#reader = reader;
    this.#slots = slots;
    this.#near = new Candidates(Math.max(k, list), index.count);
    this.#nearest = new Candidates(k, 0);
    this.#table = new Float32Array(CENTROIDS * partsOf(index.dimension));
    this.#ids = new Int32Array(slots.length);
  }

  /** Finds the nearest vectors of a query; they stay valid until the next call. */
  async search(query: Float32Array): Promise<Int32Array> {
    const near = this.#near;
    fillTable(this.#table, this.#index.codebook, query);
    near.clear();
    this.#nearest.clear();
    this.#see(this.#index.medoid);
    for (;;) {
      let count = 0;
      while (count < this.#slots.length) {
        const id = near.next();
        if (id < 0) break;
        this.#ids[count++] = id;
      }
      if (count === 0) return this.#nearest.ids.subarray(0, this.#nearest.length);
      await this.#reader.read(this.#ids, count, this.#slots);
      this.reads += count;
      for (let i = 0; i < count; i++) this.#visit(this.#ids[i]!, this.#slots[i]!, query);
    }
  }

  #visit(id: number, { ints, floats }: Slot, query: Float32Array): void {
    const { degree, dimension, count } = this.#index;
    const neighbours = ints[1]!;
    if (ints[0] !== id || neighbours < 0 || neighbours > degree) throw this.#corrupt(id);
    const distance = squaredDistance(query, 0, floats, 2 + degree, dimension);
    if (!Number.isFinite(distance)) throw this.#corrupt(id);
    this.#nearest.add(id, distance);
    for (let i = 2; i < 2 + neighbours; i++) {
      const other = ints[i]!;
      if (other < 0 || other >= count) throw this.#corrupt(id);
      this.#see(other);
    }
  }

  #see(id: number): void {
    if (!this.#near.discover(id)) return;
    const table = this.#table;
    const { codes, dimension } = this.#index;
    const parts = partsOf(dimension);
    const at = id * parts;
    let distance = 0;
    for (let part = 0; part < parts; part++) distance += table[part * CENTROIDS + codes[at + part]!]!;
    this.#near.add(id, distance);
  }

  #corrupt(id: number): IndexError {
    return new IndexError("ERR_INDEX_CORRUPT", this.#index.path, `the block of vector ${id} isn't one`);
  }
}

/** Searches for all queries, several at a time. */
export async function searchAll(
  index: Index,
  reader: NodeReader,
  queries: Vectors,
  options: SearchOptions,
): Promise<Found> {
  const { k, beam, atOnce, signal } = options;
  const { dimension } = index;
  const searchers = Math.max(1, Math.min(atOnce, queries.count));
  const slots = await reader.slots(searchers * beam);
  const ids = new Int32Array(queries.count * k).fill(-1);
  const latencies = new Float64Array(queries.count);
  let next = 0;
  let reads = 0;
  const began = performance.now();
  const run = async (i: number): Promise<void> => {
    const searcher = new Searcher(index, reader, slots.slice(i * beam, (i + 1) * beam), options);
    while (next < queries.count) {
      signal?.throwIfAborted();
      const query = next++;
      const start = performance.now();
      ids.set(await searcher.search(queries.values.subarray(query * dimension, (query + 1) * dimension)), query * k);
      latencies[query] = performance.now() - start;
    }
    reads += searcher.reads;
  };
  // Slots are in use until all have ended.
  const ends = await Promise.allSettled(Array.from({ length: searchers }, (_, i) => run(i)));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  return { ids, latencies, reads, seconds: (performance.now() - began) / 1000 };
}

/** The k nearest vectors of each query, by looking at all. */
export function bruteForce({ count, dimension, values }: Vectors, queries: Vectors, k: number): Int32Array {
  const ids = new Int32Array(queries.count * k).fill(-1);
  const nearest = new Candidates(k, 0);
  for (let query = 0; query < queries.count; query++) {
    nearest.clear();
    for (let i = 0; i < count; i++)
      nearest.add(i, squaredDistance(queries.values, query * dimension, values, i * dimension, dimension));
    ids.set(nearest.ids.subarray(0, nearest.length), query * k);
  }
  return ids;
}

/** Share of the true nearest k that were found; `width` numbers of each query are known. */
export function recallOf(found: Int32Array, k: number, truth: Int32Array, width: number): number {
  let hits = 0;
  for (let query = 0; query < found.length / k; query++) {
    const known = new Set(truth.subarray(query * width, query * width + k));
    for (const id of found.subarray(query * k, (query + 1) * k)) if (known.has(id)) hits++;
  }
  return hits / found.length;
}
