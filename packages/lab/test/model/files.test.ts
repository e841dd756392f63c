// The page cache and mappings of files on the model, as Linux has them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { exit, fork } from "../../dist/model/fork.js";
import { Kernel } from "../../dist/model/model-kernel.js";
import { WAIT } from "../../dist/model/page-tables.js";
import { FILESYSTEMS, FOLIO_DIRTY, inFile, PTE_DIRTY, PTE_WRITE } from "../../dist/model/tables.js";
import { finish } from "./requests.js";
import {
  ANONYMOUS,
  EVERY,
  FILE_PAGES,
  MAPPED,
  machine,
  ONE,
  OTHER,
  onDisk,
  readInto,
  writeBack,
  writeBackIfDirty,
  writeFrom,
} from "./two-files.js";

const EAGAIN = -11;
const EFAULT = -14;
const EINVAL = -22;

for (const [name, filesystem] of EVERY) {
  test(`${name}: stores, loads, write(2) and all mappings see one memory; the disk has it after writeback`, () => {
    const on = machine(filesystem);
    assert.deepEqual(
      [0, 1, 2, 3].map((i) => on.memory.load(MAPPED + i)),
      [100, 101, 102, 103],
    );
    on.memory.munmap(ANONYMOUS + 7);
    on.memory.mapFile(ANONYMOUS + 7, ONE);
    on.memory.store(MAPPED, 1);
    assert.equal(on.memory.load(ANONYMOUS + 7), 1);
    assert.equal(on.cache.writeFile(ONE, 2), 0);
    assert.equal(on.memory.load(MAPPED), 2);
    assert.equal(onDisk(on, ONE), 100);
    assert.ok(on.cache.isDirty(ONE));
    writeBack(on, ONE);
    assert.equal(onDisk(on, ONE), 2);
    assert.ok(!on.cache.isDirty(ONE) && !on.cache.isCorrupt(ONE));
    assert.equal(on.writeback.begin(ONE), 0, "nothing to do");
    assert.ok(!on.cache.isUnderWriteback(ONE));
    // Where it's unmapped it goes on in the cache, dirty as it was.
    on.memory.store(ANONYMOUS + 7, 3);
    on.memory.munmap(ANONYMOUS + 7);
    assert.ok(on.cache.isDirty(ONE));
    assert.equal(on.memory.load(MAPPED), 3);
    on.memory.mmap(ANONYMOUS + 7);
    assert.equal(on.memory.load(ANONYMOUS + 7), 0, "other memory");
  });

  test(`${name}: writeback write-protects a page in every mapping, and the next store is seen`, () => {
    const on = machine(filesystem);
    on.memory.munmap(ANONYMOUS + 7);
    on.memory.mapFile(ANONYMOUS + 7, ONE);
    on.memory.store(MAPPED, 1);
    on.memory.store(ANONYMOUS + 7, 2);
    assert.ok(on.tables.is(MAPPED, PTE_WRITE) && on.tables.is(ANONYMOUS + 7, PTE_WRITE));
    writeBack(on, ONE);
    for (const page of [MAPPED, ANONYMOUS + 7])
      assert.ok(!on.tables.is(page, PTE_WRITE) && !on.tables.is(page, PTE_DIRTY));
    on.memory.store(MAPPED, 3);
    assert.ok(on.cache.isDirty(ONE) && !on.tables.is(ANONYMOUS + 7, PTE_WRITE));
  });

  test(`${name}: a direct read writes dirty pages back first, and a direct write drops the cached pages`, () => {
    const on = machine(filesystem);
    on.memory.store(MAPPED, 1);
    const read = readInto(ANONYMOUS, ONE, 2);
    const write = { ...read, write: true };
    for (const request of [read, write]) assert.equal(on.disk.submit(request), WAIT);
    assert.equal(on.writeback.begin(ONE), 0);
    for (const request of [read, write]) assert.equal(on.disk.submit(request), WAIT);
    on.writeback.serve(ONE);
    on.writeback.end(ONE);
    finish(on, on.disk.submit(read));
    assert.deepEqual([on.memory.load(ANONYMOUS), on.memory.load(ANONYMOUS + 1)], [1, 101]);
    for (const i of [0, 1]) on.memory.store(ANONYMOUS + i, 10 + i);
    const request = on.disk.submit(write);
    assert.equal(on.cache.cachedIn(ONE), -1);
    // Loaded meanwhile, it's found again.
    assert.equal(on.memory.load(MAPPED), 1);
    finish(on, request);
    assert.deepEqual([on.memory.load(MAPPED), on.memory.load(MAPPED + 1)], [10, 11]);
    assert.deepEqual([on.cache.isCorrupt(ONE), on.cache.isCorrupt(ONE + 1)], [false, false]);
  });

  test(`${name}: discard and reclaim of a mapping lose nothing; dirty, pinned and twice mapped pages stay`, () => {
    const on = machine(filesystem);
    on.memory.store(MAPPED, 1);
    on.memory.discard(MAPPED);
    assert.ok(on.cache.isDirty(ONE) && on.tables.frameOf(MAPPED) < 0);
    assert.equal(on.memory.load(MAPPED), 1);
    assert.equal(on.memory.reclaim(MAPPED), EAGAIN, "dirty");
    assert.ok(on.cache.cachedIn(ONE) >= 0);
    writeBack(on, ONE);
    on.memory.load(MAPPED);
    const request = on.disk.submit(writeFrom(MAPPED, OTHER));
    assert.equal(on.memory.reclaim(MAPPED), EAGAIN, "pinned");
    finish(on, request);
    on.memory.munmap(ANONYMOUS + 7);
    on.memory.mapFile(ANONYMOUS + 7, ONE);
    on.memory.load(ANONYMOUS + 7);
    assert.equal(on.memory.reclaim(MAPPED), EAGAIN, "mapped twice");
    on.memory.munmap(ANONYMOUS + 7);
    assert.equal(on.memory.reclaim(MAPPED), 0);
    assert.equal(on.cache.cachedIn(ONE), -1);
    assert.equal(on.memory.load(MAPPED), 1);
    assert.equal(on.memory.migrate(MAPPED), 0);
    assert.equal(on.cache.cachedIn(ONE), on.tables.frameOf(MAPPED));
    assert.equal(on.cache.writeFile(ONE, 2), 0);
    assert.equal(on.memory.load(MAPPED), 2);
    assert.deepEqual([on.memory.freeLazily(MAPPED), on.memory.collapse(MAPPED, 4)], [EINVAL, EINVAL]);
  });

  test(`${name}: access beyond the end of a file fails with EFAULT; where the file grows again there's a hole`, () => {
    const on = machine(filesystem);
    on.memory.store(MAPPED, 1);
    assert.equal(on.writeback.begin(ONE), 0);
    assert.equal(on.cache.truncateFile(ONE), WAIT);
    on.writeback.serve(ONE);
    on.writeback.end(ONE);
    const request = on.disk.submit(readInto(ANONYMOUS, ONE));
    assert.equal(on.cache.truncateFile(ONE), WAIT);
    finish(on, request);
    on.memory.store(MAPPED, 2);
    assert.equal(on.cache.truncateFile(ONE), 0);
    for (const access of ["load", "store"] as const) assert.equal(on.memory.fault(MAPPED, access), EFAULT);
    assert.equal(on.disk.submit(writeFrom(MAPPED, OTHER)), EFAULT);
    on.cache.extendFile(ONE, filesystem);
    assert.equal(on.memory.load(MAPPED), 0);
    finish(on, on.disk.submit(readInto(ANONYMOUS, ONE)));
    assert.equal(on.memory.load(ANONYMOUS), 0);
    on.memory.store(MAPPED, 3);
    assert.equal(on.cache.blockOf(ONE), -1);
    writeBack(on, ONE);
    assert.equal(onDisk(on, ONE), 3);
  });

  test(`${name}: a device write to a pinned page of a mapping is lost once a hole was punched there`, () => {
    const on = machine(filesystem);
    const request = on.disk.submit(readInto(MAPPED, OTHER));
    assert.equal(on.cache.punchHole(ONE), 0);
    finish(on, request);
    assert.equal(on.memory.load(MAPPED), 0);
    const waits = machine(filesystem, "notifier");
    const other = waits.disk.submit(readInto(MAPPED, OTHER));
    assert.equal(waits.cache.punchHole(ONE), WAIT, "the proposal");
    finish(waits, other);
    assert.equal(waits.memory.load(MAPPED), 104);
  });

  test(`${name}: every frame and every block is free again once nothing refers to it`, () => {
    for (const design of ["gup", "notifier"] as const) {
      const on = machine(filesystem, design);
      for (let round = 0; round < 50; round++) {
        const page = MAPPED + (round % FILE_PAGES);
        const inodePage = ONE + (round % FILE_PAGES);
        on.memory.store(page, round + 1);
        if (round % 3 === 0) on.cache.writeFile(inodePage, round);
        const request = on.disk.submit(readInto(page, OTHER));
        if (design === "gup" && round % 5 === 0) writeBack(on, inodePage);
        if (design === "gup" && round % 7 === 0) on.cache.punchHole(inodePage);
        finish(on, request);
        writeBackIfDirty(on, inodePage);
        if (round % 4 === 0) on.memory.reclaim(page);
        if (filesystem !== FILESYSTEMS.ext4 && round % 6 === 0) assert.equal(on.cache.clone(inodePage, OTHER + 3), 0);
        else finish(on, on.disk.submit(writeFrom(ANONYMOUS, inodePage)));
      }
      for (let page = 0; page < on.size.pages; page++) on.memory.munmap(page);
      for (let inodePage = 0; inodePage < 8; inodePage++) assert.equal(on.cache.truncateFile(inodePage), 0);
      assert.equal(on.disk.pins, 0);
      const frames = new Set<number>();
      for (let frame = on.frames.allocate(0); frame >= 0; frame = on.frames.allocate(0)) frames.add(frame);
      assert.equal(frames.size, on.size.frames);
      for (let i = 0; i < 8; i++) assert.equal(on.cache.preallocate(i), 0);
      assert.ok(
        on.words
          .subarray(on.frames.layout.blockUsers.at, on.frames.layout.blockUsers.at + 12)
          .every((users) => users <= 1),
      );
    }
  });
}

