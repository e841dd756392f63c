/** Summaries of measured values that can be added up: mean and deviation, and a histogram with fio's buckets. */

/** Bits of a value that its bucket keeps, below the highest one. */
const KEPT_BITS = 6;
const KEPT = 1 << KEPT_BITS;
/** Number of buckets: 29 powers of two, each in 64 parts. */
const BUCKETS = 29 * KEPT;

/** Minimum, maximum, mean and deviation of a series, kept by Welford's method. */
export interface Spread {
  min: number;
  max: number;
  mean: number;
  /** Sum of the squared distances from the mean. */
  squares: number;
  samples: number;
}

export function emptySpread(): Spread {
  return { min: Number.POSITIVE_INFINITY, max: 0, mean: 0, squares: 0, samples: 0 };
}

export function addSample(to: Spread, value: number): void {
  if (value > to.max) to.max = value;
  if (value < to.min) to.min = value;
  const distance = value - to.mean;
  to.samples++;
  to.mean += distance / to.samples;
  to.squares += distance * (value - to.mean);
}

/** Adds a series to another, as if all values had been of one. */
export function mergeSpread(to: Spread, from: Spread): void {
  if (from.samples === 0) return;
  const samples = to.samples + from.samples;
  const distance = from.mean - to.mean;
  to.squares += from.squares + (distance ** 2 * to.samples * from.samples) / samples;
  to.mean = (to.mean * to.samples + from.mean * from.samples) / samples;
  to.min = Math.min(to.min, from.min);
  to.max = Math.max(to.max, from.max);
  to.samples = samples;
}

/** Adds rates of jobs that ran side by side: the group's rate is their sum. */
export function stackSpread(to: Spread, from: Spread): void {
  if (from.samples === 0) return;
  to.min = to.samples === 0 ? from.min : to.min + from.min;
  to.max += from.max;
  to.mean += from.mean;
  to.squares += from.squares;
  to.samples += from.samples;
}

export function deviation({ squares, samples }: Spread): number {
  return samples > 1 ? Math.sqrt(squares / (samples - 1)) : 0;
}

export function newBuckets(): Float64Array {
  return new Float64Array(BUCKETS);
}

/** Bucket of a value in nanoseconds. */
export function bucketOf(value: number): number {
  if (value < 2 * KEPT) return value;
  const high = value >= 2 ** 32 ? 63 - Math.clz32(value / 2 ** 32) : 31 - Math.clz32(value);
  const dropped = high - KEPT_BITS;
  const part = Math.floor(value / 2 ** dropped) - KEPT;
  return Math.min(BUCKETS - 1, (dropped + 1) * KEPT + part);
}

/** Value in the middle of a bucket. */
export function middleOf(bucket: number): number {
  if (bucket < 2 * KEPT) return bucket;
  const dropped = Math.floor(bucket / KEPT) - 1;
  return 2 ** (dropped + KEPT_BITS) + Math.floor(((bucket % KEPT) + 0.5) * 2 ** dropped);
}

/** Values below which the given percentages of all samples lie. */
export function percentilesOf(
  buckets: Float64Array,
  samples: number,
  percentages: readonly number[],
): readonly { readonly percentage: number; readonly value: number }[] {
  const found: { percentage: number; value: number }[] = [];
  const wanted = [...percentages].sort((a, b) => a - b);
  let below = 0;
  for (let bucket = 0; bucket < BUCKETS && found.length < wanted.length; bucket++) {
    below += buckets[bucket]!;
    for (let each = wanted[found.length]; each !== undefined && below >= (each / 100) * samples; ) {
      found.push({ percentage: each, value: middleOf(bucket) });
      each = wanted[found.length];
    }
  }
  return found;
}
