/** A thread that links a graph: each message names a step and its vectors, and is answered when the step is done. */

import { parentPort, workerData } from "node:worker_threads";
import type { BuildStep } from "./build.js";
import { type Graph, Linker } from "./graph.js";

const { graph, thread, threads } = workerData as { graph: Graph; thread: number; threads: number };
const linker = new Linker(graph, thread, threads);
parentPort!.on("message", ({ step, ids }: { step: BuildStep; ids: Int32Array }) => {
  linker[step](ids);
  parentPort!.postMessage(null);
});
