/** Elapsed time on a clock of milliseconds in 32 bits, which wraps. */

/** True if less than `ms` have passed, also where the clock has wrapped; after more than 24 days it's false. */
export function isWithin(ms: number, sinceMs: number, nowMs: number): boolean {
  const elapsedMs = (nowMs - sinceMs) | 0;
  return elapsedMs >= 0 && elapsedMs < ms;
}
