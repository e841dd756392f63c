/**
 * The monitor's loop: runs its jobs one after the other, with timers between them. It is the same on a thread and in
 * virtual time.
 */

import type { MonitorMachine } from "./state-machine.js";

export interface MonitorLoopParts {
  readonly monitor: MonitorMachine;
  /** Queues a job: calls `begin`, has the machine take its steps until it's watching again, and calls `done`. */
  run(begin: () => void, done: () => void): void;
  /** Calls `look` after `ms`, which may be too short for a timer. */
  lookAfter(ms: number, look: () => void): void;
  /** Calls `tick` after `ms`; returns a function that cancels that. */
  tickAfter(ms: number, tick: () => void): () => void;
  /** Time of the engine's clock, by which leases age. */
  leaseNowMs(): number;
  /** Handles the messages that the engine's thread has sent meanwhile: above all, which segments to follow. */
  obey(): void;
  /** Has `readable` called once an event can be read. */
  arm(): void;
}

export class MonitorLoop {
  readonly #parts: MonitorLoopParts;
  #isToLook = false;
  #cancelTick: () => void = () => {};

  constructor(parts: MonitorLoopParts) {
    this.#parts = parts;
  }

  /** Handles an event that can be read. */
  readonly readable = (): void => {
    const { monitor, run, obey, arm } = this.#parts;
    const begin = (): void => {
      obey();
      monitor.readable();
    };
    run(begin, () => {
      arm();
      this.#lookSoon();
    });
  };

  /** Drops leases that are due, and ticks again for as long as any is held. */
  readonly tick = (): void => {
    const { monitor, run, tickAfter, leaseNowMs } = this.#parts;
    this.#cancelTick();
    let nextMs = 0;
    const begin = (): void => {
      nextMs = monitor.tick(leaseNowMs());
    };
    run(begin, () => {
      if (nextMs !== Number.POSITIVE_INFINITY) this.#cancelTick = tickAfter(nextMs, this.tick);
    });
  };

  #lookSoon(): void {
    const ms = this.#isToLook ? null : this.#parts.monitor.nextLookMs();
    if (ms === null) return;
    this.#isToLook = true;
    this.#parts.lookAfter(ms, this.#look);
  }

  readonly #look = (): void => {
    const { monitor, run } = this.#parts;
    const begin = (): void => {
      this.#isToLook = false;
      monitor.look();
    };
    run(begin, () => this.#lookSoon());
  };
}
