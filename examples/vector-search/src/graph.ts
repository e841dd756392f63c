/**
 * Vamana, the graph of DiskANN (Subramanya et al., NeurIPS 2019): each vector has at most `degree` neighbours, which a
 * greedy search from the medoid found near it, and from which robust pruning has removed those that others lead to.
 * Vectors are inserted in batches, as in ParlayANN: threads search the graph as it was before the batch.
 */

import { Candidates } from "./candidates.js";
import { bruteForce } from "./exact-search.js";
import { squaredDistance, type Vectors } from "./vectors.js";

/** Factor by which a way by another neighbour may be longer: the paper's α. */
const ALPHA = 1.2;
/** Neighbours that a vector may have while the graph is built, by its final number: to prune at each one is slow. */
const SLACK = 1.3;
/** Candidates that a search keeps while the graph is built. */
const LIST = 64;

/** A graph in memory that threads share. */
export interface Graph {
  readonly vectors: Vectors;
  /** Vector that is nearest to the middle: where searches begin. */
  readonly medoid: number;
  readonly degree: number;
  /** Rows of `width` numbers: of each vector, the number of its neighbours, and then these. */
  readonly links: Int32Array;
  readonly width: number;
}

export function newGraph(vectors: Vectors, degree: number): Graph {
  const width = 1 + Math.ceil(SLACK * degree);
  const links = new Int32Array(new SharedArrayBuffer(4 * vectors.count * width));
  return { vectors, medoid: medoidOf(vectors), degree, links, width };
}

function medoidOf(vectors: Vectors): number {
  const { count, dimension, values } = vectors;
  const mean = new Float32Array(dimension);
  for (let i = 0; i < values.length; i++) mean[i % dimension]! += values[i]! / count;
  return bruteForce(vectors, { count: 1, dimension, values: mean }, 1)[0]!;
}

/** Inserts vectors into a graph, or links back to them. A thread has one, and writes only its share's neighbours. */
export class Linker {
  readonly #graph: Graph;
  readonly #near: Candidates;
  readonly #isMine: (id: number) => boolean;

  constructor(graph: Graph, thread: number, threads: number) {
    this.#graph = graph;
    this.#near = new Candidates(LIST, graph.vectors.count);
    this.#isMine = (id) => id % threads === thread;
  }

  /** Gives vectors that aren't in the graph yet their neighbours. */
  insert(ids: Int32Array): void {
    for (const id of ids.filter(this.#isMine)) this.#prune(id, this.#search(id));
  }

  /** Adds vectors that were inserted to the neighbours of their neighbours, none of which was inserted with them. */
  linkBack(ids: Int32Array): void {
    const { links, width } = this.#graph;
    const added = new Map<number, number[]>();
    for (const id of ids)
      for (const other of this.#neighbours(id).filter(this.#isMine)) {
        if (!added.has(other)) added.set(other, this.#neighbours(other));
        added.get(other)!.push(id);
      }
    for (const [id, neighbours] of added) {
      if (neighbours.length >= width) this.#prune(id, neighbours);
      else links.set([neighbours.length, ...neighbours], id * width);
    }
  }

  /** Brings vectors that have more than `degree` neighbours down to that. */
  trim(ids: Int32Array): void {
    const { links, width, degree } = this.#graph;
    for (const id of ids.filter(this.#isMine)) if (links[id * width]! > degree) this.#prune(id, this.#neighbours(id));
  }

  #distance(one: number, other: number): number {
    const { values, dimension } = this.#graph.vectors;
    return squaredDistance(values, one * dimension, values, other * dimension, dimension);
  }

  #neighbours(id: number): number[] {
    const { links, width } = this.#graph;
    return Array.from(links.subarray(id * width + 1, id * width + 1 + links[id * width]!));
  }

  /** Vectors that a greedy search for a vector visits. */
  #search(id: number): number[] {
    const { medoid, width, links } = this.#graph;
    const near = this.#near;
    const visited: number[] = [];
    const see = (other: number): void => {
      if (near.discover(other)) near.add(other, this.#distance(id, other));
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
    const { degree, links, width } = this.#graph;
    const sorted = candidates
      .filter((other) => other !== id)
      .map((other) => [other, this.#distance(id, other)] as const)
      .sort((a, b) => a[1] - b[1] || a[0] - b[0]);
    const at = id * width;
    let chosen = 0;
    for (let i = 0; i < sorted.length && chosen < degree; i++) {
      const [other, distance] = sorted[i]!;
      // Distances are squares, and so is the factor. Of vectors that are the same only one becomes a neighbour.
      let leads = false;
      for (let j = at + 1; j <= at + chosen && !leads; j++)
        leads = ALPHA * ALPHA * this.#distance(links[j]!, other) <= distance;
      if (!leads) links[at + ++chosen] = other;
    }
    links[at] = chosen;
  }
}
