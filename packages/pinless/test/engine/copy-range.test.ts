/** Parts of files copied into others: by the kernel, and by reads and writes. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, statfsSync, statSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { type CopyOptions, Engine, type File, type SystemError } from "../../dist/index.js";
import { disk, loopDevice, needsRoot, tmpfs } from "../support/disks.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

const BLOCK = 4096;
const MIB = 1 << 20;

interface Pair {
  readonly engine: Engine;
  readonly from: File;
  readonly to: File;
  readonly bytes: Buffer;
  /** Reads the target. */
  copy(): Buffer;
}

/** A file of random bytes, and one of 10 bytes to copy to. */
async function pair(t: TestContext, source: string, target: string, bytes = 3 * MIB + 5): Promise<Pair> {
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const [name, copy] = [path.join(source, "source"), path.join(target, "target")];
  const content = randomBytes(bytes);
  writeFileSync(name, content);
  writeFileSync(copy, "0123456789");
  const [from, to] = [await engine.openFile(name, "r+"), await engine.openFile(copy, "r+")];
  undoing(t, () => Promise.all([from.close(), to.close()]).then(() => {}));
  return { engine, from, to, bytes: content, copy: () => readFileSync(copy) };
}

/** Copies parts of different sizes and places, and compares them. */
async function copies({ from, to, bytes, copy }: Pair): Promise<void> {
  const end = bytes.length;
  for (const [position, length, at] of [
    [0, 0, 0],
    [5, 1, 3],
    [0, end, 0],
    [BLOCK, 2 * BLOCK, 5 * BLOCK],
    [1, 2 * BLOCK - 1, 7],
    [end - 10, 1000, end + BLOCK],
    [end, 1000, 0],
    [end + BLOCK, Number.MAX_SAFE_INTEGER - 2 * end, 0],
    [2 * MIB + 1, Number.MAX_SAFE_INTEGER - 3 * MIB, 1],
  ] as const) {
    const part = bytes.subarray(position, position + length);
    const before = copy();
    const expected = Buffer.alloc(Math.max(before.length, part.length > 0 ? at + part.length : 0));
    before.copy(expected);
    part.copy(expected, at);
    assert.deepEqual(await from.copyRange(position, length, to, at), { bytesCopied: part.length });
    assert.ok(copy().equals(expected), `${length} bytes at ${position} to ${at}`);
  }
}

const isDegraded = ({ engine }: Pair): boolean =>
  engine.stats().degraded.some((why) => why.includes("copyRange reads and writes"));

for (const filesystem of ["ext4", "xfs", "btrfs", "tmpfs"] as const) {
  const mounted = (t: TestContext): string =>
    filesystem === "tmpfs"
      ? tmpfs(t, 64 * MIB)
      : disk(t, filesystem, (filesystem === "xfs" ? 320 : 128) * MIB, "memory").mount;
  test(`${filesystem}: the kernel copies within a filesystem`, { skip: needsRoot }, async (t) => {
    const directory = mounted(t);
    const files = await pair(t, directory, directory);
    await copies(files);
    assert.ok(!isDegraded(files));
  });

  const shares = filesystem === "xfs" || filesystem === "btrfs";
  test(`${filesystem}: ${shares ? "blocks are shared" : "can't share blocks"}`, { skip: needsRoot }, async (t) => {
    const directory = mounted(t);
    const { from, to, bytes, copy } = await pair(t, directory, directory, 40 * MIB + 5);
    if (!shares) {
      await assert.rejects(from.copyRange(0, BLOCK, to, 0, { clone: true }), { code: "ENOTSUP" });
      return;
    }
    await from.sync();
    const before = statfsSync(directory).bfree;
    for (const options of [{}, { clone: true }] as const) {
      await to.truncate(0);
      assert.deepEqual(await from.copyRange(0, 100 * MIB, to, 0, options), { bytesCopied: bytes.length });
      await to.sync();
      assert.ok(before - statfsSync(directory).bfree < (20 * MIB) / BLOCK);
      assert.ok(copy().equals(bytes));
    }
    await assert.rejects(from.copyRange(0, 100, to, BLOCK, { clone: true }), { code: "EINVAL" });
  });
}

test("between filesystems bytes are read and written, and stats say so", { skip: needsRoot }, async (t) => {
  const files = await pair(t, scratchDirectory(t), tmpfs(t, 64 * MIB));
  assert.ok(!isDegraded(files));
  await copies(files);
  assert.ok(isDegraded(files));
  await assert.rejects(files.from.copyRange(0, BLOCK, files.to, 0, { clone: true }), { code: "EXDEV" });
});

