/** Hashes files on several threads, one file on each at a time. */

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { AlgorithmName } from "./algorithms.js";
import type { Hashed, HashRequest } from "./hash-messages.js";

/** Number of files that may be finished, or begun, while an earlier one is read. */
const MAX_AHEAD = 256;

interface Waiting {
  readonly request: HashRequest;
  readonly answer: (hashed: Hashed) => void;
  readonly fail: (error: Error) => void;
}

export class HashPool {
  readonly #maxThreads = availableParallelism();
  readonly #algorithm: AlgorithmName;
  readonly #queue: Waiting[] = [];
  readonly #idle: Worker[] = [];
  readonly #workers: Worker[] = [];
  readonly #current = new Map<Worker, Waiting>();

  constructor(algorithm: AlgorithmName) {
    this.#algorithm = algorithm;
  }

  /** Hashes a file for each item; the results come in the order of the items. */
  async *each<T>(items: Iterable<T>, nameOf: (item: T) => string): AsyncGenerator<readonly [T, Hashed]> {
    const ahead: (readonly [T, Promise<Hashed>])[] = [];
    for (const item of items) {
      ahead.push([item, this.#hash(nameOf(item))]);
      if (ahead.length === MAX_AHEAD) yield await first(ahead);
    }
    while (ahead.length > 0) yield await first(ahead);
  }

  /** Ends the threads. */
  end(): void {
    for (const worker of this.#workers) worker.postMessage(null);
  }

  #hash(name: string): Promise<Hashed> {
    const hashed = new Promise<Hashed>((answer, fail) => {
      this.#queue.push({ request: { name, algorithm: this.#algorithm }, answer, fail });
      this.#assign();
    });
    // An error is thrown where the result is used, which may be later.
    hashed.catch(() => {});
    return hashed;
  }

  #assign(): void {
    if (this.#queue.length === 0) return;
    const worker = this.#idle.pop() ?? (this.#workers.length < this.#maxThreads ? this.#start() : null);
    if (worker === null) return;
    const next = this.#queue.shift()!;
    this.#current.set(worker, next);
    worker.postMessage(next.request);
  }

  #start(): Worker {
    const worker = new Worker(new URL("./hash-thread.js", import.meta.url), { trackUnmanagedFds: false });
    this.#workers.push(worker);
    worker.on("message", (hashed: Hashed) => {
      this.#current.get(worker)?.answer(hashed);
      this.#current.delete(worker);
      this.#idle.push(worker);
      this.#assign();
    });
    worker.on("error", (error) => {
      this.#current.get(worker)?.fail(error as Error);
      for (const { fail } of this.#queue.splice(0)) fail(error as Error);
    });
    return worker;
  }
}

async function first<T>(ahead: (readonly [T, Promise<Hashed>])[]): Promise<readonly [T, Hashed]> {
  const [item, hashed] = ahead.shift()!;
  return [item, await hashed];
}
