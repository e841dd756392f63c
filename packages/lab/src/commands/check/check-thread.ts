/** A thread that explores one case after the other. The core it explores is the one beside the modules it's told to load. */

import { readFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import type { runCase } from "../../check/run-case.js";
import type { Scenario } from "../../check/scenario.js";

export interface Order {
  readonly scenario: Scenario;
  /** Without a trace. */
  readonly brief: boolean;
}

const { modules } = workerData as { readonly modules: string };
const { runCase: run } = (await import(new URL("check/run-case.js", modules).href)) as { runCase: typeof runCase };

/** This thread's own time on a processor: the first number of its schedstat is in nanoseconds. */
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
