// An epoch's memory, with a count of the discards of its parts.
import koffi from "koffi";
import type { Arena } from "../../dist/index.js";
import { BEGUN, DONE, ENDED, FAILED } from "../hazards/native.js";
import { addressOf } from "../support/proc.js";

export const CHUNK_BYTES = 2 << 20;
export const PAGE_BYTES = 4096;
const WORDS = 16;

/** State of the discards when I/O began. */
export interface Moment {
  readonly chunk: number;
  readonly begun: number;
  readonly quiet: boolean;
}

/** All of an arena. Each 2 MiB has a count of discards, by any thread, in words that native threads share. */
export class Memory {
  readonly all: Uint8Array;
  readonly address: number;
  readonly chunks: number;
  readonly #words: Int32Array;
  readonly #started: number[];

  /** A new arena, free except for its last chunk. */
  static async of(arena: Arena): Promise<Memory> {
    const all = arena.alloc(arena.bytes);
    await arena.free(all);
    const others = arena.alloc(arena.bytes - CHUNK_BYTES);
    arena.alloc(CHUNK_BYTES);
    await arena.free(others);
    return new Memory(all);
  }

  private constructor(all: Uint8Array) {
    this.all = all;
    this.address = addressOf(all);
    this.chunks = all.byteLength / CHUNK_BYTES;
    this.#words = new Int32Array(new SharedArrayBuffer(this.chunks * WORDS * 4));
    this.#started = new Array<number>(this.chunks).fill(0);
  }

  moment(buffer: Uint8Array): Moment | null {
    if (buffer.buffer !== this.all.buffer) return null;
    const chunk = Math.floor((buffer.byteOffset - this.all.byteOffset) / CHUNK_BYTES);
    const ended = Atomics.load(this.#words, chunk * WORDS + ENDED);
    const begun = Atomics.load(this.#words, chunk * WORDS + BEGUN);
    return { chunk, begun, quiet: begun === ended };
  }

  /** True if nothing was discarded since. Memory that isn't the arena's is always quiet. */
  wasQuiet(since: Moment | null): boolean {
    return since === null || (since.quiet && Atomics.load(this.#words, since.chunk * WORDS + BEGUN) === since.begun);
  }

  /** A discard of our own. */
  async discarding<T>(chunk: number, discard: () => Promise<T>): Promise<T> {
    Atomics.add(this.#words, chunk * WORDS + BEGUN, 1);
    try {
      return await discard();
    } finally {
      Atomics.add(this.#words, chunk * WORDS + ENDED, 1);
    }
  }

  /** Words in which a native thread counts; `over` is true once all discards started on the chunk are done. */
  threadOn(chunk: number): { words: number; over: () => boolean } {
    const at = chunk * WORDS;
    const count = ++this.#started[chunk]!;
    return {
      words: Number(koffi.address(new Uint8Array(this.#words.buffer))) + at * 4,
      over: () => {
        const errno = Atomics.load(this.#words, at + FAILED);
        if (errno !== 0) throw new Error(`madvise failed: errno ${errno}`);
        return Atomics.load(this.#words, at + DONE) >= count;
      },
    };
  }
}
