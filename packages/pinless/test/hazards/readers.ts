// Reads that go on while their memory changes, and that check their bytes.
import assert from "node:assert/strict";
import type { File } from "../../dist/index.js";
import { BLOCK_BYTES, wrongBlocks } from "../support/blocks.js";
import { Random } from "../support/random.js";

/** Reads of a numbered file into random places of some memory; each checks its bytes. */
export class Readers {
  reads = 0;
  readonly #wrong: string[] = [];
  readonly #running: Promise<unknown>;
  #goOn = true;

  /** `count` of them, each with places of its own; the file has `blocks` blocks. */
  constructor(file: File, memory: Uint8Array, blocks: number, count = 16) {
    const locations = Math.floor(memory.byteLength / BLOCK_BYTES / count);
    const reader = async (id: number): Promise<void> => {
      const random = new Random(id);
      while (this.#goOn) {
        const at = (random.below(locations) * count + id) * BLOCK_BYTES;
        const buffer = memory.subarray(at, at + BLOCK_BYTES);
        const block = random.below(blocks);
        buffer.fill(0x11);
        await file.read(buffer, { position: block * BLOCK_BYTES });
        const difference = wrongBlocks(buffer, block);
        if (difference !== null) this.#wrong.push(difference);
        this.reads++;
      }
    };
    this.#running = Promise.all(Array.from({ length: count }, (_, id) => reader(id)));
    // stop() rejects with the error.
    this.#running.catch(() => {});
  }

  /** Resolves once they have ended; every read so far had its bytes. */
  async stop(): Promise<void> {
    this.#goOn = false;
    await this.#running;
    assert.deepEqual(this.#wrong, []);
    assert.ok(this.reads > 0);
  }
}
