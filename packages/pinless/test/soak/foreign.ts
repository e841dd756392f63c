// Other code of the process: threads that know nothing of the engine and throw its memory away, unmap it, or move it
// elsewhere.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import koffi, { type KoffiFunc } from "koffi";
import type { File } from "../../dist/index.js";
import { DECLARATIONS } from "../hazards/native.js";
import { BLOCK_BYTES } from "../support/blocks.js";
import type { Random } from "../support/random.js";
import { until } from "../support/until.js";
import type { Tally } from "./epoch.js";
import { CHUNK_BYTES, type Memory, PAGE_BYTES } from "./memory.js";

const VALUE = 0x77;
const PIECE_BYTES = 256 << 10;
const STORMS = ["madvise(MADV_DONTNEED)", "madvise(MADV_FREE)", "process_madvise(MADV_DONTNEED)"];

interface Bed {
  readonly file: File;
  /** A file that is only written. */
  readonly sink: File;
  readonly memory: Memory;
  readonly random: Random;
  readonly tally: Tally;
  goOn(): boolean;
}

export class Foreign {
  readonly #start: (...args: number[]) => number;
  readonly #countOf: (at: number, bytes: number, value: number) => number;
  readonly #changes: Record<string, KoffiFunc<(at: number, bytes: number, value: number) => number>>;

  /** `library`: as test/hazards/native.ts builds it. */
  constructor(library: string) {
    const lib = koffi.load(library);
    this.#start = lib.func(DECLARATIONS.start);
    this.#countOf = lib.func(DECLARATIONS.countOf);
    this.#changes = {
      "munmap, mmap": lib.func(DECLARATIONS.takeOver),
      "mmap(MAP_FIXED)": lib.func(DECLARATIONS.mapOver),
      mremap: lib.func(DECLARATIONS.moveAway),
    };
  }

  /** Throws away parts of the first chunks, by threads of its own, up to two at a time. */
  async storms({ memory, random, tally, goOn }: Bed, chunks: number): Promise<void> {
    const storm = async (): Promise<void> => {
      while (goOn()) {
        const chunk = random.below(chunks);
        const pages = CHUNK_BYTES / PAGE_BYTES;
        const first = random.below(pages - 1);
        // Two pages at least: process_madvise takes the two halves.
        const count = 2 * (1 + random.below(Math.floor((pages - first) / 2)));
        const how = random.below(STORMS.length);
        const times = 1 + random.below(8);
        const { words, over } = memory.threadOn(chunk);
        const at = memory.address + chunk * CHUNK_BYTES + first * PAGE_BYTES;
        assert.equal(this.#start(at, count * PAGE_BYTES, times, 2000, how, words), 0);
        await until("the end of a storm", over, { limitMs: 60_000 });
        tally.add(STORMS[how]!, times);
        await sleep(random.below(20));
      }
    };
    await Promise.all([storm(), storm()]);
  }

  /**
   * Takes pieces of one chunk away, one after the other. From then on I/O there fails, and what is there now stays as
   * it is.
   */
  async unmappings({ memory, file, sink, random, tally, goOn }: Bed, chunk: number): Promise<void> {
    const theirs: number[] = [];
    for (let i = 0; i < CHUNK_BYTES / PIECE_BYTES && goOn(); i++) {
      const piece = memory.all.subarray(chunk * CHUNK_BYTES + i * PIECE_BYTES).subarray(0, PIECE_BYTES);
      const block = piece.subarray(0, BLOCK_BYTES);
      for (let times = 0; times < 3; times++) await file.read(block, { position: 0 });
      const names = Object.keys(this.#changes);
      const name = names[random.below(names.length)]!;
      const at = memory.address + chunk * CHUNK_BYTES + i * PIECE_BYTES;
      const errno = await new Promise((resolve, reject) =>
        this.#changes[name]!.async(at, PIECE_BYTES, VALUE, (error, result) =>
          error === null ? resolve(result) : reject(error),
        ),
      );
      assert.equal(errno, 0, name);
      const codeOf = (io: Promise<unknown>): Promise<string> => io.then(String, ({ code }) => code);
      for (let times = 0; times < 3; times++) assert.equal(await codeOf(file.read(block, { position: 0 })), "EFAULT");
      assert.equal(await codeOf(file.read(piece, { position: 0 })), "EFAULT");
      assert.equal(await codeOf(sink.write(block, { position: 0 })), "EFAULT");
      if (name !== "mremap") theirs.push(at);
      tally.add(name);
      await sleep(random.below(500));
    }
    while (goOn()) await sleep(50);
    for (const at of theirs)
      assert.equal(this.#countOf(at, PIECE_BYTES, VALUE), PIECE_BYTES, "I/O went to memory with another owner");
  }
}
