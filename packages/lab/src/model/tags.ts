/**
 * Time at which a dropped registration releases its pages and posts its tag.
 *
 * Since Linux 6.13 that is the end of its own last request. Before (io_rsrc_node_ref_zero) registrations were released
 * in the order of the drops, each after all earlier requests by registered buffers, whichever buffer they used, and
 * after a delay: a second on 6.1, and not at all while a read of a pipe was pending in another buffer.
 */

import type { Machine } from "./machine.js";

export const TAG_WAYS = ["own", "in order"] as const;
export type TagWay = (typeof TAG_WAYS)[number];

interface Drop {
  readonly slot: number;
  /** Requests by registered buffers that were in the kernel before the drop. */
  readonly after: Set<number>;
}

export class Tags {
  readonly #machine: Machine;
  readonly #way: TagWay;
  readonly #delayMs: number;
  readonly #post: (slot: number) => void;
  /** Requests by registered buffers that are in the kernel. */
  readonly #inKernel = new Set<number>();
  readonly #drops: Drop[] = [];

  constructor(machine: Machine, way: TagWay, delayMs: number, post: (slot: number) => void) {
    this.#machine = machine;
    this.#way = way;
    this.#delayMs = delayMs;
    this.#post = post;
  }

  /** Empties a slot of the machine's buffer table. */
  drop(slot: number): void {
    if (this.#way === "own") {
      if (this.#machine.disk.unregister(slot)) this.#due(slot);
      return;
    }
    this.#machine.disk.unregisterLater(slot);
    this.#drops.push({ slot, after: new Set(this.#inKernel) });
    this.#next();
  }

  /** Notes the submission of a request by a registered buffer. */
  begun(request: number): void {
    if (this.#way === "in order") this.#inKernel.add(request);
  }

  /** Notes that the kernel released a request. `slot` is the registration that was released with it, or -1. */
  ended(request: number, slot: number): void {
    if (slot >= 0) this.#due(slot);
    if (!this.#inKernel.delete(request)) return;
    for (const { after } of this.#drops) after.delete(request);
    this.#next();
  }

  #next(): void {
    while (this.#drops[0]?.after.size === 0) {
      const { slot } = this.#drops.shift()!;
      this.#machine.clock.after(this.#delayMs, () => {
        this.#machine.disk.releaseLater(slot);
        this.#post(slot);
      });
    }
  }

  #due(slot: number): void {
    if (this.#delayMs === 0) this.#post(slot);
    else this.#machine.clock.after(this.#delayMs, () => this.#post(slot));
  }
}
