/** Builds a graph by several threads. The result is the same with any number of them. */

import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { LinkTask } from "./build-thread.js";
import { type Graph, newGraph } from "./graph.js";
import { randomOf, type Vectors } from "./vectors.js";

export interface BuildOptions {
  /** Most neighbours of a vector. */
  readonly degree: number;
  /** Candidates that a search keeps while the graph is built. */
  readonly list: number;
  readonly threads: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** Part of the vectors that a batch has at most: a batch's vectors aren't neighbours of each other at first. */
const BATCH_PART = 0.02;

export async function buildGraph(vectors: Vectors, options: BuildOptions): Promise<Graph> {
  const { degree, list, threads, signal, onProgress } = options;
  const graph = newGraph(vectors, degree, list);
  const all = shuffled(vectors.count);
  const order = all.filter((id) => id !== graph.medoid);
  const script = new URL("./build-thread.js", import.meta.url);
  const workers = Array.from({ length: threads }, () => new Worker(script, { workerData: graph }));
  try {
    for (let done = 0; done < order.length; ) {
      signal?.throwIfAborted();
      const most = Math.max(1, Math.min(done + 1, Math.ceil(BATCH_PART * vectors.count)));
      const batch = order.slice(done, done + most);
      await share(workers, "insert", batch);
      await share(workers, "linkBack", backLinks(graph, batch));
      done += batch.length;
      onProgress?.(done + 1);
    }
    await share(workers, "trim", all);
    return graph;
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function shuffled(count: number): Int32Array {
  const random = randomOf(2);
  const order = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const other = Math.floor(random() * (i + 1));
    [order[i], order[other]] = [order[other]!, order[i]!];
  }
  return order;
}

/** Divides rows among threads. Pairs with the same first number stay together. */
async function share(workers: readonly Worker[], method: LinkTask["method"], rows: Int32Array): Promise<void> {
  const width = method === "linkBack" ? 2 : 1;
  let from = 0;
  const running = workers.map((worker, i) => {
    let to = Math.max(from, Math.floor(((i + 1) * rows.length) / width / workers.length) * width);
    while (width === 2 && to > 0 && to < rows.length && rows[to] === rows[to - 2]) to += 2;
    const part = rows.slice(from, to);
    from = to;
    if (part.length === 0) return null;
    const ended = once(worker, "message");
    worker.postMessage({ method, rows: part } satisfies LinkTask);
    return ended;
  });
  await Promise.all(running);
}

/** Pairs of each neighbour of the vectors, and the vector: sorted. */
function backLinks({ links, width }: Graph, ids: Int32Array): Int32Array {
  const pairs: (readonly [number, number])[] = [];
  for (const id of ids) {
    const at = id * width;
    for (const other of links.subarray(at + 1, at + 1 + links[at]!)) pairs.push([other, id]);
  }
  pairs.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return Int32Array.from(pairs.flat());
}
