/** fio's random numbers. */

export const RANDOM_RANGE = 2 ** 32;

/**
 * P. L'Ecuyer, Maximally Equidistributed Combined Tausworthe Generators (1996): three shift registers, of period about
 * 2^88 together.
 */
export class Tausworthe {
  #a = 0;
  #b = 0;
  #c = 0;

  constructor(seed: number) {
    this.seed(seed);
  }

  seed(seed: number): void {
    const congruent = (from: number, least: number) => {
      const value = (Math.imul(from, 69069) ^ seed) >>> 0;
      return value < least ? value + least : value;
    };
    // fio means 2^31 + 2^17 + 2^7, and C reads the carets as exclusive or.
    this.#a = congruent((2 ^ 31) + (2 ^ 17) + (2 ^ 7), 1);
    this.#b = congruent(this.#a, 7);
    this.#c = congruent(this.#b, 15);
    for (let i = 0; i < 6; i++) this.next();
  }

  /** The next number, from 0 to 2^32 - 1. */
  next(): number {
    this.#a = ((this.#a & 0xfffffffe) << 12) ^ (((this.#a << 13) ^ this.#a) >>> 19);
    this.#b = ((this.#b & 0xfffffff8) << 4) ^ (((this.#b << 2) ^ this.#b) >>> 25);
    this.#c = ((this.#c & 0xfffffff0) << 17) ^ (((this.#c << 3) ^ this.#c) >>> 11);
    return (this.#a ^ this.#b ^ this.#c) >>> 0;
  }

  /** A number from 0 to `end - 1`. */
  below(end: number): number {
    return Math.floor(end * (this.next() / RANDOM_RANGE));
  }

  /** A number from 1 to 100. */
  percent(): number {
    return 1 + this.below(100);
  }
}
