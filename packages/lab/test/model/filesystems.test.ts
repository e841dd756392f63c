// Filesystems on the model where they differ: blocks written in place or not, checksums, stable pages, shared blocks.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Kernel } from "../../dist/model/model-kernel.js";
import { WAIT } from "../../dist/model/page-tables.js";
import { BLOCK_CONTENT, FILESYSTEMS, inFile, STABLE_PAGES } from "../../dist/model/tables.js";
import { finish } from "./requests.js";
import { ANONYMOUS, EVERY, MAPPED, machine, ONE, OTHER, onDisk, readInto, writeBack, writeFrom } from "./two-files.js";

const EIO = -5;
const EFAULT = -14;
const ENOSPC = -28;
const EOPNOTSUPP = -95;

test("a store during writeback waits for its end on btrfs and with stable pages, not on ext4 and xfs", () => {
  const waiting = [FILESYSTEMS.btrfs, FILESYSTEMS.ext4 | STABLE_PAGES];
  for (const filesystem of [...waiting, FILESYSTEMS.ext4, FILESYSTEMS.xfs]) {
    const on = machine(filesystem);
    on.memory.store(MAPPED, 1);
    assert.equal(on.writeback.begin(ONE), 0);
    const stable = waiting.includes(filesystem);
    assert.equal(on.memory.store(MAPPED, 2), stable ? WAIT : 0);
    assert.equal(on.cache.writeFile(ONE, 3), stable ? WAIT : 0);
    assert.equal(on.memory.load(MAPPED), stable ? 1 : 3);
    const request = on.disk.submit(readInto(MAPPED, OTHER));
    assert.equal(request === WAIT, stable, "a pin for writing is a store");
    if (!stable) finish(on, request);
    on.writeback.serve(ONE);
    on.writeback.end(ONE);
    assert.equal(on.cache.isDirty(ONE), !stable);
    assert.equal(on.memory.store(MAPPED, 2), 0);
    writeBack(on, ONE);
    assert.equal(onDisk(on, ONE), 2);
  }
});

test("btrfs writes no block in place; a block with a wrong checksum reads as EIO, or as SIGBUS for a load", () => {
  for (const [name, filesystem] of EVERY) {
    const on = machine(filesystem);
    const before = on.cache.blockOf(ONE);
    on.memory.store(MAPPED, 1);
    writeBack(on, ONE);
    assert.equal(on.cache.blockOf(ONE) === before, name !== "btrfs", name);
    on.memory.store(ANONYMOUS, 2);
    const written = on.cache.blockOf(ONE);
    finish(on, on.disk.submit(writeFrom(ANONYMOUS, ONE)));
    assert.equal(on.cache.blockOf(ONE) === written, name !== "btrfs", name);
    // The disk loses a bit.
    on.cache.setBlock(on.cache.blockOf(ONE), BLOCK_CONTENT, 3);
    const corrupt = name === "btrfs";
    assert.equal(on.cache.isCorrupt(ONE), corrupt);
    const request = on.disk.submit(readInto(ANONYMOUS, ONE, 2));
    assert.equal(on.disk.failsChecksum(request), corrupt);
    on.disk.serve(request);
    assert.equal(on.disk.failsChecksum(request), false, "the next page is as it should be");
    assert.equal(on.memory.fault(MAPPED, "load"), corrupt ? EFAULT : 0);
    assert.equal(on.cache.bringIn(ONE), corrupt ? EIO : 0);
  }
});

test("memory that changes during a direct write has a wrong checksum on btrfs", () => {
  const on = machine(FILESYSTEMS.btrfs);
  on.memory.store(ANONYMOUS, 1);
  const request = on.disk.submit(writeFrom(ANONYMOUS, ONE));
  on.memory.store(ANONYMOUS, 2);
  finish(on, request);
  assert.ok(on.cache.isCorrupt(ONE));
});

