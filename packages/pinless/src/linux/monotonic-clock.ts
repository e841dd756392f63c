/** CLOCK_MONOTONIC in milliseconds. performance.now() begins anew in every worker; this one is the same for all threads. */

import { now } from "./originals.js";

const [seconds, nanoseconds] = process.hrtime();
const offsetMs = seconds * 1000 + nanoseconds / 1e6 - now();

export function monotonicMs(): number {
  return now() + offsetMs;
}
