/** Beam search: goes through the graph by distances to codes, and ranks what it has read by the vectors themselves. */

import type { BlockReader, Slot } from "./block-reader.js";
import { Candidates } from "./candidates.js";
import { IndexError } from "./index-error.js";
import { BLOCK_BYTES, type Index } from "./index-file.js";
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

/** Finds the nearest vectors of a query, writes their numbers, and returns how many blocks it read. */
type Search = (query: Float32Array, found: Int32Array) => Promise<number>;

/** Makes a search of one query at a time, with memory of its own. */
function searcher(index: Index, read: BlockReader, { k, list, beam }: SearchOptions): Search {
  const { path, arena, count, dimension, degree, medoid, codebook, codes } = index;
  const parts = partsOf(dimension);
  const near = new Candidates(Math.max(k, list), count);
  const nearest = new Candidates(k, 0);
  const table = new Float32Array(CENTROIDS * parts);
  const ids = new Int32Array(beam);
  const slots = Array.from({ length: beam }, (): Slot => {
    const { buffer, byteOffset } = arena.alloc(BLOCK_BYTES);
    const length = BLOCK_BYTES / 4;
    return { ints: new Int32Array(buffer, byteOffset, length), floats: new Float32Array(buffer, byteOffset, length) };
  });
  const see = (id: number): void => {
    if (!near.discover(id)) return;
    let distance = 0;
    for (let part = 0; part < parts; part++) distance += table[part * CENTROIDS + codes[id * parts + part]!]!;
    near.add(id, distance);
  };
  const visit = (id: number, { ints, floats }: Slot, query: Float32Array): void => {
    const neighbours = ints[1]!;
    const distance = squaredDistance(query, 0, floats, 2 + degree, dimension);
    let isValid = ints[0] === id && neighbours >= 0 && neighbours <= degree && Number.isFinite(distance);
    for (let i = 2; isValid && i < 2 + neighbours; i++) {
      isValid = ints[i]! >= 0 && ints[i]! < count;
      if (isValid) see(ints[i]!);
    }
    if (!isValid) throw new IndexError("ERR_INDEX_CORRUPT", path, `the block of vector ${id} isn't one`);
    nearest.add(id, distance);
  };
  return async (query, found) => {
    fillTable(table, codebook, query);
    near.clear();
    nearest.clear();
    see(medoid);
    for (let reads = 0; ; ) {
      let taken = 0;
      for (let id = near.next(); id >= 0; id = taken < beam ? near.next() : -1) ids[taken++] = id;
      if (taken === 0) {
        found.set(nearest.ids.subarray(0, nearest.length));
        return reads;
      }
      await read(ids, taken, slots);
      reads += taken;
      for (let i = 0; i < taken; i++) visit(ids[i]!, slots[i]!, query);
    }
  };
}

/**
 * Searches for all queries, several at a time. Returns the numbers of the k nearest vectors of each query, the nearest
 * first and -1 where there are fewer; the milliseconds of each; and how many blocks and seconds all of them took.
 */
export async function searchAll(index: Index, read: BlockReader, queries: Vectors, options: SearchOptions) {
  const { k, beam, atOnce, signal } = options;
  const { dimension, arena } = index;
  const { count, values } = queries;
  const ids = new Int32Array(count * k).fill(-1);
  const latencies = new Float64Array(count);
  const searchers = Math.max(1, Math.min(atOnce, count));
  await arena.grow(searchers * beam * BLOCK_BYTES);
  let next = 0;
  let reads = 0;
  const began = performance.now();
  const run = async (): Promise<void> => {
    const search = searcher(index, read, options);
    while (next < count) {
      signal?.throwIfAborted();
      const query = next++;
      const start = performance.now();
      const found = ids.subarray(query * k, (query + 1) * k);
      const blocks = await search(values.subarray(query * dimension, (query + 1) * dimension), found);
      reads += blocks;
      latencies[query] = performance.now() - start;
    }
  };
  // Memory is in use until all have ended.
  const ends = await Promise.allSettled(Array.from({ length: searchers }, run));
  for (const end of ends) if (end.status === "rejected") throw end.reason;
  return { ids, latencies, reads, seconds: (performance.now() - began) / 1000 };
}
