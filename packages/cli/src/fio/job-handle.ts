/** The run's side of a job's thread. */

import { Worker } from "node:worker_threads";
import type { FileExtent, Job } from "./job.js";
import {
  type FromJob,
  type JobControl,
  type JobOrder,
  type JobOutcome,
  newControl,
  type ToJob,
} from "./run-messages.js";

export type JobState = "waiting" | "running" | "ended";

export class JobHandle {
  readonly job: Job;
  readonly control: JobControl = newControl();
  state: JobState = "waiting";
  outcome: JobOutcome | null = null;
  /** Reason why the job couldn't begin, or why its thread ended; null if neither. */
  refused: string | null = null;
  /** Time of its start, in milliseconds since the epoch. */
  startedAt = 0;
  /** Resolves once the thread has opened its files, or has ended. */
  readonly ready: Promise<void>;
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  #statusDone = (): void => {};

  constructor(job: Job, extents: readonly FileExtent[], complain: (line: string) => void) {
    this.job = job;
    const workerData: JobOrder = { job, extents, control: this.control };
    this.#worker = new Worker(new URL("./job-thread.js", import.meta.url), { workerData, trackUnmanagedFds: false });
    let isReady = (): void => {};
    let hasEnded = (): void => {};
    this.ended = new Promise((resolve) => {
      hasEnded = resolve;
    });
    this.ready = Promise.race([
      new Promise<void>((resolve) => {
        isReady = resolve;
      }),
      this.ended,
    ]);
    this.#worker.on("message", (message: FromJob) => {
      if (message.kind === "ready") isReady();
      else if (message.kind === "line") complain(message.line);
      else if (message.kind === "refused") this.refused = message.reason;
      else this.outcome = message.outcome;
      if (message.kind === "status") this.#statusDone();
    });
    this.#worker.on("error", (error) => {
      this.refused ??= error instanceof Error ? error.message : String(error);
    });
    this.#worker.on("exit", () => {
      this.state = "ended";
      this.#statusDone();
      hasEnded();
    });
  }

  go(): void {
    this.state = "running";
    this.startedAt = Date.now();
    this.#post("go");
  }

  /** Has the job issue nothing more; it ends once what's in flight has completed. */
  stop(): void {
    Atomics.store(this.control.stop, 0, 1);
    // A job that wasn't told to go has nothing to end.
    if (this.state === "waiting") this.#post("go");
  }

  /** Has the job tell its figures so far. */
  async refresh(): Promise<void> {
    if (this.state !== "running") return;
    await new Promise<void>((resolve) => {
      this.#statusDone = resolve;
      this.#post("status");
    });
  }

  #post(message: ToJob): void {
    this.#worker.postMessage(message);
  }
}
