/** A device: so many requests at a time, each of which takes what is drawn for it, and one link that all data goes over. First come, first served. */

import type { Stream } from "../model/random.js";
import { draw } from "./distributions.js";
import type { Plan } from "./plan.js";

export class Device {
  readonly #plan: Plan["device"];
  readonly #random: Stream;
  /** When each of its places is free again: a heap, the first one on top. */
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

  /** A request comes now; when it has ended. */
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