test("devices and files of the kernel are read and written", { skip: needsRoot }, async (t) => {
  const { engine, from, to, bytes, copy } = await pair(t, scratchDirectory(t), scratchDirectory(t));
  const device = await engine.openFile(loopDevice(t, 4 * MIB).device, "r+");
  assert.deepEqual(await from.copyRange(0, 4 * MIB, device, 0), { bytesCopied: bytes.length });
  await to.truncate(0);
  assert.deepEqual(await device.copyRange(1, bytes.length - 1, to, 0), { bytesCopied: bytes.length - 1 });
  assert.ok(copy().equals(bytes.subarray(1)));
  await assert.rejects(device.copyRange(0, 2 * MIB, device, MIB), { code: "EINVAL" });
  await device.close();
  const name = await engine.openFile("/proc/sys/kernel/ostype", "r");
  await to.truncate(0);
  assert.deepEqual(await name.copyRange(0, MIB, to, 0), { bytesCopied: 6 });
  assert.equal(copy().toString(), "Linux\n");
  // Within a filesystem the kernel copies up to the size, which is 0 here. This file takes bytes, but at no position.
  const title = await engine.openFile("/proc/self/comm", "r+");
  await assert.rejects(name.copyRange(0, MIB, title, 0), { code: "ESPIPE", syscall: "write" });
  await Promise.all([name.close(), title.close()]);
});

test("within a file, ranges that overlap are refused whatever their size", async (t) => {
  const directory = scratchDirectory(t);
  const { engine, from, bytes } = await pair(t, directory, directory, 40 * MIB);
  const other = await engine.openFile(path.join(directory, "source"), "r+");
  undoing(t, () => other.close());
  for (const file of [from, other])
    for (const [position, length, at] of [
      [0, 40 * MIB, 20 * MIB],
      [10 * MIB, 40 * MIB, 0],
      [0, 2, 1],
      [7, 1, 7],
    ] as const)
      await assert.rejects(from.copyRange(position, length, file, at), { code: "EINVAL", syscall: "copy_file_range" });
  assert.deepEqual(await from.copyRange(10, 5, other, 15), { bytesCopied: 5 });
  // What is beyond the end doesn't count.
  assert.deepEqual(await from.copyRange(10, 100 * MIB, other, 40 * MIB), { bytesCopied: 40 * MIB - 10 });
  bytes.copy(bytes, 15, 10, 15);
  assert.ok(readFileSync(path.join(directory, "source")).equals(Buffer.concat([bytes, bytes.subarray(10)])));
});

test("copies take turns with the file's writes", async (t) => {
  const directory = scratchDirectory(t);
  const { engine, from, to, bytes, copy } = await pair(t, directory, directory);
  await to.truncate(32 * MIB);
  const memory = (await engine.arena({ bytes: 32 * MIB })).alloc(32 * MIB).fill(2);
  await Promise.all([
    to.write(memory, { position: 0 }),
    from.copyRange(0, BLOCK + 1, to, 31 * MIB),
    to.write(memory.subarray(0, BLOCK), { position: 31 * MIB + BLOCK }),
  ]);
  const expected = Buffer.alloc(32 * MIB, 2);
  bytes.copy(expected, 31 * MIB, 0, BLOCK);
  assert.ok(copy().equals(expected));
});

/** Far more than what is copied between a look and the next: 100 ms, or a block. */
const TOO_MUCH = { bytes: 2 ** 44, blocks: 64 };

/** Ends a copy without end once it makes progress. Fails if it goes on, and ends it by the end of its source. */
async function endsBy(
  end: () => unknown,
  code: string,
  {
    copied,
    source,
    progress,
    most,
  }: { copied: Promise<unknown>; source: string; progress: () => number; most: number },
): Promise<void> {
  let error: SystemError | null = null;
  const ended = copied.catch((failure) => {
    error = failure;
  });
  await until("a copy", () => progress() > 0);
  const begin = progress();
  end();
  await until("the copy's end", () => error !== null || progress() > begin + most, { limitMs: 600_000 });
  const goesOn = error === null;
  if (goesOn) truncateSync(source, 0);
  await ended;
  assert.ok(!goesOn, `the copy went on after ${end}`);
  assert.equal(error!.code, code);
  assert.ok(error!.bytesWritten! > 0 && error!.bytesWritten! < 2 ** 52);
}

