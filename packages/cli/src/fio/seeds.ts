/** Seeds of the generators of a job, as fio makes them. */

import { randomBytes } from "node:crypto";
import type { JobOptions } from "./job.js";

/** Generators that a job has, one for each purpose, by their place in the list of seeds. */
export const PURPOSES = {
  blockSizeOfReads: 0,
  blockSizeOfWrites: 1,
  mix: 4,
  file: 5,
  block: 6,
  fileSize: 7,
  buffer: 9,
  sequence: 10,
} as const;

const SEEDS = 24;
const MULTIPLIER = 0x9e370001n;
/** Seed of offsets in a job that is the same in every run. */
const REPEATED = 0xb1899bedn;

/** Seeds of a job's generators. Only their low 32 bits count. */
export function jobSeeds(
  seed: bigint,
  threadNumber: number,
  { randRepeat, allRandRepeat }: Pick<JobOptions, "randRepeat" | "allRandRepeat">,
): readonly number[] {
  const thread = BigInt(threadNumber);
  let factor = BigInt.asUintN(64, seed * MULTIPLIER ** 4n);
  const seeds = Array.from({ length: SEEDS }, (_, i) => {
    const own = allRandRepeat ? REPEATED * thread + BigInt(i) : factor * thread + BigInt(i);
    factor = BigInt.asUintN(64, factor * MULTIPLIER);
    return Number(BigInt.asUintN(32, own));
  });
  if (randRepeat) seeds[PURPOSES.block] = Number(BigInt.asUintN(32, REPEATED * thread));
  return seeds;
}

/** A seed that no run had before. */
export function freshSeed(): bigint {
  return randomBytes(8).readBigUInt64LE();
}
