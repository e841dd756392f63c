/** Times at which a job may issue its next request: rates and thinking. */

import type { Access, Direction, Job } from "./job.js";

export class Pacing {
  readonly #job: Job;
  readonly #bytesPerMs: Readonly<Record<Direction, number>>;
  /** Time at which the next request of a direction may go, in milliseconds since the start. */
  readonly #nextMs: Record<Direction, number> = { read: 0, write: 0, trim: 0 };
  #blocks = 0;

  constructor(job: Job) {
    this.#job = job;
    const rateOf = (direction: Direction): number =>
      Math.max(job.rate[direction], job.rateIops[direction] * job.blockSize[direction].min) / 1e3;
    this.#bytesPerMs = { read: rateOf("read"), write: rateOf("write"), trim: rateOf("trim") };
  }

  /** True if there is anything to wait for, so that other jobs needn't ask. */
  get isNeeded(): boolean {
    const { read, write, trim } = this.#bytesPerMs;
    return read + write + trim > 0 || this.#job.thinktimeUs > 0;
  }

  /** Milliseconds until a request may go; 0 if it may go now. */
  waitMs({ direction }: Access, sinceStartMs: number): number {
    return Math.max(0, this.#nextMs[direction] - sinceStartMs);
  }

  /** Notes that a request goes; true if the job is to think once it and those before it have completed. */
  issued({ direction, bytes }: Access): boolean {
    const rate = this.#bytesPerMs[direction];
    if (rate > 0) {
      const gap = bytes / rate;
      this.#nextMs[direction] += this.#job.rateProcess === "poisson" ? -gap * Math.log(1 - Math.random()) : gap;
    }
    return this.#job.thinktimeUs > 0 && ++this.#blocks % this.#job.thinktimeBlocks === 0;
  }

  /** Thinks: the processor works for a part of the time, and the rest is sleep, in milliseconds. */
  think(): number {
    const { thinktimeUs, thinktimeSpinUs } = this.#job;
    const until = performance.now() + thinktimeSpinUs / 1e3;
    while (performance.now() < until);
    if (this.#job.rateIgnoreThinktime)
      for (const direction of ["read", "write", "trim"] as const) this.#nextMs[direction] -= thinktimeUs / 1e3;
    return Math.max(0, thinktimeUs - thinktimeSpinUs) / 1e3;
  }
}
