/**
 * Which thread does what, and when: requests of one lane go one after the other, lanes beside each other, each request on a thread that
 * has nothing else to do. What waits for a device stands in front of nothing but what waits for the same one.
 */

import { lackOf } from "../linux/lacks.js";

/** One thread. */
export interface Worker<Request, Result> {
  /** One at a time. Rejects where the thread couldn't start, or has ended. */
  run(request: Request): Promise<Result>;
  /** Whether it can be given anything. */
  readonly alive: boolean;
  /** It has nothing to do, for now; or it has. */
  rest(resting: boolean): void;
  /** Resolves once nothing is left of it. */
  end(): Promise<void>;
}

interface Job<Request, Result> {
  readonly request: Request;
  readonly lane: string;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

export class Lanes<Request, Result> {
  readonly #start: () => Worker<Request, Result>;
  readonly #most: number;
  readonly #idle: Worker<Request, Result>[] = [];
  readonly #busy = new Set<Worker<Request, Result>>();
  /** The first job of each is being done, or waits for a thread. */
  readonly #lanes = new Map<string, Job<Request, Result>[]>();
  /** Those that wait for a thread. */
  readonly #waiting: Job<Request, Result>[] = [];

  /** `start`: a new thread; `most` of them at a time. */
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

  /** Ends the threads that have nothing to do; resolves once nothing is left of them. */
  async end(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((worker) => worker.end()));
  }

  #begin(job: Job<Request, Result>): void {
    const worker = this.#take();
    if (worker === null) this.#waiting.push(job);
    else void this.#work(worker, job);
  }

  /** A thread that rests, or a new one; null: all that there may be are at work. */
  #take(): Worker<Request, Result> | null {
    for (let worker = this.#idle.pop(); worker !== undefined; worker = this.#idle.pop())
      if (worker.alive) return worker;
    return this.#busy.size < this.#most ? this.#start() : null;
  }

  async #work(worker: Worker<Request, Result>, job: Job<Request, Result>): Promise<void> {
    this.#busy.add(worker);
    worker.rest(false);
    try {
      job.resolve(await worker.run(job.request));
    } catch (error) {
      this.#busy.delete(worker);
      // There may be no room for one thread more: then those that are there have to do it.
      if (lackOf(error) !== null && this.#busy.size > 0) {
        this.#waiting.push(job);
        return;
      }
      job.reject(error);
    }
    this.#busy.delete(worker);
    if (worker.alive) {
      worker.rest(true);
      this.#idle.push(worker);
    }
    this.#next(job.lane);
  }

  /** The lane's first job has been done. */
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
