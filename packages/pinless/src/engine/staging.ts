/** A small arena through which I/O is copied if its own memory isn't an arena's, isn't aligned, or is a string's. */

import type { StagingMemory } from "../files/staging-memory.js";
import type { Arena } from "./arena.js";
import { Lazy } from "./lazy.js";

const ARENA_BYTES = 4 << 20;

export class Staging implements StagingMemory {
  readonly #arena: Lazy<Arena>;
  readonly #grows: boolean;
  readonly #waiting: (() => void)[] = [];

  /**
   * With `grows`, for pieces that may be held for ever (of pipes), a call that finds no room gets new memory. Otherwise
   * it waits for a piece.
   */
  constructor(make: (bytes: number) => Promise<Arena>, { grows = false }: { readonly grows?: boolean } = {}) {
    this.#arena = new Lazy(() => make(ARENA_BYTES));
    this.#grows = grows;
  }

  async acquire(bytes: number): Promise<Uint8Array> {
    const arena = await this.#arena.get();
    for (;;) {
      try {
        return arena.alloc(bytes);
      } catch (error) {
        if ((error as { code?: string }).code !== "ERR_PINLESS_ARENA_FULL") throw error;
      }
      if (this.#grows) await arena.grow(ARENA_BYTES);
      else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async release(piece: Uint8Array): Promise<void> {
    await (await this.#arena.get()).free(piece);
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