test("a child inherits its parent's mappings of files, and stores of both go to the file", () => {
  const size = { frames: 8, pages: 2, processes: 2, swapSlots: 1, blocks: 2, bufferSlots: 1, bufferPages: 1 };
  const on = new Kernel({ ...size, requests: 1, requestPages: 1, inodePages: 2 }, "gup");
  on.cache.extendFile(ONE, FILESYSTEMS.xfs);
  on.memory.mapFile(MAPPED, ONE);
  on.memory.store(MAPPED, 1);
  assert.equal(fork(on, 0, 1), 0);
  const childs = size.pages + MAPPED;
  assert.equal(on.memory.load(childs), 1);
  on.memory.store(childs, 2);
  assert.equal(on.memory.load(MAPPED), 2);
  writeBack(on, ONE);
  assert.ok(!on.tables.is(childs, PTE_WRITE) && !on.tables.is(MAPPED, PTE_WRITE));
  assert.deepEqual([...on.cache.mappingsOf(ONE)].sort(), [MAPPED, childs]);
  assert.equal(exit(on, 1), 0);
  assert.deepEqual([...on.cache.mappingsOf(ONE)], [MAPPED]);
  assert.equal(on.memory.reclaim(MAPPED), 0);
});

test("a store to a page during a direct write elsewhere in it isn't lost", () => {
  const on = machine(FILESYSTEMS.ext4);
  on.memory.store(ANONYMOUS, 1);
  const write = writeFrom(ANONYMOUS, ONE);
  const request = on.disk.submit(write);
  on.memory.store(MAPPED, 2);
  finish(on, request);
  assert.deepEqual([on.memory.load(MAPPED), onDisk(on, ONE)], [2, 1], "as Linux has it");
  writeBack(on, ONE);
  const other = on.disk.submit(write);
  on.memory.store(MAPPED, 3);
  assert.equal(on.writeback.begin(ONE), 0);
  finish(on, other);
  on.writeback.serve(ONE);
  on.writeback.end(ONE);
  assert.deepEqual([on.memory.load(MAPPED), onDisk(on, ONE)], [3, 3]);
});