test("a copy without end by the kernel ends when it is aborted, or a file closed", { skip: needsRoot }, async (t) => {
  const { mount } = disk(t, "btrfs", 128 * MIB, "memory");
  const { engine, from } = await pair(t, mount, mount);
  const [source, target] = [path.join(mount, "source"), path.join(mount, "target")];
  truncateSync(source, 2 ** 52);
  const ends = async (
    of: File,
    to: File,
    end: () => unknown,
    code: string,
    options: CopyOptions = {},
  ): Promise<void> => {
    await to.truncate(0);
    const copied = of.copyRange(0, 2 ** 52, to, 0, options);
    await endsBy(end, code, { copied, source, progress: () => statSync(target).size, most: TOO_MUCH.bytes });
  };
  const open = async (flags: string, name = target): Promise<File> => {
    const file = await engine.openFile(name, flags);
    undoing(t, () => file.close());
    return file;
  };
  const to = await open("w");
  const ending = new AbortController();
  await ends(from, to, () => ending.abort(), "ABORT_ERR", { signal: ending.signal });
  await assert.rejects(from.copyRange(0, 1, to, 1, { signal: ending.signal }), { code: "ABORT_ERR" });
  await ends(from, to, () => void to.close(), "EBADF");
  await ends(from, await open("r+"), () => void from.close(), "EBADF");
});

test("a copy without end by reads and writes ends when it is aborted, or a file closed", async (t) => {
  const directory = scratchDirectory(t);
  const { engine } = await pair(t, directory, directory);
  const source = path.join(directory, "source");
  truncateSync(source, 2 ** 43);
  for (const [end, code] of [
    [({ abort }) => abort(), "ABORT_ERR"],
    [({ from }) => from.close(), "EBADF"],
    [({ to }) => to.close(), "EBADF"],
  ] as [(parts: { abort: () => void; from: File; to: File }) => void, string][]) {
    const [from, to] = [await engine.openFile(source, "r"), await engine.openFile("/dev/null", "r+")];
    undoing(t, () => Promise.all([from.close(), to.close()]).then(() => {}));
    const { write } = to;
    let writes = 0;
    to.write = ((...args: Parameters<typeof write>) => {
      writes++;
      return Reflect.apply(write, to, args);
    }) as typeof write;
    const ending = new AbortController();
    const parts = { abort: () => ending.abort(), from, to };
    const copied = from.copyRange(0, 2 ** 43, to, 0, { signal: ending.signal });
    await endsBy(() => end(parts), code, { copied, source, progress: () => writes, most: TOO_MUCH.blocks });
  }
});

test("errors have Node's codes, and the bytes before them", { skip: needsRoot }, async (t) => {
  const directory = tmpfs(t, 8 * MIB);
  const { engine, from, to } = await pair(t, directory, directory, 6 * MIB);
  await assert.rejects(from.copyRange(0, 6 * MIB, to, 0), ({ code, syscall, bytesWritten }) => {
    assert.deepEqual({ code, syscall }, { code: "ENOSPC", syscall: "copy_file_range" });
    assert.ok(bytesWritten > 0 && bytesWritten < 6 * MIB);
    return true;
  });
  const readOnly = await engine.openFile(path.join(directory, "source"), "r");
  await assert.rejects(from.copyRange(0, 1, readOnly, 10), { code: "EBADF" });
  for (const [position, length, at] of [
    [-1, 1, 0],
    [0, -1, 0],
    [0, 1, -1],
    [1, Number.MAX_SAFE_INTEGER, 0],
    [0, Number.MAX_SAFE_INTEGER, 1],
  ] as const)
    await assert.rejects(from.copyRange(position, length, to, at), { code: "ERR_OUT_OF_RANGE" });
  await assert.rejects(from.copyRange(0, 1, {} as never, 0), { code: "ERR_INVALID_ARG_TYPE" });
  await assert.rejects(from.copyRange(0, 1, to, 0, { share: true } as never), { code: "ERR_PINLESS_OPTION" });
  await assert.rejects(from.copyRange(0, 1, to, 0, { clone: 1 } as never), { code: "ERR_PINLESS_OPTION" });
  await readOnly.close();
  await assert.rejects(from.copyRange(0, 1, readOnly, 0), { code: "EBADF" });
});
