/** Acceptance, order and completion of requests. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { PortableEngine } from "../../dist/engine/engine.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { Random } from "../support/random.js";
import { type Ground, withEngine } from "./ground.js";

const BLOCKS = 256;

export function submission(ground: Ground): void {
  const named = (name: string): string => `${ground.name}: ${name}`;
  const onFile = async (
    depth: number,
    flags: string,
    body: (engine: PortableEngine, file: Awaited<ReturnType<PortableEngine["openFile"]>>) => Promise<void>,
  ): Promise<void> => {
    const path = await ground.file(numberedBlocks(BLOCKS));
    await withEngine(ground, { depth }, async (engine) => body(engine, await engine.openFile(path, flags)));
  };

  test(named("File.submit answers queued up to the depth, then busy"), () =>
    onFile(4, "r", async (engine, file) => {
      const arena = await engine.arena({ bytes: 1 << 20 });
      let done = 0;
      const answers = [];
      for (let i = 0; i < 6; i++)
        answers.push(file.submit("read", arena.alloc(BLOCK_BYTES), i * BLOCK_BYTES, () => done++));
      assert.deepEqual(answers, ["queued", "queued", "queued", "queued", "busy", "busy"]);
      assert.equal(done, 0);
      await engine.drained();
      assert.ok(done > 0, "drained() resolved before anything was done");
      assert.equal(
        file.submit("read", arena.alloc(BLOCK_BYTES), 0, () => done++),
        "queued",
      );
      await file.close();
      assert.equal(done, 5, "a request was lost, or a refused one was done");
    }),
  );

  test(named("Engine.drained resolves at once while there is room"), () =>
    onFile(4, "r", async (engine) => {
      await engine.drained();
    }),
  );

  test(named("File.submit calls done exactly once and never inside submit"), () =>
    onFile(8, "r+", async (engine, file) => {
      const arena = await engine.arena({ bytes: 1 << 20 });
      const rounds = 500;
      const calls = new Uint8Array(rounds);
      let submitting = false;
      const buffers = Array.from({ length: 8 }, () => arena.alloc(BLOCK_BYTES));
      // Straight, by a heap buffer, unaligned, and one that fails: every way a request can take.
      const foreign = new Uint8Array(BLOCK_BYTES);
      for (let i = 0; i < rounds; i++) {
        const kind = i % 4;
        const buffer = kind === 1 ? foreign : kind === 2 ? buffers[i % 8]!.subarray(0, 100) : buffers[i % 8]!;
        const done = (errno: number, bytes: number, back: ArrayBufferView): void => {
          assert.equal(submitting, false, "done was called inside submit");
          assert.equal(errno, 0);
          assert.equal(bytes, buffer.byteLength);
          assert.equal(back, buffer);
          calls[i]!++;
        };
        for (;;) {
          submitting = true;
          const answer = file.submit("read", buffer, (i % BLOCKS) * BLOCK_BYTES, done);
          submitting = false;
          if (answer === "queued") break;
          assert.equal(answer, "busy");
          await engine.drained();
        }
      }
      await file.close();
      assert.deepEqual([...new Set(calls)], [1]);
    }),
  );

  test(named("File.submit from inside done goes on in the same turn and loses nothing"), () =>
    onFile(2, "r", async (engine, file) => {
      const arena = await engine.arena({ bytes: 1 << 20 });
      const buffer = arena.alloc(BLOCK_BYTES);
      let left = 1000;
      await new Promise<void>((resolve, reject) => {
        const done = (errno: number): void => {
          if (errno !== 0) reject(new Error(`errno ${errno}`));
          else if (--left === 0) resolve();
          else if (file.submit("read", buffer, (left % BLOCKS) * BLOCK_BYTES, done) !== "queued")
            reject(new Error("busy"));
        };
        file.submit("read", buffer, 0, done);
      });
      assert.equal(left, 0);
      assert.equal(engine.stats().submitted, 1000);
      assert.equal(engine.stats().completed, 1000);
    }),
  );

  test(named("File.read beyond the depth starts in the order of the calls"), () =>
    onFile(1, "r", async (engine, file) => {
      const arena = await engine.arena({ bytes: 1 << 20 });
      const order: number[] = [];
      const reads = Array.from({ length: 50 }, (_, i) => {
        const buffer = arena.alloc(BLOCK_BYTES);
        return file.read(buffer, { position: i * BLOCK_BYTES }).then(({ bytesRead }) => {
          assert.equal(bytesRead, BLOCK_BYTES);
          assert.equal(wrongBlocks(buffer, i), null);
          order.push(i);
        });
      });
      await Promise.all(reads);
      assert.deepEqual(
        order,
        Array.from({ length: 50 }, (_, i) => i),
      );
    }),
  );

  for (const depth of [1, 8, 128]) {
    test(named(`File.read: 3,000 random reads at depth ${depth} give the right bytes`), () =>
      onFile(depth, "r", async (engine, file) => {
        const arena = await engine.arena({ bytes: 16 << 20 });
        const random = new Random(depth);
        const worker = async (count: number): Promise<void> => {
          const buffer = arena.alloc(4 * BLOCK_BYTES);
          for (let i = 0; i < count; i++) {
            const blocks = 1 + random.below(4);
            const first = random.below(BLOCKS - blocks);
            const part = buffer.subarray(0, blocks * BLOCK_BYTES);
            const { bytesRead } = await file.read(part, { position: first * BLOCK_BYTES });
            assert.equal(bytesRead, part.byteLength);
            assert.equal(wrongBlocks(part, first), null);
          }
        };
        const workers = Math.min(256, 2 * depth);
        await Promise.all(Array.from({ length: workers }, () => worker(Math.ceil(3000 / workers))));
        const { submitted, completed, failed } = engine.stats();
        assert.ok(submitted >= 3000);
        assert.deepEqual({ completed, failed }, { completed: submitted, failed: 0 });
      }),
    );
  }

  for (const depth of [1, 3, 128]) {
    test(named(`Engine.close at depth ${depth} completes everything that was asked for`), async () => {
      const path = await ground.file(numberedBlocks(BLOCKS));
      const engine = await ground.open({ depth });
      const file = await engine.openFile(path, "r+");
      const arena = await engine.arena({ bytes: 4 << 20 });
      let submitted = 0;
      let done = 0;
      const outcomes: Promise<string>[] = [];
      for (let i = 0; i < 100; i++) {
        const buffer = arena.alloc(BLOCK_BYTES);
        if (i % 10 === 0) {
          const answer = file.submit("read", buffer, i * BLOCK_BYTES, (errno) => {
            assert.equal(errno, 0);
            assert.equal(wrongBlocks(buffer, i), null);
            done++;
          });
          if (answer === "queued") submitted++;
        } else if (i % 10 === 1) {
          const heap = numberedBlocks(200).slice(150 * BLOCK_BYTES, 151 * BLOCK_BYTES);
          outcomes.push(
            file.write(heap, { position: 150 * BLOCK_BYTES }).then(
              ({ bytesWritten }) => `wrote ${bytesWritten}`,
              (error) => error.code,
            ),
          );
        } else {
          const read = i % 10 === 2 ? new Uint8Array(BLOCK_BYTES) : buffer;
          outcomes.push(
            file.read(read, { position: i * BLOCK_BYTES }).then(
              ({ bytesRead }) => wrongBlocks(read, i) ?? `read ${bytesRead}`,
              (error) => error.code,
            ),
          );
        }
      }
      await engine.close();
      assert.ok(submitted > 0);
      assert.equal(done, submitted, "close() left a submitted request behind");
      const settled = await Promise.race([
        Promise.all(outcomes),
        new Promise((resolve) => setImmediate(resolve, null)),
      ]);
      assert.ok(settled !== null, "close() resolved with promises still pending");
      assert.deepEqual([...new Set(await Promise.all(outcomes))].sort(), ["read 4096", "wrote 4096"]);
    });
  }

  test(named("File.close completes reads that still wait for room in the ring or for the file's position"), () =>
    onFile(1, "r", async (engine, file) => {
      const arena = await engine.arena({ bytes: 1 << 20 });
      const buffers = Array.from({ length: 20 }, () => arena.alloc(BLOCK_BYTES));
      const reads = buffers.map(async (buffer, i) => {
        const { bytesRead } = await file.read(buffer, i < 10 ? { position: i * BLOCK_BYTES } : {});
        assert.equal(bytesRead, BLOCK_BYTES);
        assert.equal(wrongBlocks(buffer, i < 10 ? i : i - 10), null);
      });
      const vector = file.readv(buffers.slice(0, 3), 100 * BLOCK_BYTES);
      await file.close();
      await assert.rejects(file.read(buffers[0]!), { code: "EBADF" });
      await Promise.all(reads);
      assert.equal((await vector).bytesRead, 3 * BLOCK_BYTES);
      const { submitted, completed } = engine.stats();
      assert.deepEqual({ submitted, completed }, { submitted: 23, completed: 23 });
    }),
  );

  test(named("Engine.close twice is one close; after it everything is refused with a code"), async () => {
    const path = await ground.file(numberedBlocks(4));
    const engine = await ground.open();
    const file = await engine.openFile(path, "r");
    const arena = await engine.arena({ bytes: 1 << 20 });
    const buffer = arena.alloc(BLOCK_BYTES);
    await Promise.all([engine.close(), engine.close()]);
    await engine.close();
    await assert.rejects(engine.openFile(path, "r"), { code: "ERR_PINLESS_CLOSED" });
    await assert.rejects(engine.arena({ bytes: 1 << 20 }), { code: "ERR_PINLESS_CLOSED" });
    assert.throws(() => arena.alloc(1), { code: "ERR_PINLESS_CLOSED" });
    await assert.rejects(file.read(buffer, { position: 0 }), { code: "EBADF" });
    assert.throws(() => file.submit("read", buffer, 0, () => {}), { code: "EBADF" });
    await engine.drained();
    await engine.releasePins();
    assert.equal(engine.stats().leases.live, 0);
  });

  test(named("File.submit refuses invalid arguments, and then accepts no part of the request"), () =>
    onFile(4, "r", async (engine, file) => {
      const arena = await engine.arena({ bytes: 1 << 20 });
      const buffer = arena.alloc(BLOCK_BYTES);
      const never = (): void => assert.fail("done of a refused request");
      assert.throws(() => file.submit("erase" as "read", buffer, 0, never), { code: "ERR_INVALID_ARG_VALUE" });
      for (const position of [
        -1,
        Number.NaN,
        4096.5,
        2 ** 53,
        Number.POSITIVE_INFINITY,
        undefined as unknown as number,
      ])
        assert.throws(() => file.submit("read", buffer, position, never), { code: "ERR_OUT_OF_RANGE" });
      assert.throws(() => file.submit("read", "text" as unknown as Uint8Array, 0, never), {
        code: "ERR_INVALID_ARG_TYPE",
      });
      for (const buffer of [arena.alloc(BLOCK_BYTES), new Uint8Array(10)])
        for (const done of [undefined, null, {}, "done"])
          assert.throws(() => file.submit("read", buffer, 0, done as () => void), { code: "ERR_INVALID_ARG_TYPE" });
      assert.equal(engine.stats().submitted, 0);
    }),
  );
}
