/** Pool of exploring threads, by default one for each core. */

import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { CaseReport } from "../../check/run-case.js";
import type { Order } from "./check-thread.js";

const THREAD = new URL("./check-thread.js", import.meta.url);
/** Directory of the modules as built. */
export const BUILT = new URL("../../", import.meta.url);

/** Cases to explore with the modules of one directory. */
export interface Work {
  readonly modules: URL;
  readonly orders: readonly Order[];
  /** True to stop this work at its first violation. */
  readonly untilFound: boolean;
}

export interface PoolOptions {
  readonly threads?: number;
  readonly signal: AbortSignal;
  /** Called for each report, with the index of its work and of its case there. */
  readonly reported: (report: CaseReport, work: number, order: number) => void;
}

/**
 * Explores all works. Ends early when the signal is aborted. A thread loads the modules of one work, and ends with it.
 */
export async function runPool(works: readonly Work[], options: PoolOptions): Promise<void> {
  const next = new Array<number>(works.length).fill(0);
  /** Chooses the work for a free thread: one that no thread has yet, so that few threads load the same modules. */
  const threads = options.threads ?? availableParallelism();
  const busy = new Array<number>(works.length).fill(0);
  const pick = (): number => {
    let best = -1;
    works.forEach((work, w) => {
      if (next[w]! >= work.orders.length) return;
      if (best < 0 || busy[w]! < busy[best]!) best = w;
    });
    return best;
  };
  const serve = async (): Promise<void> => {
    for (let w = pick(); w >= 0 && !options.signal.aborted; w = pick()) {
      busy[w]!++;
      await serveWork(works[w]!, w, next, options);
      busy[w]!--;
    }
  };
  await Promise.all(Array.from({ length: threads }, serve));
}

async function serveWork(work: Work, w: number, next: number[], options: PoolOptions): Promise<void> {
  const worker = new Worker(THREAD, { execArgv: [], workerData: { modules: work.modules.href } });
  const stop = (): void => void worker.terminate();
  options.signal.addEventListener("abort", stop);
  try {
    while (next[w]! < work.orders.length && !options.signal.aborted) {
      const order = next[w]!++;
      const report = await ask(worker, work.orders[order]!);
      if (report === null) {
        if (options.signal.aborted) return;
        throw new Error(`a thread ended while it explored ${work.orders[order]!.scenario.name}`);
      }
      options.reported(report, w, order);
      if (report.violation !== null && work.untilFound) next[w] = work.orders.length;
    }
  } finally {
    options.signal.removeEventListener("abort", stop);
    await worker.terminate();
  }
}

/** Has a thread explore a case; null if the thread was ended. */
function ask(worker: Worker, order: Order): Promise<CaseReport | null> {
  return new Promise((resolve, reject) => {
    worker.removeAllListeners();
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", () => resolve(null));
    worker.postMessage(order);
  });
}
