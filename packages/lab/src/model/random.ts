/**
 * Only source of random numbers in a simulation. Each use has a named stream of its own, so that a new use doesn't
 * change the numbers of the others, and the same seed gives the same run.
 */

export class NamedRandom {
  readonly seed: number;
  readonly #streams = new Map<string, Stream>();

  constructor(seed: number) {
    this.seed = seed;
  }

  /** Returns the stream of a name. Frequent users should keep it. */
  stream(name: string): Stream {
    let stream = this.#streams.get(name);
    if (stream === undefined) {
      stream = new Stream(this.seed, hash(name));
      this.#streams.set(name, stream);
    }
    return stream;
  }

  pick<T>(name: string, of: readonly T[]): T {
    return of[this.stream(name).below(of.length)]!;
  }
}

/** sfc32 (C. Doty-Humphrey's small fast counting generator). */
export class Stream {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, name: number) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 2 ** 32) | 0;
    this.#c = name | 0;
    for (let i = 0; i < 12; i++) this.#next();
  }

  /** A whole number from 0 to `bound - 1`. */
  below(bound: number): number {
    return Math.floor((this.#next() / 2 ** 32) * bound);
  }

  /** Returns a number from 0 up to `bound` in 1,024 steps, which is exact and so the same on every machine. */
  upTo(bound: number): number {
    return (bound * this.below(1024)) / 1024;
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.#next() / 2 ** 32 < probability;
  }

  #next(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h;
}
