/** Processor time, context switches and page faults of this thread, as getrusage(2) with RUSAGE_THREAD. */

import { readFileSync } from "node:fs";

export interface ThreadUsage {
  readonly userMs: number;
  readonly systemMs: number;
  readonly contextSwitches: number;
  readonly majorFaults: number;
  readonly minorFaults: number;
}

/** Milliseconds of a clock tick of /proc: USER_HZ is 100 on all architectures that Node supports. */
const TICK_MS = 10;

export function threadUsage(): ThreadUsage {
  // The name of the thread, in parentheses, may hold anything; fields are numbered from the state on, which is the 3rd.
  const stat = readFileSync("/proc/thread-self/stat", "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const field = (number: number): number => Number(fields[number - 3]);
  const status = readFileSync("/proc/thread-self/status", "latin1");
  const switches = [...status.matchAll(/voluntary_ctxt_switches:\s*(\d+)/g)];
  return {
    userMs: field(14) * TICK_MS,
    systemMs: field(15) * TICK_MS,
    contextSwitches: switches.reduce((sum, [, count]) => sum + Number(count), 0),
    majorFaults: field(12),
    minorFaults: field(10),
  };
}

/** Adds what the thread used since `from`. */
export function addUsage(to: { -readonly [Name in keyof ThreadUsage]: number }, from: ThreadUsage): void {
  const now = threadUsage();
  for (const name of Object.keys(now) as (keyof ThreadUsage)[]) to[name] += now[name] - from[name];
}
