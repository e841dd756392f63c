/** Sizes and durations of a run. */

const MIB = 1 << 20;

export const MAX_SECONDS = 120;
export const MIN_SECONDS = 60;
export const DEFAULT_SECONDS = 110;

export interface Sizes {
  readonly fileBytes: number;
  readonly warmMs: number;
  /** Duration of the first slice on anything new, for compilation, page faults and first use. */
  readonly firstWarmMs: number;
  readonly sliceMs: number;
  readonly minRounds: number;
  readonly maxRounds: number;
  readonly restMs: number;
  readonly spawnBytes: number;
  readonly spawnTimes: number;
  readonly revalidationRounds: number;
  readonly revalidationSliceMs: number;
  /** Pairs of invalidations, one where reads are and one elsewhere. */
  readonly revalidationPairs: number;
  readonly migrationMs: number;
  /** True to do everything once, however long it takes, instead of repeating it for the given time. */
  readonly isOnce: boolean;
  /** Time after which nothing begins or goes on, however slow the machine is; the rest is for cleaning up. */
  readonly lastSecond: number;
  /** Fraction of the time after which nothing of what is done once goes on. */
  readonly onceShare: number;
}

export const FULL: Sizes = {
  fileBytes: 256 * MIB,
  warmMs: 20,
  firstWarmMs: 300,
  // Short slices make many rounds, so that a disturbance of a second affects all configurations alike.
  sliceMs: 60,
  minRounds: 1,
  maxRounds: 40,
  // Longer than the second that a lease lasts at most.
  restMs: 1300,
  spawnBytes: 1024 * MIB,
  spawnTimes: 11,
  revalidationRounds: 7,
  revalidationSliceMs: 45,
  revalidationPairs: 600,
  migrationMs: 500,
  isOnce: false,
  lastSecond: MAX_SECONDS - 4,
  onceShare: 0.75,
};

export const QUICK: Sizes = {
  fileBytes: 32 * MIB,
  warmMs: 20,
  firstWarmMs: 80,
  sliceMs: 80,
  minRounds: 1,
  maxRounds: 1,
  restMs: 200,
  spawnBytes: 64 * MIB,
  spawnTimes: 1,
  revalidationRounds: 1,
  revalidationSliceMs: 20,
  revalidationPairs: 20,
  migrationMs: 50,
  isOnce: true,
  lastSecond: 56,
  onceShare: 1,
};
