// The loop as a port whose queues are emptied by hand, and whose clock stands still until it's set.
import type { Loop } from "../../../dist/protocol/scheme.js";

export class ManualLoop implements Loop {
  now = 1;
  /** Time when the clock was last read. */
  read = 1;
  readonly errors: unknown[] = [];
  readonly #microtasks: (() => void)[] = [];
  readonly #soon: (() => void)[] = [];

  get microtasks(): number {
    return this.#microtasks.length;
  }

  get asleep(): boolean {
    return this.#microtasks.length === 0 && this.#soon.length === 0;
  }

  nowMs(): number {
    this.read = this.now;
    return this.now | 0;
  }

  preciseMs(): number {
    return this.now;
  }

  microtask(run: () => void): void {
    this.#microtasks.push(run);
  }

  soon(run: () => void): void {
    this.#soon.push(run);
  }

  every(): never {
    throw new Error("core has no timers");
  }

  after(): never {
    throw new Error("core has no timers");
  }

  uncaught(error: unknown): void {
    this.errors.push(error);
  }

  runMicrotasks(): void {
    for (let run = this.#microtasks.shift(); run !== undefined; run = this.#microtasks.shift()) run();
  }

  /** Runs one turn of the host's loop: one callback, then its microtasks. */
  runSoon(): boolean {
    this.runMicrotasks();
    const run = this.#soon.shift();
    run?.();
    this.runMicrotasks();
    return run !== undefined;
  }

  runAll(): void {
    this.runMicrotasks();
    while (this.runSoon());
  }
}
