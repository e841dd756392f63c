/**
 * A device: serves a number of requests at a time, each for a drawn latency, and transfers all data over one link.
 * First come, first served.
 */

import type { Stream } from "../model/random.js";
import { draw } from "./distributions.js";
import type { Plan } from "./plan.js";

export class Device {
  readonly #plan: Plan["device"];
  readonly #random: Stream;
  /** Times at which its slots become free: a heap with the earliest on top. */
  readonly #freeAtMs: Float64Array;
  #linkFreeAtMs = 0;

  constructor(plan: Plan["device"], random: Stream) {
    this.#plan = plan;
    this.#random = random;
    this.#freeAtMs = new Float64Array(plan.parallel);
  }

  get memoryBytes(): number {
    return this.#freeAtMs.byteLength;
  }

  /** Serves a request that arrives now. Returns the time of its end. */
  serve(nowMs: number, bytes: number): number {
    const { latencyUs, mibPerSecond } = this.#plan;
    const began = Math.max(nowMs, this.#freeAtMs[0]!);
    const transferMs = (bytes / 2 ** 20 / mibPerSecond) * 1000;
    const linkFrom = Math.max(began, this.#linkFreeAtMs);
    this.#linkFreeAtMs = linkFrom + transferMs;
    const ended = Math.max(this.#linkFreeAtMs, began + draw(latencyUs, this.#random) / 1000);
    this.#replaceFirst(ended);
    return ended;
  }

  #replaceFirst(ms: number): void {
    const heap = this.#freeAtMs;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= ms) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = ms;
  }
}
