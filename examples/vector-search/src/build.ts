/** Builds a graph by several threads. The result is the same with any number of them. */

import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { newGraph } from "./graph.js";
import { randomOf, type Vectors } from "./vectors.js";

export type BuildStep = "insert" | "linkBack" | "trim";

/** Part of the vectors that a batch has at most: a batch's vectors aren't neighbours of each other at first. */
const BATCH_PART = 0.02;

/** Builds a graph in which a vector has at most `degree` neighbours. */
export async function buildGraph(vectors: Vectors, degree: number, threads: number, signal?: AbortSignal) {
  const graph = newGraph(vectors, degree);
  const keys = Float64Array.from({ length: vectors.count }, randomOf(2));
  const shuffled = Int32Array.from(keys.keys()).sort((a, b) => keys[a]! - keys[b]!);
  const order = shuffled.filter((id) => id !== graph.medoid);
  const script = new URL("./build-thread.js", import.meta.url);
  const startWorker = (_: unknown, thread: number) => new Worker(script, { workerData: { graph, thread, threads } });
  const workers = Array.from({ length: threads }, startWorker);
  const run = async (step: BuildStep, ids: Int32Array): Promise<void> => {
    const ends = workers.map((worker) => once(worker, "message"));
    for (const worker of workers) worker.postMessage({ step, ids });
    await Promise.all(ends);
  };
  try {
    for (let done = 0; done < order.length; ) {
      signal?.throwIfAborted();
      const batch = order.slice(done, done + Math.min(done + 1, Math.ceil(BATCH_PART * vectors.count)));
      await run("insert", batch);
      await run("linkBack", batch);
      done += batch.length;
    }
    await run("trim", shuffled);
    return graph;
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