test("in Linux a page that was cleaned during a device write is dirty again only when it's unpinned", () => {
  const on = machine(FILESYSTEMS.ext4);
  const request = on.disk.submit(readInto(MAPPED, OTHER));
  const frame = on.tables.frameOf(MAPPED);
  assert.ok(on.frames.frameIs(frame, FOLIO_DIRTY), "marked when it's submitted");
  writeBack(on, ONE);
  on.disk.serve(request);
  on.disk.complete(request);
  assert.ok(!on.cache.isDirty(ONE) && on.memory.load(MAPPED) === 104 && onDisk(on, ONE) === 100);
  on.disk.release(request);
  assert.ok(on.cache.isDirty(ONE) && !on.tables.is(MAPPED, PTE_WRITE), "without a fault");
  const clean = on.disk.submit(readInto(MAPPED + 1, OTHER));
  on.disk.serve(clean);
  on.disk.complete(clean);
  writeBack(on, ONE + 1);
  on.disk.release(clean);
  assert.ok(
    !on.cache.isDirty(ONE + 1) && onDisk(on, ONE + 1) === 104,
    "dirty at its completion, it's left to writeback",
  );
});

test("Linux refuses to register a mapping of a file; the proposal looks its pages up again after writeback", () => {
  assert.equal(machine(FILESYSTEMS.xfs).disk.register(0, MAPPED, 2), EFAULT);
  const on = machine(FILESYSTEMS.btrfs, "notifier");
  assert.equal(on.disk.register(0, MAPPED, 2), 0);
  const read = { write: false, firstPage: MAPPED, pages: 2, block: inFile(OTHER), bufferSlot: 0 };
  const first = on.disk.submit(read);
  assert.equal(on.writeback.begin(ONE), WAIT, "a device writes there");
  finish(on, first);
  assert.equal(on.writeback.begin(ONE), 0);
  assert.equal(on.disk.submit(read), WAIT, "it can't be made writable");
  on.writeback.serve(ONE);
  on.writeback.end(ONE);
  const second = on.disk.submit({ ...read, write: true, block: inFile(OTHER + 2) });
  on.memory.store(MAPPED, 1);
  assert.equal(on.writeback.begin(ONE), 0, "device reads go on");
  on.writeback.serve(ONE);
  on.writeback.end(ONE);
  finish(on, second);
  finish(on, on.disk.submit(read));
  assert.ok(on.cache.isDirty(ONE) && on.tables.is(MAPPED, PTE_WRITE));
  on.memory.munmap(MAPPED);
  assert.equal(on.disk.submit(read), EFAULT);
});
