/** A thread that explores cases one after the other, on the protocol beside the modules that it was told to load. */

import { readFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import type { runCase } from "../../check/run-case.js";
import type { Scenario } from "../../check/scenario.js";

export interface Order {
  readonly scenario: Scenario;
  /** True to leave the trace out. */
  readonly brief: boolean;
}

const { modules } = workerData as { readonly modules: string };
const { runCase: run } = (await import(new URL("check/run-case.js", modules).href)) as { runCase: typeof runCase };

/** CPU time of this thread: the first number in its schedstat, in nanoseconds. */
function cpuSeconds(): number {
  try {
    return Number(readFileSync("/proc/thread-self/schedstat", "latin1").split(" ")[0]) / 1e9;
  } catch {
    return performance.now() / 1000;
  }
}

parentPort?.on("message", ({ scenario, brief }: Order) => {
  parentPort?.postMessage(run(scenario, brief, cpuSeconds));
});
