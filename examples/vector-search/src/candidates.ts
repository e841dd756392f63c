/** The nearest vectors found so far, sorted by distance, each of them visited or not. */

export class Candidates {
  readonly ids: Int32Array;
  readonly distances: Float32Array;
  readonly #visited: Uint8Array;
  /** A bit for each vector that was ever added. */
  readonly #known: Uint32Array;
  length = 0;

  constructor(capacity: number, vectors: number) {
    this.ids = new Int32Array(capacity);
    this.distances = new Float32Array(capacity);
    this.#visited = new Uint8Array(capacity);
    this.#known = new Uint32Array(Math.ceil(vectors / 32));
  }

  clear(): void {
    this.#known.fill(0);
    this.length = 0;
  }

  /** Notes a vector; true if it wasn't known before. */
  discover(id: number): boolean {
    const word = id >>> 5;
    const bit = 1 << (id & 31);
    if ((this.#known[word]! & bit) !== 0) return false;
    this.#known[word]! |= bit;
    return true;
  }

  /** Adds a vector if it's near enough. */
  add(id: number, distance: number): void {
    const { ids, distances } = this;
    const visited = this.#visited;
    if (this.length === ids.length && distance >= distances[this.length - 1]!) return;
    if (this.length < ids.length) this.length++;
    let at = this.length - 1;
    for (; at > 0 && distances[at - 1]! > distance; at--) {
      ids[at] = ids[at - 1]!;
      distances[at] = distances[at - 1]!;
      visited[at] = visited[at - 1]!;
    }
    ids[at] = id;
    distances[at] = distance;
    visited[at] = 0;
  }

  /** Visits the nearest that wasn't visited; returns it, or -1. */
  next(): number {
    const first = this.#visited.indexOf(0);
    if (first < 0 || first >= this.length) return -1;
    this.#visited[first] = 1;
    return this.ids[first]!;
  }
}
