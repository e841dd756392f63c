/** Product quantisation: each four values of a vector become one number, that of the nearest of 256 centroids. */

import { setImmediate as turn } from "node:timers/promises";
import { randomOf, squaredDistance, type Vectors } from "./vectors.js";

const PART = 4;
export const CENTROIDS = 256;
const ROUNDS = 6;
const SAMPLE = 5000;

export const partsOf = (dimension: number): number => Math.ceil(dimension / PART);
export const codebookLength = (dimension: number): number => CENTROIDS * dimension;

/** Centroids of each part, one part after the other. */
export async function trainCodebook(vectors: Vectors, signal?: AbortSignal): Promise<Float32Array> {
  const { count, dimension, values } = vectors;
  const random = randomOf(3);
  const size = Math.min(count, SAMPLE);
  const sample = Int32Array.from({ length: size }, (_, i) => (count === size ? i : Math.floor(random() * count)));
  const codebook = new Float32Array(codebookLength(dimension));
  for (let start = 0; start < dimension; start += PART) {
    await turn();
    signal?.throwIfAborted();
    const width = Math.min(PART, dimension - start);
    const centroids = codebook.subarray(CENTROIDS * start, CENTROIDS * (start + width));
    for (let c = 0; c < CENTROIDS; c++) {
      const from = sample[Math.floor(random() * size)]! * dimension + start;
      centroids.set(values.subarray(from, from + width), c * width);
    }
    for (let round = 0; round < ROUNDS; round++) improve(centroids, width, values, sample, dimension, start);
  }
  return codebook;
}

/** A round of k-means. Centroids that nothing is near stay. */
function improve(
  centroids: Float32Array,
  width: number,
  values: Float32Array,
  sample: Int32Array,
  dimension: number,
  start: number,
): void {
  const sums = new Float64Array(centroids.length);
  const counts = new Uint32Array(CENTROIDS);
  for (const id of sample) {
    const at = id * dimension + start;
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
    let distance = 0;
    for (let i = 0; i < width; i++) {
      const by = centroids[c * width + i]! - values[at + i]!;
      distance += by * by;
    }
    if (distance < least) {
      least = distance;
      best = c;
    }
  }
  return best;
}

/** Codes of all vectors. */
export async function encode(vectors: Vectors, codebook: Float32Array, signal?: AbortSignal): Promise<Uint8Array> {
  const { count, dimension, values } = vectors;
  const parts = partsOf(dimension);
  const codes = new Uint8Array(count * parts);
  for (let part = 0; part < parts; part++) {
    await turn();
    signal?.throwIfAborted();
    const start = part * PART;
    const width = Math.min(PART, dimension - start);
    const centroids = codebook.subarray(CENTROIDS * start, CENTROIDS * (start + width));
    for (let i = 0; i < count; i++)
      codes[i * parts + part] = nearestOf(centroids, width, values, i * dimension + start);
  }
  return codes;
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
