/** Space of a file: allocated, given back, zeroed. */

import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Engine } from "../../dist/index.js";
import { disk, needsRoot, ramfs, tmpfs } from "../support/disks.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const BLOCK = 4096;
const BYTES = 64 * BLOCK;

/** Changes the space of a file of ones, in the midst of writes around the page cache and through it. */
async function changesSpace(t: TestContext, directory: string): Promise<void> {
  const name = path.join(directory, "file");
  writeFileSync(name, new Uint8Array(BYTES).fill(1));
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const file = await engine.openFile(name, "r+");
  await file.sync();
  const before = statSync(name).blocks;
  const block = (await engine.arena({ bytes: BLOCK })).alloc(BLOCK).fill(2);
  await Promise.all([
    file.write(block, { position: 0 }),
    file.punchHole(16 * BLOCK, 32 * BLOCK),
    file.write(Buffer.alloc(10, 3), { position: 50 * BLOCK + 5 }),
    file.zeroRange(60 * BLOCK + 1, 8 * BLOCK),
  ]);
  await file.sync();
  const expected = Buffer.alloc(68 * BLOCK + 1, 1);
  expected
    .fill(2, 0, BLOCK)
    .fill(0, 16 * BLOCK, 48 * BLOCK)
    .fill(3, 50 * BLOCK + 5, 50 * BLOCK + 15);
  expected.fill(0, 60 * BLOCK + 1);
  assert.ok(readFileSync(name).equals(expected));
  assert.ok(statSync(name).blocks < before, `${statSync(name).blocks} blocks of ${before}`);
  await file.zeroRange(68 * BLOCK, 4 * BLOCK, { keepSize: true });
  await file.allocate(0, 80 * BLOCK, { keepSize: true });
  assert.equal(statSync(name).size, expected.length);
  assert.ok(statSync(name).blocks >= 80 * 8);
  await file.allocate(0, 100 * BLOCK);
  assert.equal(statSync(name).size, 100 * BLOCK);
  assert.equal(
    readFileSync(name)
      .subarray(68 * BLOCK)
      .findIndex((byte) => byte !== 0),
    -1,
  );
  await file.close();
}

test("space of a file is allocated, given back and zeroed, in turn with its writes", (t) =>
  changesSpace(t, scratchDirectory(t)));
for (const filesystem of ["ext4", "xfs", "btrfs"] as const)
  test(`${filesystem}: the same`, { skip: needsRoot }, (t) =>
    changesSpace(t, disk(t, filesystem, (filesystem === "xfs" ? 320 : 128) << 20, "memory").mount),
  );

test("tmpfs, which can't zero ranges, gets zeros written, and stats say so", { skip: needsRoot }, async (t) => {
  const name = path.join(tmpfs(t, 8 << 20), "file");
  writeFileSync(name, new Uint8Array(BYTES).fill(1));
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const file = await engine.openFile(name, "r+");
  await file.zeroRange(10, 20);
  await file.zeroRange(BYTES - 5, 1 << 20, { keepSize: true });
  assert.ok(
    readFileSync(name).equals(
      Buffer.alloc(BYTES, 1)
        .fill(0, 10, 30)
        .fill(0, BYTES - 5),
    ),
  );
  assert.ok(engine.stats().degraded.some((why) => why.includes("zeroRange writes zeros")));
  await assert.rejects(file.allocate(0, 64 << 20), { code: "ENOSPC", syscall: "fallocate" });
  await file.close();
});

test("what can't be done has the errors of fallocate(2), and wrong arguments those of Node", {
  skip: needsRoot,
}, async (t) => {
  const directory = ramfs(t);
  const name = path.join(directory, "file");
  writeFileSync(name, "ones");
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const file = await engine.openFile(name, "r+");
  await assert.rejects(file.punchHole(0, 1), { code: "ENOTSUP" });
  await assert.rejects(file.allocate(0, 1), { code: "ENOTSUP" });
  for (const [position, length] of [
    [-1, 1],
    [0, 0],
    [0.5, 1],
    [1, Number.MAX_SAFE_INTEGER],
  ] as const)
    await assert.rejects(file.allocate(position, length), { code: "ERR_OUT_OF_RANGE" });
  await assert.rejects(file.punchHole("0" as never, 1), { code: "ERR_INVALID_ARG_TYPE" });
  await assert.rejects(file.zeroRange(0, 1, { keep: true } as never), { code: "ERR_PINLESS_OPTION" });
  const readOnly = await engine.openFile(name, "r");
  await assert.rejects(readOnly.zeroRange(0, 1), { code: "EBADF" });
  await readOnly.close();
  await file.close();
  await assert.rejects(file.allocate(0, 1), { code: "EBADF" });
});
