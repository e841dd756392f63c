/** Data and holes of sparse files. */

import assert from "node:assert/strict";
import { closeSync, ftruncateSync, openSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import type { DataRange, DataRangesOptions, File } from "../../dist/index.js";
import { Engine } from "../../dist/index.js";
import { dataRanges } from "../../dist/memory/data-ranges.js";
import { disk, loopDevice, needsRoot, ramfs, tmpfs } from "../support/disks.js";
import { namedPipe, scratchDirectory, undoing } from "../support/undo.js";

const PIECE = 64 << 10;

/** Makes a file with data in these of its pieces, and a size. */
function sparse(name: string, pieces: Iterable<number>, bytes: number): string {
  const fd = openSync(name, "w");
  for (const piece of pieces) writeSync(fd, Buffer.alloc(PIECE, 1), 0, PIECE, piece * PIECE);
  ftruncateSync(fd, bytes);
  closeSync(fd);
  return name;
}

async function opened(t: TestContext, name: string, flags = "r"): Promise<File> {
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const file = await engine.openFile(name, flags);
  undoing(t, () => file.close());
  return file;
}

/** Ranges as pairs of pieces; the second is the first piece after the data. */
async function found(file: File, options?: DataRangesOptions): Promise<number[][]> {
  const ranges: number[][] = [];
  for await (const { start, end } of file.dataRanges(options)) ranges.push([start / PIECE, (end + 1) / PIECE]);
  return ranges;
}

async function findsData(t: TestContext, directory: string): Promise<void> {
  const file = await opened(t, sparse(path.join(directory, "sparse"), [2, 3, 10, 15], 20 * PIECE + 1), "r+");
  const all = [
    [2, 4],
    [10, 11],
    [15, 16],
  ];
  assert.deepEqual(await found(file), all);
  assert.deepEqual(await found(file, { start: 2 * PIECE, end: 16 * PIECE - 1 }), all);
  assert.deepEqual(await found(file, { start: 3 * PIECE, end: 10.5 * PIECE - 1 }), [
    [3, 4],
    [10, 10.5],
  ]);
  assert.deepEqual(await found(file, { start: 4 * PIECE, end: 10 * PIECE - 1 }), []);
  assert.deepEqual(await found(file, { start: 30 * PIECE }), []);
  // Each range is one of `blocks`, and there is nothing but zeros beside them.
  let bytes = 0;
  for await (const range of file.dataRanges())
    for await (const block of file.blocks(range)) bytes += block.reduce((sum, byte) => sum + byte, 0);
  assert.equal(bytes, 4 * PIECE);
  await file.truncate(0);
  assert.deepEqual(await found(file), []);
}

test("data is found between holes", (t) => findsData(t, scratchDirectory(t)));
for (const filesystem of ["ext4", "xfs", "btrfs"] as const)
  test(`${filesystem}: the same`, { skip: needsRoot }, (t) =>
    findsData(t, disk(t, filesystem, (filesystem === "xfs" ? 320 : 128) << 20, "memory").mount),
  );
test("tmpfs: the same", { skip: needsRoot }, (t) => findsData(t, tmpfs(t, 8 << 20)));

test("any number of ranges is found, some at a time", { skip: needsRoot }, async (t) => {
  const pieces = Array.from({ length: 2500 }, (_, i) => 2 * i);
  const name = sparse(path.join(tmpfs(t, 256 << 20), "sparse"), pieces, 5000 * PIECE);
  const file = await opened(t, name);
  assert.deepEqual(
    await found(file),
    pieces.map((piece) => [piece, piece + 1]),
  );
  const exactly = await found(file, { end: 2048 * PIECE - 1 });
  assert.equal(exactly.length, 1024);
  const few = dataRanges(file.fd, { start: 0, end: 100 * PIECE }, 3);
  assert.equal((few as readonly unknown[]).length, 3);
});

test("the own position stays, also where the kernel keeps it", async (t) => {
  const file = await opened(t, sparse(path.join(scratchDirectory(t), "sparse"), [0, 4], 8 * PIECE));
  assert.ok(file.fd > 0);
  await file.read(Buffer.alloc(10));
  assert.equal((await found(file)).length, 2);
  const { bytesRead } = await file.read(Buffer.alloc(8 * PIECE));
  assert.equal(bytesRead, 8 * PIECE - 10);
});

test("a filesystem that doesn't tell has one range, and so has a device", { skip: needsRoot }, async (t) => {
  const whole = [[0, 8]];
  assert.deepEqual(await found(await opened(t, sparse(path.join(ramfs(t), "sparse"), [0, 4], 8 * PIECE))), whole);
  const device = await opened(t, loopDevice(t, 8 * PIECE).device);
  assert.deepEqual(await found(device), whole);
  assert.deepEqual(await found(device, { start: PIECE, end: 2 * PIECE - 1 }), [[1, 2]]);
  assert.deepEqual(await found(device, { start: 9 * PIECE }), []);
});

test("files without blocks have no ranges, and wrong arguments are refused", async (t) => {
  const next = (file: File): Promise<IteratorResult<DataRange, void>> => file.dataRanges().next();
  await assert.rejects(next(await opened(t, namedPipe(t), "r+")), { code: "ESPIPE", syscall: "lseek" });
  await assert.rejects(next(await opened(t, "/proc/version")), { code: "EINVAL", syscall: "lseek" });
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, "data");
  const file = await opened(t, name);
  for (const options of [{ start: -1 }, { start: 2, end: 1 }, { to: 5 }, 5])
    assert.throws(() => file.dataRanges(options as never), { code: "ERR_PINLESS_OPTION" });
  const begun = file.dataRanges();
  await file.close();
  await assert.rejects(begun.next(), { code: "EBADF", syscall: "lseek" });
});
