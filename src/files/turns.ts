/**
 * The writes of one file, through the page cache and around it, never both at a time: the page that a small write fills from the disk could
 * be older than a neighbouring block on its way there, and would overwrite it later. They take turns; nobody overtakes who waits.
 */

import type { Owner } from "../core/dispatcher.js";

interface Waiting {
  readonly cached: boolean;
  readonly go: () => void;
}

export class Turns {
  /** Counts the direct writes of the hot path, which aren't entered here. */
  readonly #owner: Owner;
  readonly #waiting: Waiting[] = [];
  #cached = 0;
  #direct = 0;

  constructor(owner: Owner) {
    this.#owner = owner;
  }

  /** Whether a direct write may go now. */
  get direct(): boolean {
    return this.#cached === 0 && this.#waiting.length === 0;
  }

  /** Whether somebody waits for direct writes to end. */
  get awaited(): boolean {
    return this.#waiting.length > 0;
  }

  /** A direct write goes now, since `direct` allows it. */
  enterDirect(): void {
    this.#direct++;
  }

  async enter(cached: boolean): Promise<void> {
    if (this.#waiting.length > 0 || !this.#mayGo(cached))
      await new Promise<void>((go) => this.#waiting.push({ cached, go }));
    else this.#count(cached, 1);
  }

  leave(cached: boolean): void {
    this.#count(cached, -1);
    this.next();
  }

  /** Lets go whoever can, oldest first; counted in before it runs. */
  next(): void {
    while (this.#waiting.length > 0 && this.#mayGo(this.#waiting[0]!.cached)) {
      const { cached, go } = this.#waiting.shift()!;
      this.#count(cached, 1);
      go();
    }
  }

  #mayGo(cached: boolean): boolean {
    return cached ? this.#direct === 0 && this.#owner.directWrites === 0 : this.#cached === 0;
  }

  #count(cached: boolean, by: number): void {
    if (cached) this.#cached += by;
    else this.#direct += by;
  }
}
