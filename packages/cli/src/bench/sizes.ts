/** How much and how long. */

const MIB = 1 << 20;

export const MAX_SECONDS = 120;
export const MIN_SECONDS = 60;
export const DEFAULT_SECONDS = 110;

export interface Sizes {
  readonly fileBytes: number;
  readonly warmMs: number;
  /** The first slice on something new: what is compiled, faulted in or started on first use. */
  readonly firstWarmMs: number;
  readonly sliceMs: number;
  readonly minRounds: number;
  readonly maxRounds: number;
  readonly restMs: number;
  readonly spawnBytes: number;
  readonly spawnTimes: number;
  readonly revalidationRounds: number;
  readonly revalidationSliceMs: number;
  /** One at a time: so many here, and as many elsewhere. */
  readonly revalidationPairs: number;
  readonly migrationMs: number;
  /** Everything once, however long it takes; not as often as there's time for. */
  readonly isOnce: boolean;
  /** However slow the machine is, nothing begins or goes on after that: the rest is for cleaning up. */
  readonly lastSecond: number;
  /** What is done once doesn't go on after that part of the time. */
  readonly onceShare: number;
}

export const FULL: Sizes = {
  fileBytes: 256 * MIB,
  warmMs: 20,
  firstWarmMs: 300,
  // Short, so that there are many rounds: what disturbs the machine for a second then disturbs all alike.
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
