/** The monitor's lease clock, as core/lease-clock.ts: gives leases back that are due while the engine's thread is busy. */

import { forEachDue } from "pinless/portable";
import type { Ground } from "./context.js";
import type { CheckKernel } from "./kernel.js";
import * as S from "./state.js";

export class LeaseClock {
  readonly #ground: Ground;
  readonly #kernel: CheckKernel;

  constructor(ground: Ground, kernel: CheckKernel) {
    this.#ground = ground;
    this.#kernel = kernel;
  }

  /** A lease that is due while the engine doesn't look, or -1. */
  get due(): number {
    const { w } = this.#ground;
    if (w[S.STALLED] === 0 || w[S.CLOCK_SLOT] !== 0 || this.#ground.hasLostMonitor) return -1;
    let due = -1;
    forEachDue(this.#kernel.leases!, w[S.TIME_MS]!, (slot) => {
      if (due < 0) due = slot;
    });
    return due;
  }

  get mayStep(): boolean {
    return this.#ground.w[S.CLOCK_SLOT] !== 0 || this.due >= 0;
  }

  step(): void {
    const { w } = this.#ground;
    const slot = w[S.CLOCK_SLOT]! - 1;
    if (slot < 0) {
      const due = this.due;
      if (this.#kernel.claim(due)) w[S.CLOCK_SLOT] = due + 1;
    } else if (w[S.CLOCK_STEP] === 0) {
      this.#kernel.empty(slot);
      w[S.CLOCK_STEP] = 1;
    } else {
      this.#kernel.returned(slot);
      w[S.CLOCK_SLOT] = 0;
      w[S.CLOCK_STEP] = 0;
    }
  }
}
