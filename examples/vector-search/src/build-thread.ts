/** A thread that links a graph: it's told which vectors, and says when it's done. */

import { parentPort, workerData } from "node:worker_threads";
import { type Graph, Linker } from "./graph.js";

/** Vectors to be inserted or trimmed, or pairs to be linked back. */
export interface LinkTask {
  readonly method: "insert" | "linkBack" | "trim";
  readonly rows: Int32Array;
}

const linker = new Linker(workerData as Graph);
parentPort!.on("message", ({ method, rows }: LinkTask) => {
  linker[method](rows);
  parentPort!.postMessage(null);
});
