/** Exact search, by looking at all vectors, and recall: how many of the true neighbours another search has found. */

import { Candidates } from "./candidates.js";
import { squaredDistance, type Vectors } from "./vectors.js";

/** The k nearest vectors of each query; -1 where there are fewer. */
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
    hits += found.subarray(query * k, (query + 1) * k).filter((id) => known.has(id)).length;
  }
  return hits / found.length;
}
