/** The nearest vectors found so far, sorted by distance, each of them visited or not. */

export class Candidates {
  readonly ids: Int32Array;
  readonly distances: Float32Array;
  readonly #visited: Uint8Array;
  /** A bit for each vector that was ever added. */
  readonly #known: Uint32Array;
  /** Index before which all are visited. */
  #first = 0;
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
    this.#first = 0;
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
    let low = 0;
    for (let high = this.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if (distances[middle]! <= distance) low = middle + 1;
      else high = middle;
    }
    const end = Math.min(this.length, ids.length - 1);
    ids.copyWithin(low + 1, low, end);
    distances.copyWithin(low + 1, low, end);
    visited.copyWithin(low + 1, low, end);
    ids[low] = id;
    distances[low] = distance;
    visited[low] = 0;
    this.length = end + 1;
    if (low < this.#first) this.#first = low;
  }

  /** Visits the nearest that wasn't visited; returns it, or -1. */
  next(): number {
    while (this.#first < this.length && this.#visited[this.#first] === 1) this.#first++;
    if (this.#first === this.length) return -1;
    this.#visited[this.#first] = 1;
    return this.ids[this.#first]!;
  }
}
