/**
 * Random distributions, computed with additions, multiplications and comparisons only: the last bit of a logarithm may
 * differ between JavaScript engines, and the same seed would then give another run.
 */

import type { Stream } from "../model/random.js";

const STEPS = 2 ** 30;

/** Returns a number from 0 up to, but not including, 1. */
function uniform(stream: Stream): number {
  return stream.below(STEPS) / STEPS;
}

/**
 * Draws from the exponential distribution with mean 1, by J. von Neumann's method with comparisons only. A falling run
 * of uniform numbers has an odd length with probability e^-x, where x is its first number; each run of even length
 * counts one more.
 */
export function exponential(stream: Stream): number {
  for (let whole = 0; ; whole++) {
    const first = uniform(stream);
    let last = first;
    let length = 1;
    for (let next = uniform(stream); next < last; next = uniform(stream)) {
      last = next;
      length++;
    }
    if (length % 2 === 1) return whole + first;
  }
}

/**
 * A distribution given by quantiles with linear interpolation: `[[0, 60], [0.5, 80], [1, 900]]`. Shares rise from 0 to
 * 1.
 */
export type Quantiles = readonly (readonly [share: number, value: number])[];

export function draw(quantiles: Quantiles, stream: Stream): number {
  const at = uniform(stream);
  for (let i = 1; i < quantiles.length; i++) {
    const [to, most] = quantiles[i]!;
    if (at > to) continue;
    const [from, least] = quantiles[i - 1]!;
    return to === from ? most : least + ((most - least) * (at - from)) / (to - from);
  }
  return quantiles.at(-1)![1];
}

export function meanOf(quantiles: Quantiles): number {
  let sum = 0;
  for (let i = 1; i < quantiles.length; i++) {
    const [[from, least], [to, most]] = [quantiles[i - 1]!, quantiles[i]!];
    sum += ((to - from) * (least + most)) / 2;
  }
  return sum;
}
