/**
 * Distributions over the project's random source. Only additions, multiplications and comparisons: a logarithm may differ in its last bit
 * from one engine to the next, and then the same seed would be another run.
 */

import type { Stream } from "../model/random.js";

const STEPS = 2 ** 30;

/** From 0 up to 1. */
function uniform(stream: Stream): number {
  return stream.below(STEPS) / STEPS;
}

/**
 * Exponentially distributed, mean 1: J. von Neumann's way with comparisons alone. A falling run of uniform numbers has an odd length with
 * probability e^-x, x being its first; each run of even length counts one more.
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

/** A distribution by some of its quantiles, straight in between: `[[0, 60], [0.5, 80], [1, 900]]`. Shares rise from 0 to 1. */
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
