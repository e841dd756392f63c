// O_DIRECT that a filesystem takes when a file is opened, and refuses at I/O: everything goes through the page cache.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Engine } from "../../dist/index.js";
import { fuse, needsFuse } from "../support/fuse.js";
import { ioUringOff } from "../support/io-uring.js";
import { undoing } from "../support/undo.js";

const MIB = 1 << 20;
const BLOCK_BYTES = 4096;
const BLOCKS = 32;

for (const scheme of ["io_uring", "aio", "direct"] as const)
  test(`${scheme}: direct I/O that is refused with EINVAL goes through the page cache, and degraded says so`, {
    skip: needsFuse || (scheme === "io_uring" && ioUringOff()),
  }, async (t) => {
    const content = Uint8Array.from({ length: MIB }, (_, i) => (i >>> 12) + i);
    const { file: path, backing } = await fuse(t, content, "refuse-direct");
    const engine = await Engine.open({ scheme });
    undoing(t, () => engine.close());
    const arena = await engine.arena({ bytes: 4 * MIB });
    const views = Array.from({ length: BLOCKS }, () => arena.alloc(BLOCK_BYTES));
    const [reads, writes] = [await engine.openFile(path, "r+"), await engine.openFile(path, "r+")];
    assert.deepEqual([reads.direct, writes.direct], [true, true]);

    const all = views.map((view, i) => reads.read(view, { position: i * BLOCK_BYTES }));
    for (const [i, { bytesRead, buffer }] of (await Promise.all(all)).entries()) {
      assert.equal(bytesRead, BLOCK_BYTES);
      assert.deepEqual(buffer, content.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
    }
    const answers = await Promise.all(
      views.map(
        (view, i) =>
          new Promise((resolve) => {
            view.fill(i + 1);
            const answer = writes.submit("write", view, i * BLOCK_BYTES, (...said) => resolve(said));
            assert.equal(answer, "queued");
          }),
      ),
    );
    assert.deepEqual(
      answers,
      views.map((view) => [0, BLOCK_BYTES, view]),
    );
    assert.deepEqual([reads.direct, writes.direct, writes.alignment.offset], [false, false, 1]);
    await reads.read(Buffer.alloc(2 * BLOCK_BYTES), { position: 0 });

    const { degraded, buffered, submitted, completed, failed } = engine.stats();
    assert.match(degraded.join("\n"), /accepts O_DIRECT but refuses direct I\/O \(EINVAL\)/);
    assert.ok(buffered > 2 * BLOCKS, `${buffered} buffered`);
    assert.deepEqual([submitted - completed, failed], [0, 0]);
    await Promise.all([reads.close(), writes.close()]);
    const written = readFileSync(backing);
    for (let i = 0; i < BLOCKS; i++)
      assert.deepEqual(new Set(written.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)), new Set([i + 1]));
    assert.deepEqual(new Uint8Array(written.subarray(BLOCKS * BLOCK_BYTES)), content.subarray(BLOCKS * BLOCK_BYTES));
  });
