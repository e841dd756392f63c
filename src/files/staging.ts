/** A small arena that I/O goes through when its memory can't be used directly: not an arena's, not aligned, or a string's. */

import type { Arena } from "../arena.js";
import { Kept } from "../core/kept.js";

/** Large transfers go in pieces of this: registered I/O gains nothing from more. */
export const PIECE_BYTES = 1 << 20;
/** What a pipe holds, if nobody has asked for more. */
export const PIPE_PIECE_BYTES = 64 << 10;
const ARENA_BYTES = 4 << 20;

export class Staging {
  readonly #arena: Kept<Arena>;
  readonly #grows: boolean;
  readonly #waiting: (() => void)[] = [];

  /** `grows`: for pieces that nobody knows the end of; with others, whoever finds no room waits. */
  constructor(make: (bytes: number) => Promise<Arena>, grows = false) {
    this.#arena = new Kept(() => make(ARENA_BYTES));
    this.#grows = grows;
  }

  /** A piece of at most `PIECE_BYTES`, in the order of asking; `release` it. */
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
