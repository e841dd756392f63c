/** CLOCK_MONOTONIC in milliseconds. All threads share it, while performance.now() starts anew in every worker. */

import { now } from "./originals.js";

const [seconds, nanoseconds] = process.hrtime();
const offsetMs = seconds * 1000 + nanoseconds / 1e6 - now();

export function monotonicMs(): number {
  return now() + offsetMs;
}
