/** Product quantisation: each four values of a vector become one number, that of the nearest of 256 centroids. */

import { setImmediate as turn } from "node:timers/promises";
import { randomOf, squaredDistance, type Vectors } from "./vectors.js";

const PART = 4;
export const CENTROIDS = 256;
const ROUNDS = 6;
const SAMPLE = 5000;

/** Vectors' codes, and what they stand for. */
export interface Codes {
  /** Centroids of each part, one part after the other. */
  readonly codebook: Float32Array;
  /** Numbers of centroids: those of a vector's parts, one vector after the other. */
  readonly codes: Uint8Array;
}

export const partsOf = (dimension: number): number => Math.ceil(dimension / PART);

/** Trains centroids by a sample of vectors, and codes all vectors by them. */
export async function quantise({ count, dimension, values }: Vectors, signal?: AbortSignal): Promise<Codes> {
  const random = randomOf(3);
  const size = Math.min(count, SAMPLE);
  const sample = Int32Array.from({ length: size }, (_, i) => (count === size ? i : Math.floor(random() * count)));
  const codebook = new Float32Array(CENTROIDS * dimension);
  const parts = partsOf(dimension);
  const codes = new Uint8Array(count * parts);
  for (let part = 0; part < parts; part++) {
    await turn();
    signal?.throwIfAborted();
    const start = part * PART;
    const width = Math.min(PART, dimension - start);
    const centroids = codebook.subarray(CENTROIDS * start, CENTROIDS * (start + width));
    const offsets = sample.map((id) => id * dimension + start);
    for (let c = 0; c < CENTROIDS; c++) {
      const from = offsets[Math.floor(random() * size)]!;
      centroids.set(values.subarray(from, from + width), c * width);
    }
    for (let round = 0; round < ROUNDS; round++) improve(centroids, width, values, offsets);
    for (let i = 0; i < count; i++)
      codes[i * parts + part] = nearestOf(centroids, width, values, i * dimension + start);
  }
  return { codebook, codes };
}

/** Moves centroids by a round of k-means. Those that nothing is near stay. */
function improve(centroids: Float32Array, width: number, values: Float32Array, offsets: Int32Array): void {
  const sums = new Float64Array(centroids.length);
  const counts = new Uint32Array(CENTROIDS);
  for (const at of offsets) {
    const nearest = nearestOf(centroids, width, values, at);
    counts[nearest]!++;
    for (let i = 0; i < width; i++) sums[nearest * width + i]! += values[at + i]!;
  }
  for (let i = 0; i < sums.length; i++) {
    const count = counts[Math.floor(i / width)]!;
    if (count > 0) centroids[i] = sums[i]! / count;
  }
}

/** Nearest centroid of a part. */
function nearestOf(centroids: Float32Array, width: number, values: Float32Array, at: number): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let c = 0; c < CENTROIDS; c++) {
    const distance = squaredDistance(centroids, c * width, values, at, width);
    if (distance < least) [best, least] = [c, distance];
  }
  return best;
}

/** Distances of a query's parts to all centroids: what distances to codes are sums of. */
export function fillTable(table: Float32Array, codebook: Float32Array, query: Float32Array): void {
  const dimension = query.length;
  for (let start = 0, part = 0; start < dimension; start += PART, part++) {
    const width = Math.min(PART, dimension - start);
    for (let c = 0; c < CENTROIDS; c++)
      table[part * CENTROIDS + c] = squaredDistance(codebook, CENTROIDS * start + c * width, query, start, width);
  }
}
