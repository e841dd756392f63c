/** Reads and writes of any place, length and memory, against a byte array. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { Random } from "../support/random.js";
import { rounds } from "../support/rounds.js";
import { type Ground, withEngine } from "./ground.js";

const MIB = 1 << 20;
const LIMIT = 40_000;

/** Bytes of a file as they should be; grows as files do. */
class Bytes {
  bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  write(part: Uint8Array, at: number): void {
    if (at + part.length > this.bytes.length) {
      const grown = new Uint8Array(at + part.length);
      grown.set(this.bytes);
      this.bytes = grown;
    }
    this.bytes.set(part, at);
  }

  read(at: number, length: number): Uint8Array {
    return this.bytes.subarray(at, at + length);
  }
}

const location = fc.oneof(
  fc.integer({ min: 0, max: 10 }).map((n) => n * BLOCK_BYTES),
  fc.nat(LIMIT),
);
const length = fc.oneof(
  fc.integer({ min: 0, max: 6 }).map((n) => n * BLOCK_BYTES),
  fc.nat(3 * BLOCK_BYTES),
);
const operation = fc.record({
  write: fc.boolean(),
  location,
  length,
  memory: fc.constantFrom("arena", "shifted", "heap"),
  seed: fc.nat(),
});

export function transfers(ground: Ground): void {
  const named = (name: string): string => `${ground.name}: ${name}`;

  test(named("File.read and File.write do what a byte array does, for any place, length and memory"), () =>
    withEngine(ground, { depth: 4 }, async (engine) => {
      const arena = await engine.arena({ bytes: 2 * MIB });
      const memory = arena.alloc(64 * 1024);
      await fc.assert(
        fc.asyncProperty(
          fc.nat(LIMIT),
          fc.array(operation, { minLength: 1, maxLength: 25 }),
          async (size, operations) => {
            const content = new Random(size).bytes(size);
            const path = await ground.file(content);
            const file = await engine.openFile(path, "r+");
            const model = new Bytes(content.slice());
            for (const { write, location, length, memory: kind, seed } of operations) {
              const shift = kind === "shifted" ? 1 + (seed % 511) : 0;
              const buffer = kind === "heap" ? new Uint8Array(length) : memory.subarray(shift, shift + length);
              if (write) {
                buffer.set(new Random(seed).bytes(length));
                const { bytesWritten } = await file.write(buffer, { position: location });
                assert.equal(bytesWritten, length);
                if (length > 0) model.write(buffer, location);
              } else {
                buffer.fill(0x77);
                const { bytesRead } = await file.read(buffer, { position: location });
                const expected = model.read(location, length);
                assert.equal(bytesRead, expected.length);
                assert.ok(Buffer.from(buffer.buffer, buffer.byteOffset, bytesRead).equals(expected), "other bytes");
                assert.ok(buffer.subarray(bytesRead).every((byte) => byte === 0x77) || bytesRead < length);
              }
            }
            await file.close();
            assert.ok(Buffer.from(await ground.contentOf(path)).equals(model.bytes), "the file holds other bytes");
          },
        ),
        { numRuns: 60 },
      );
    }),
  );

  test(named("File: concurrent writes of neighbouring bytes and blocks lose nothing"), async () => {
    const batch = 128;
    const blocks = rounds(2, 4) * batch;
    // Open once, and twice: it's one file all the same.
    for (const [depth, files] of [
      [2, 1],
      [64, 1],
      [64, 2],
    ] as const) {
      const path = await ground.file(new Uint8Array(0));
      await withEngine(ground, { depth }, async (engine) => {
        const arena = await engine.arena({ bytes: 12 * MIB });
        const file = await engine.openFile(path, "r+");
        const other = files === 1 ? file : await engine.openFile(path, "r+");
        const model = new Uint8Array(blocks * BLOCK_BYTES);
        // Written around the page cache, so that a small write has to fill its page from the disk.
        await file.write(arena.alloc(model.byteLength), { position: 0 });
        const random = new Random(depth);
        const sectors = Array.from({ length: batch }, () => arena.alloc(512));
        for (let first = 0; first < blocks; first += batch) {
          // Disjoint pieces of every block, all at once: aligned sectors of the device, and odd bytes beside them.
          const writes: Promise<unknown>[] = [];
          for (let i = 0; i < batch; i++) {
            const value = 1 + random.below(254);
            const block = (first + i) * BLOCK_BYTES;
            const sector = 512 * random.below(8);
            const odd = ((sector + 512) % BLOCK_BYTES) + random.below(256);
            const straight = sectors[i]!.fill(value);
            const bytes = new Uint8Array(1 + random.below(255)).fill(value ^ 0xff);
            model.set(straight, block + sector);
            model.set(bytes, block + odd);
            const memory = random.below(2) === 0 ? straight : Uint8Array.from(straight);
            const both = [
              () => file.write(memory, { position: block + sector }),
              () => other.write(bytes, { position: block + odd }),
            ];
            if (random.below(2) === 0) both.reverse();
            for (const write of both) writes.push(write());
          }
          await Promise.all(writes);
        }
        await file.sync();
        const got = Buffer.from(await ground.contentOf(path));
        const wrong = got.findIndex((byte, i) => byte !== model[i]);
        assert.equal(wrong, -1, `depth ${depth}: byte ${wrong} is ${got[wrong]} for ${model[wrong]}`);
      });
    }
  });

  test(named("File.read ends where the file ends, and gives 0 bytes behind it"), async () => {
    await withEngine(ground, { depth: 4 }, async (engine) => {
      const buffer = (await engine.arena({ bytes: 2 * MIB })).alloc(4 * BLOCK_BYTES);
      for (const size of [0, 1, 511, 512, 4096, 4097, 3 * BLOCK_BYTES - 1]) {
        const content = new Random(size).bytes(size);
        const file = await engine.openFile(await ground.file(content), "r");
        for (const target of [buffer, new Uint8Array(4 * BLOCK_BYTES)]) {
          for (const position of [0, 4096, 8192, 1 << 20, 2 ** 40]) {
            const { bytesRead } = await file.read(target, { position });
            assert.equal(bytesRead, Math.max(0, size - position), `${size} bytes read at ${position}`);
            assert.ok(Buffer.from(content.subarray(position)).equals(target.subarray(0, bytesRead)));
          }
        }
      }
    });
  });

  test(named("File.read and File.write of more than a chunk, a piece of staging, and the whole depth"), async () => {
    const blocks = 2048;
    const path = await ground.file(new Uint8Array(blocks * BLOCK_BYTES));
    await withEngine(ground, { depth: 2 }, async (engine) => {
      const file = await engine.openFile(path, "r+");
      const content = numberedBlocks(blocks);
      const arena = await engine.arena({ bytes: 12 * MIB });
      const memory = arena.alloc(blocks * BLOCK_BYTES);
      memory.set(content);
      assert.equal((await file.write(memory, { position: 0 })).bytesWritten, memory.byteLength);
      assert.equal(wrongBlocks(await ground.contentOf(path), 0), null);
      const heap = new Uint8Array(content.byteLength);
      assert.equal((await file.read(heap, { position: 0 })).bytesRead, heap.byteLength);
      assert.equal(wrongBlocks(heap, 0), null);
      assert.equal((await file.write(heap, { position: 7 })).bytesWritten, heap.byteLength);
      memory.fill(0);
      assert.equal((await file.read(memory, { position: 7 })).bytesRead, memory.byteLength);
      assert.equal(wrongBlocks(memory, 0), null);
    });
  });
}
