/** Orders of random blocks: uniform, by a shift register, and by the distributions of `random_distribution`. */

import type { Distribution } from "./job.js";
import { RANDOM_RANGE, type Tausworthe } from "./tausworthe.js";

/** Draws a block from 0 to the number of blocks less one; -1 at the end of an order that has one. */
export interface BlockOrder {
  next(): number;
  restart(): void;
}

/** Taps of shift registers of 3 to 32 bits with the longest period, as in Xilinx's XAPP 052. */
const TAPS: readonly (readonly number[])[] = [
  [3, 2],
  [4, 3],
  [5, 3],
  [6, 5],
  [7, 6],
  [8, 6, 5, 4],
  [9, 5],
  [10, 7],
  [11, 9],
  [12, 6, 4, 1],
  [13, 4, 3, 1],
  [14, 5, 3, 1],
  [15, 14],
  [16, 15, 13, 4],
  [17, 14],
  [18, 11],
  [19, 6, 2, 1],
  [20, 17],
  [21, 19],
  [22, 21],
  [23, 18],
  [24, 23, 22, 17],
  [25, 22],
  [26, 6, 2, 1],
  [27, 5, 2, 1],
  [28, 25],
  [29, 27],
  [30, 6, 4, 1],
  [31, 28],
  [32, 22, 2, 1],
];

/** A linear feedback shift register that skips what is past the end: every block once, without a map. */
export class ShiftRegister implements BlockOrder {
  readonly #blocks: number;
  readonly #mask: number;
  readonly #top: number;
  readonly #seed: number;
  #value = 0;
  #left = 0;

  /** @param blocks - Fewer than 2^32. */
  constructor(blocks: number, seed: number) {
    const taps = TAPS.find(([bits]) => 2 ** bits! > blocks);
    if (taps === undefined) throw new RangeError(`${blocks} blocks are too many for a shift register of 32 bits`);
    this.#blocks = blocks;
    this.#mask = taps.reduce((mask, tap) => mask | (1 << (tap - 1)), 0) >>> 0;
    this.#top = 2 ** (taps[0]! - 1);
    // The register never leaves the state of ones alone.
    const start = seed % (2 * this.#top);
    this.#seed = start === 2 * this.#top - 1 ? 0 : start;
    this.restart();
  }

  restart(): void {
    this.#value = this.#seed;
    this.#left = this.#blocks;
  }

  next(): number {
    if (this.#left === 0) return -1;
    this.#left--;
    do {
      const shifted = (this.#value >>> 1) | this.#top;
      this.#value = ((this.#value & 1) === 1 ? shifted : shifted ^ this.#mask) >>> 0;
    } while (this.#value >= this.#blocks);
    return this.#value;
  }
}

/** Terms of zipf's sum that are added up; the sum of the others is left out, as in fio. */
const MAX_TERMS = 10_000_000;

/** An order of blocks by a distribution. Frequent ones are spread over the file, unless a centre is given. */
export function distributed(distribution: Distribution, blocks: number, random: Tausworthe): BlockOrder {
  const rank = ranking(distribution, blocks, random);
  const center = distribution.kind === "random" ? null : distribution.center;
  const shift = center === null ? random.next() : Math.floor(center * blocks);
  const place = (at: number) => (center === null ? Math.imul(at, 0x9e3779b1) >>> 0 : at);
  return { next: () => (place(rank()) + shift) % blocks, restart: () => {} };
}

/** Draws ranks: 0 is the block that comes most often. */
function ranking(distribution: Distribution, blocks: number, random: Tausworthe): () => number {
  const uniform = () => random.next() / RANDOM_RANGE;
  switch (distribution.kind) {
    case "random":
      return () => random.below(blocks);
    case "zipf":
      return zipf(distribution.theta, blocks, uniform);
    case "pareto": {
      const power = Math.log(distribution.power) / Math.log(1 - distribution.power);
      return () => Math.floor((blocks - 1) * uniform() ** power);
    }
    case "normal": {
      const deviation = (blocks * distribution.deviation) / 100;
      return () => modulo(Math.round(deviation * normal(uniform)), blocks);
    }
  }
}

/** Gray and others, Quickly generating billion-record synthetic databases (1994). */
function zipf(theta: number, blocks: number, uniform: () => number): () => number {
  let sum = 0;
  for (let i = 1; i <= Math.min(blocks, MAX_TERMS); i++) sum += i ** -theta;
  const two = 1 + 0.5 ** theta;
  const alpha = 1 / (1 - theta);
  const eta = (1 - (2 / blocks) ** (1 - theta)) / (1 - two / sum);
  return () => {
    const drawn = uniform();
    if (drawn * sum < 1) return 0;
    if (drawn * sum < two) return Math.min(1, blocks - 1);
    return Math.min(blocks - 1, Math.floor(blocks * (eta * drawn - eta + 1) ** alpha));
  };
}

/** A number of the standard normal distribution, by G. Box and M. Muller. */
function normal(uniform: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

function modulo(value: number, end: number): number {
  return ((value % end) + end) % end;
}
