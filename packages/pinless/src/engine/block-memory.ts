/** Memory for the blocks of streams: arenas that are made as they are needed, and closed once they are unused. */

import type { StagingMemory } from "../files/staging-memory.js";
import type { Arena } from "./arena.js";

const ARENA_BYTES = 4 << 20;

export class BlockMemory implements StagingMemory {
  readonly #make: (bytes: number) => Promise<Arena>;
  /** Number of blocks in use, by arena. */
  readonly #arenas = new Map<Arena, number>();
  readonly #owners = new Map<Uint8Array, Arena>();
  #making: Promise<unknown> = Promise.resolve();

  constructor(make: (bytes: number) => Promise<Arena>) {
    this.#make = make;
  }

  async acquire(bytes: number): Promise<Uint8Array> {
    const room = this.#allocate(bytes);
    if (room !== null) return room;
    const made = this.#making.then(async () => {
      const late = this.#allocate(bytes);
      if (late !== null) return late;
      this.#arenas.set(await this.#make(Math.max(ARENA_BYTES, bytes)), 0);
      return this.#allocate(bytes)!;
    });
    this.#making = made.catch(() => {});
    return made;
  }

  #allocate(bytes: number): Uint8Array | null {
    for (const [arena, used] of this.#arenas) {
      try {
        const block = arena.alloc(bytes);
        this.#arenas.set(arena, used + 1);
        this.#owners.set(block, arena);
        return block;
      } catch (error) {
        if ((error as { code?: string }).code !== "ERR_PINLESS_ARENA_FULL") throw error;
      }
    }
    return null;
  }

  async release(block: Uint8Array): Promise<void> {
    const arena = this.#owners.get(block)!;
    this.#owners.delete(block);
    await arena.free(block);
    const used = this.#arenas.get(arena)! - 1;
    this.#arenas.set(arena, used);
    // One arena is kept, for the next stream.
    if (used > 0 || this.#arenas.size === 1) return;
    this.#arenas.delete(arena);
    await arena.close();
  }
}
