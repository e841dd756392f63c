/** Runs the lease clock (protocol/monitor/lease-clock.ts) by timers of this thread. */

import { BufferUpdate } from "../linux/buffer-update.js";
import { monotonicMs } from "../linux/monotonic-clock.js";
import { LeaseClock } from "../protocol/monitor/lease-clock.js";
import { perform } from "./run-coroutine.js";

const noWord = new Int32Array(1);

export class LeaseTimer {
  readonly clock = new LeaseClock();
  #timer: NodeJS.Timeout | null = null;

  watch(id: number, leases: Int32Array, ringFd: number): void {
    const update = new BufferUpdate(ringFd);
    this.clock.watch(id, leases, (slot) => void update.set(slot, 0, 0, 0, 0));
  }

  /** Runs repeatedly until no lease is held. */
  readonly tick = (): void => {
    if (this.#timer !== null) clearTimeout(this.#timer);
    const sleepMs = perform(this.clock.tick(monotonicMs() | 0), noWord);
    this.#timer = sleepMs === Number.POSITIVE_INFINITY ? null : setTimeout(this.tick, sleepMs);
  };
}
