/**
 * Vamana, the graph of DiskANN (Subramanya et al., NeurIPS 2019): each vector has at most `degree` neighbours, which a
 * greedy search from the medoid found near it, and from which robust pruning has removed those that others lead to.
 * Vectors are inserted in batches, as in ParlayANN: threads search the graph as it was before the batch.
 */

import { Candidates } from "./candidates.js";
import { squaredDistance, type Vectors } from "./vectors.js";

/** Factor by which a way by another neighbour may be longer: the paper's α. */
const ALPHA = 1.2;
/** Neighbours that a vector may have while the graph is built, by its final number: to prune at each one is slow. */
const SLACK = 1.3;

/** A graph in memory that threads share. */
export interface Graph {
  readonly vectors: Vectors;
  /** Vector that is nearest to the middle: where searches begin. */
  readonly medoid: number;
  readonly degree: number;
  /** Candidates that a search keeps while the graph is built. */
  readonly list: number;
  /** Rows of `width` numbers: of each vector, the number of its neighbours, and then these. */
  readonly links: Int32Array;
  readonly width: number;
}

export function newGraph(vectors: Vectors, degree: number, list: number): Graph {
  const width = 1 + Math.ceil(SLACK * degree);
  const links = new Int32Array(new SharedArrayBuffer(4 * vectors.count * width));
  return { vectors, medoid: medoidOf(vectors), degree, list, links, width };
}

function medoidOf({ count, dimension, values }: Vectors): number {
  const mean = new Float32Array(dimension);
  for (let i = 0; i < values.length; i++) mean[i % dimension]! += values[i]! / count;
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < count; i++) {
    const distance = squaredDistance(values, i * dimension, mean, 0, dimension);
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

/** Inserts vectors into a graph, or links back to them; a thread has one. */
export class Linker {
  readonly #graph: Graph;
  readonly #near: Candidates;

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#near = new Candidates(graph.list, graph.vectors.count);
  }

  /** Gives vectors that aren't in the graph yet their neighbours. */
  insert(ids: Int32Array): void {
    for (const id of ids) this.#prune(id, this.#search(id));
  }

  /** Adds a neighbour to vectors of the graph: pairs of both, sorted by vector. */
  linkBack(pairs: Int32Array): void {
    const { links, width } = this.#graph;
    for (let i = 0; i < pairs.length; ) {
      const id = pairs[i]!;
      const neighbours = this.#neighbours(id);
      for (; i < pairs.length && pairs[i] === id; i += 2) neighbours.push(pairs[i + 1]!);
      if (neighbours.length >= width) this.#prune(id, neighbours);
      else {
        links[id * width] = neighbours.length;
        links.set(neighbours, id * width + 1);
      }
    }
  }

  /** Brings vectors that have more than `degree` neighbours down to that. */
  trim(ids: Int32Array): void {
    const { links, width, degree } = this.#graph;
    for (const id of ids) if (links[id * width]! > degree) this.#prune(id, this.#neighbours(id));
  }

  #neighbours(id: number): number[] {
    const { links, width } = this.#graph;
    return Array.from(links.subarray(id * width + 1, id * width + 1 + links[id * width]!));
  }

  /** Vectors that a greedy search for a vector visits. */
  #search(id: number): number[] {
    const { vectors, medoid, width, links } = this.#graph;
    const { values, dimension } = vectors;
    const near = this.#near;
    const visited: number[] = [];
    const see = (other: number): void => {
      if (near.discover(other))
        near.add(other, squaredDistance(values, id * dimension, values, other * dimension, dimension));
    };
    near.clear();
    see(medoid);
    for (let next = near.next(); next >= 0; next = near.next()) {
      visited.push(next);
      const at = next * width;
      for (let i = at + 1; i <= at + links[at]!; i++) see(links[i]!);
    }
    return visited;
  }

  /** Makes the best of the candidates a vector's neighbours. */
  #prune(id: number, candidates: number[]): void {
    const { vectors, degree, links, width } = this.#graph;
    const { values, dimension } = vectors;
    const distances = new Map<number, number>();
    for (const other of candidates)
      if (other !== id)
        distances.set(other, squaredDistance(values, id * dimension, values, other * dimension, dimension));
    const sorted = [...distances].sort((a, b) => a[1] - b[1] || a[0] - b[0]);
    const at = id * width;
    let chosen = 0;
    for (let i = 0; i < sorted.length && chosen < degree; i++) {
      const [other, distance] = sorted[i]!;
      // Distances are squares, and so is the factor. Of vectors that are the same only one becomes a neighbour.
      let leads = false;
      for (let j = at + 1; j <= at + chosen && !leads; j++) {
        const between = squaredDistance(values, links[j]! * dimension, values, other * dimension, dimension);
        leads = ALPHA * ALPHA * between <= distance;
      }
      if (!leads) links[at + ++chosen] = other;
    }
    links[at] = chosen;
  }
}
