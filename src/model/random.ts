/**
 * The one source of chance in a simulation. Every draw has a name and every name a stream of its own, so that a draw added in one place
 * changes nothing elsewhere, and the same seed gives the same run.
 */

export class NamedRandom {
  readonly seed: number;
  readonly #streams = new Map<string, Uint32Array>();

  constructor(seed: number) {
    this.seed = seed;
  }

  /** A whole number from 0 to `bound - 1`. */
  below(name: string, bound: number): number {
    return Math.floor((this.#next(name) / 2 ** 32) * bound);
  }

  /** True with this probability. */
  chance(name: string, probability: number): boolean {
    return this.#next(name) / 2 ** 32 < probability;
  }

  pick<T>(name: string, of: readonly T[]): T {
    return of[this.below(name, of.length)]!;
  }

  /** sfc32 (C. Doty-Humphrey's small fast counting generator), seeded with the seed and the name. */
  #next(name: string): number {
    let s = this.#streams.get(name);
    if (s === undefined) {
      s = Uint32Array.of(this.seed, Math.floor(this.seed / 2 ** 32), hash(name), 1);
      this.#streams.set(name, s);
      for (let i = 0; i < 12; i++) step(s);
    }
    return step(s);
  }
}

function step(s: Uint32Array): number {
  const result = (s[0]! + s[1]! + s[3]!) >>> 0;
  s[3] = s[3]! + 1;
  s[0] = s[1]! ^ (s[1]! >>> 9);
  s[1] = s[2]! + (s[2]! << 3);
  s[2] = ((s[2]! << 21) | (s[2]! >>> 11)) + result;
  return result;
}

/** FNV-1a. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}
