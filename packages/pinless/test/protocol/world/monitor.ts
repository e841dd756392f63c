// The monitor's thread: it claims a lease, empties its slot, and says that the update has returned; anything may happen
// in between.
import { claim, returned } from "../../../dist/protocol/lease-table.js";
import type { Kernel, Registration } from "./kernel.js";
import type { Operation } from "./operations.js";

export class Monitor {
  readonly #kernel: Kernel;
  readonly #words: Int32Array;
  /** Registrations that it has claimed and is about to drop. */
  readonly #claimed: { readonly registration: Registration }[] = [];

  constructor(kernel: Kernel, words: Int32Array) {
    this.#kernel = kernel;
    this.#words = words;
  }

  claims(registration: Registration): boolean {
    return this.#claimed.some((c) => c.registration === registration);
  }

  act({ pick, steps, tag, during }: Extract<Operation, { do: "monitor" }>): void {
    const run = (): void => {
      for (let i = 0; i < steps; i++) this.#step(pick);
      if (tag) this.#kernel.postTag(pick);
    };
    if (during === null) run();
    else this.#kernel.meanwhile = { call: during, run };
  }

  /** Goes on with the first that it began; begins one if there is none. */
  #step(pick: number): void {
    const [next] = this.#claimed;
    if (next === undefined) this.#claim(pick);
    else if (next.registration.emptied === "") this.#kernel.empty(next.registration.slot, "monitor");
    else {
      this.#claimed.shift();
      next.registration.returned = true;
      returned(this.#words, next.registration.slot);
    }
  }

  #claim(pick: number): void {
    const live = this.#kernel.table.filter((r) => r !== null);
    const registration = live[pick % live.length];
    if (registration === undefined || !claim(this.#words, registration.slot)) return;
    this.#claimed.push({ registration });
  }

  finish(): void {
    this.#kernel.meanwhile = null;
    while (this.#claimed.length > 0) this.#step(0);
  }
}
