// Notes the first violation of a run. An error thrown inside a callback may be caught on the way, so `verdict` throws
// it again.
import type { Invariant } from "../../../dist/protocol/assert.js";

class Violation extends Error {
  override readonly name = "Violation";

  constructor(invariant: Invariant, detail: string) {
    super(`${invariant}: ${detail}`);
  }
}

export class Judge {
  /** Counts everything that happens in the kernel: the order of events, as a number. */
  step = 0;
  #first: Error | null = null;

  require(invariant: Invariant, holds: boolean, detail: () => string): asserts holds {
    if (holds) return;
    this.#first ??= new Violation(invariant, detail());
    throw this.#first;
  }

  /** Notes an error that other code threw. */
  note(error: unknown): void {
    this.#first ??= error instanceof Error ? error : new Error(String(error));
  }

  verdict(): void {
    if (this.#first !== null) throw this.#first;
  }
}