test("files that share blocks (FICLONE) stop sharing a block when it's written, in any way", () => {
  const ways = {
    store: (on: Kernel) => on.memory.store(MAPPED, 1),
    "write(2)": (on: Kernel) => on.cache.writeFile(ONE, 1),
    O_DIRECT: (on: Kernel) => {
      on.memory.store(ANONYMOUS, 1);
      finish(on, on.disk.submit(writeFrom(ANONYMOUS, ONE)));
      return 0;
    },
  };
  for (const filesystem of [FILESYSTEMS.xfs, FILESYSTEMS.btrfs]) {
    for (const [way, write] of Object.entries(ways)) {
      const on = machine(filesystem);
      on.memory.store(MAPPED, 9);
      assert.equal(on.cache.clone(ONE, OTHER), WAIT, "dirty");
      writeBack(on, ONE);
      assert.equal(on.cache.clone(ONE, OTHER), 0);
      assert.equal(on.cache.blockOf(OTHER), on.cache.blockOf(ONE));
      assert.equal(write(on), 0);
      if (on.cache.isDirty(ONE)) writeBack(on, ONE);
      assert.notEqual(on.cache.blockOf(OTHER), on.cache.blockOf(ONE), way);
      assert.deepEqual([onDisk(on, ONE), onDisk(on, OTHER)], [1, 9], way);
    }
  }
  assert.equal(machine(FILESYSTEMS.ext4).cache.clone(ONE, OTHER), EOPNOTSUPP);
});

test("allocation of a new block for a page excludes others: direct writes, writeback, FICLONE", () => {
  for (const filesystem of [FILESYSTEMS.xfs, FILESYSTEMS.btrfs]) {
    const on = machine(filesystem);
    assert.equal(on.cache.clone(ONE, OTHER), 0);
    on.memory.store(ANONYMOUS, 1);
    const write = writeFrom(ANONYMOUS, ONE);
    const request = on.disk.submit(write);
    on.memory.store(MAPPED, 2);
    assert.deepEqual([on.writeback.begin(ONE), on.disk.submit({ ...write, firstPage: ANONYMOUS + 1 })], [WAIT, WAIT]);
    on.cache.punchHole(ONE + 1);
    const hole = on.disk.submit({ ...write, block: inFile(ONE + 1) });
    assert.deepEqual(
      [on.disk.submit({ ...write, block: inFile(ONE + 1) }), on.cache.clone(ONE + 1, OTHER + 1)],
      [WAIT, WAIT],
    );
    finish(on, hole);
    // It fails: what was stored meanwhile still has a place of its own.
    on.disk.complete(request);
    on.disk.release(request);
    assert.equal(on.writeback.begin(ONE), 0);
    assert.equal(on.cache.clone(ONE, OTHER + 1), WAIT);
    on.writeback.serve(ONE);
    on.writeback.end(ONE);
    assert.deepEqual([onDisk(on, ONE), onDisk(on, OTHER), onDisk(on, ONE + 1)], [2, 100, 1]);
  }
});

test("a write that ended early leaves the rest of the file as it was, in its old blocks", () => {
  for (const [name, filesystem] of EVERY) {
    const on = machine(filesystem);
    const before = on.cache.blockOf(ONE + 1);
    for (const i of [0, 1]) on.memory.store(ANONYMOUS + i, 1 + i);
    const request = on.disk.submit(writeFrom(ANONYMOUS, ONE, 2));
    on.disk.serve(request);
    on.disk.complete(request);
    on.disk.release(request);
    assert.deepEqual([on.memory.load(MAPPED), on.memory.load(MAPPED + 1)], [1, 101], name);
    assert.equal(on.cache.blockOf(ONE + 1), before);
  }
});

test("on a full disk a store gets SIGBUS, buffered and direct writes get ENOSPC, and nothing has begun", () => {
  const on = machine(FILESYSTEMS.ext4);
  for (let i = 0; i < 4; i++) assert.equal(on.cache.punchHole(ONE + i), 0);
  const { at } = on.frames.layout.blockUsers;
  on.words.fill(1, at, at + 11);
  const write = writeFrom(ANONYMOUS, ONE, 2);
  on.memory.munmap(ANONYMOUS + 7);
  assert.equal(on.disk.submit({ ...write, firstPage: ANONYMOUS + 7, pages: 1 }), EFAULT);
  assert.equal(on.disk.submit(write), ENOSPC);
  assert.ok(on.disk.submit({ ...write, firstPage: MAPPED, pages: 1, block: inFile(OTHER) }) >= 0, "a hole is read");
  assert.equal(on.memory.store(MAPPED + 1, 1), 0);
  assert.equal(on.memory.store(MAPPED + 2, 1), EFAULT);
  assert.equal(on.cache.writeFile(ONE + 3, 1), ENOSPC);
  writeBack(on, ONE + 1);
  assert.equal(onDisk(on, ONE + 1), 1);
});
