/**
 * Schedules memory operations on threads: requests of one lane run in order, and lanes run in parallel, each request on
 * an idle thread. So a request that waits for a device delays only those that wait for the same one.
 */

import { lackOf } from "../linux/lacks.js";

/** One thread. */
export interface Worker<Request, Result> {
  /** Runs a request; one at a time. Rejects if the thread couldn't start, or has ended. */
  run(request: Request): Promise<Result>;
  /** True if it accepts requests. */
  readonly alive: boolean;
  /** Called when the thread becomes idle: it may end itself later. */
  idle(): void;
  /** Called when the thread becomes busy. */
  busy(): void;
  /** Ends the thread; resolves once it's gone. */
  end(): Promise<void>;
}

interface Job<Request, Result> {
  readonly request: Request;
  readonly lane: string;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

export class LaneScheduler<Request, Result> {
  readonly #start: () => Worker<Request, Result>;
  readonly #most: number;
  readonly #idle: Worker<Request, Result>[] = [];
  readonly #busy = new Set<Worker<Request, Result>>();
  /** Jobs by lane. The first of each is running, or is waiting for a thread. */
  readonly #lanes = new Map<string, Job<Request, Result>[]>();
  /** Jobs that are waiting for a thread. */
  readonly #waiting: Job<Request, Result>[] = [];

  /** `start` creates a thread; at most `most` run at a time. */
  constructor(start: () => Worker<Request, Result>, most: number) {
    this.#start = start;
    this.#most = most;
  }

  run(lane: string, request: Request): Promise<Result> {
    return new Promise((resolve, reject) => {
      const job = { request, lane, resolve, reject };
      const jobs = this.#lanes.get(lane);
      if (jobs !== undefined) jobs.push(job);
      else {
        this.#lanes.set(lane, [job]);
        this.#begin(job);
      }
    });
  }

  /** Ends idle threads; resolves once they're gone. */
  async end(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((worker) => worker.end()));
  }

  #begin(job: Job<Request, Result>): void {
    const worker = this.#take();
    if (worker === null) this.#waiting.push(job);
    else void this.#work(worker, job);
  }

  /** Takes an idle thread, or starts one; null if the maximum are busy. */
  #take(): Worker<Request, Result> | null {
    for (let worker = this.#idle.pop(); worker !== undefined; worker = this.#idle.pop())
      if (worker.alive) return worker;
    return this.#busy.size < this.#most ? this.#start() : null;
  }

  async #work(worker: Worker<Request, Result>, job: Job<Request, Result>): Promise<void> {
    this.#busy.add(worker);
    worker.busy();
    try {
      job.resolve(await worker.run(job.request));
    } catch (error) {
      this.#busy.delete(worker);
      // If there is no room for another thread, the busy ones do the work.
      if (lackOf(error) !== null && this.#busy.size > 0) {
        this.#waiting.push(job);
        return;
      }
      job.reject(error);
    }
    this.#busy.delete(worker);
    if (worker.alive) {
      worker.idle();
      this.#idle.push(worker);
    }
    this.#next(job.lane);
  }

  /** Removes the lane's first job, which is done, and starts the next. */
  #next(lane: string): void {
    const jobs = this.#lanes.get(lane)!;
    jobs.shift();
    if (jobs.length === 0) this.#lanes.delete(lane);
    else this.#waiting.push(jobs[0]!);
    for (let job = this.#waiting.shift(); job !== undefined; job = this.#waiting.shift()) {
      const worker = this.#take();
      if (worker === null) {
        this.#waiting.unshift(job);
        return;
      }
      void this.#work(worker, job);
    }
  }
}
