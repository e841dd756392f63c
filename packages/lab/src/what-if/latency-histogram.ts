/** Histogram of durations: whole nanoseconds in 32 classes for each doubling, so that quantiles are exact to 3 %. */

const CLASSES = 32;
const DOUBLINGS = 48;

export interface Quantile {
  readonly count: number;
  readonly sumMs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
}

export class Times {
  readonly #counts = new Uint32Array(CLASSES * DOUBLINGS);
  #count = 0;
  #sumMs = 0;
  #maxMs = 0;

  record(ms: number): void {
    this.#counts[classOf(Math.round(ms * 1e6))]!++;
    this.#count++;
    this.#sumMs += ms;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  quantiles(): Quantile {
    const at = (share: number): number => this.#quantileUs(share);
    const { p50Us, p99Us, p999Us } = { p50Us: at(0.5), p99Us: at(0.99), p999Us: at(0.999) };
    return { count: this.#count, sumMs: this.#sumMs, p50Us, p99Us, p999Us, maxUs: this.#maxMs * 1000 };
  }

  #quantileUs(share: number): number {
    if (this.#count === 0) return 0;
    let left = Math.ceil(share * this.#count);
    for (let i = 0; i < this.#counts.length; i++) {
      left -= this.#counts[i]!;
      if (left <= 0) return Math.min(upperEnd(i) / 1000, this.#maxMs * 1000);
    }
    return this.#maxMs * 1000;
  }
}

/** Class of a duration: below 32 the number itself, above it the doubling and the five bits after the first. */
function classOf(ns: number): number {
  if (ns < CLASSES) return ns;
  let doubling = 1;
  let top = ns;
  for (; top >= 2 * CLASSES; top = Math.floor(top / 2)) doubling++;
  return Math.min(CLASSES * DOUBLINGS - 1, doubling * CLASSES + (top - CLASSES));
}

/** The upper end of a class. */
function upperEnd(i: number): number {
  if (i < CLASSES) return i;
  const doubling = Math.floor(i / CLASSES);
  return (CLASSES + (i % CLASSES) + 1) * 2 ** (doubling - 1);
}
