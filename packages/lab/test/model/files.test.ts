// The page cache and mappings of files on the model, as Linux has them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { WAIT } from "../../dist/model/address-space.js";
import { MachineIo } from "../../dist/model/block-device-io.js";
import { exit, fork } from "../../dist/model/fork.js";
import {
  BLOCK_CONTENT,
  type Design,
  FILESYSTEMS,
  FOLIO_DIRTY,
  inFile,
  PTE_DIRTY,
  PTE_WRITE,
  STABLE_PAGES,
} from "../../dist/model/tables.js";

const EIO = -5;
const EAGAIN = -11;
const EFAULT = -14;
const EINVAL = -22;
const ENOSPC = -28;
const EOPNOTSUPP = -95;
const FILE_PAGES = 4;
/** The first pages of two files, and of memory: mappings of the first file, and anonymous memory. */
const ONE = 0;
const OTHER = 4;
const MAPPED = 0;
const ANONYMOUS = 4;

type Filesystem = (typeof FILESYSTEMS)[keyof typeof FILESYSTEMS];

/** Two files, the first mapped, of contents 100 to 103 and 104 to 107; of their blocks there are 4 left. */
function machine(filesystem: number, design: Design = "gup"): MachineIo {
  const size = { frames: 16, pages: 12, swapSlots: 4, blocks: 12, bufferSlots: 1, bufferPages: 4 };
  const on = new MachineIo({ ...size, requests: 4, requestPages: 4, inodePages: 8 }, design);
  for (let inodePage = 0; inodePage < 8; inodePage++) on.extendFile(inodePage, filesystem);
  for (let page = ANONYMOUS; page < size.pages; page++) on.mmap(page);
  for (let i = 0; i < 8; i++) {
    on.store(ANONYMOUS, 100 + i);
    transfer(on, true, ANONYMOUS, 1, inFile(i));
  }
  for (let i = 0; i < FILE_PAGES; i++) on.mapFile(MAPPED + i, ONE + i);
  return on;
}

function transfer(on: MachineIo, write: boolean, firstPage: number, pages: number, block: number): void {
  const request = on.submit({ write, firstPage, pages, block, bufferSlot: -1 });
  assert.ok(request >= 0, `errno ${-request}`);
  end(on, request);
}

function end(on: MachineIo, request: number): void {
  while (!on.serve(request));
  on.complete(request);
  on.release(request);
}

function writeBack(on: MachineIo, inodePage: number): void {
  assert.equal(on.beginWriteback(inodePage), 0);
  on.serveWriteback(inodePage);
  on.endWriteback(inodePage);
}

function onDisk(on: MachineIo, inodePage: number): number {
  return on.block(on.blockOf(inodePage), BLOCK_CONTENT);
}

const EVERY = Object.entries(FILESYSTEMS) as [string, Filesystem][];

for (const [name, filesystem] of EVERY) {
  test(`${name}: stores, write(2), loads and other mappings of a file are one memory; the disk has it after writeback`, () => {
    const on = machine(filesystem);
    assert.deepEqual(
      [0, 1, 2, 3].map((i) => on.load(MAPPED + i)),
      [100, 101, 102, 103],
    );
    on.munmap(ANONYMOUS + 7);
    on.mapFile(ANONYMOUS + 7, ONE);
    on.store(MAPPED, 1);
    assert.equal(on.load(ANONYMOUS + 7), 1);
    assert.equal(on.writeFile(ONE, 2), 0);
    assert.equal(on.load(MAPPED), 2);
    assert.equal(onDisk(on, ONE), 100);
    assert.ok(on.isDirty(ONE));
    writeBack(on, ONE);
    assert.equal(onDisk(on, ONE), 2);
    assert.ok(!on.isDirty(ONE) && !on.isCorrupt(ONE));
    assert.equal(on.beginWriteback(ONE), 0, "nothing to do");
    assert.ok(!on.isUnderWriteback(ONE));
    // Where it's unmapped it goes on in the cache, dirty as it was.
    on.store(ANONYMOUS + 7, 3);
    on.munmap(ANONYMOUS + 7);
    assert.ok(on.isDirty(ONE));
    assert.equal(on.load(MAPPED), 3);
    on.mmap(ANONYMOUS + 7);
    assert.equal(on.load(ANONYMOUS + 7), 0, "other memory");
  });

  test(`${name}: writeback write-protects a page in every mapping, and the next store is seen`, () => {
    const on = machine(filesystem);
    on.munmap(ANONYMOUS + 7);
    on.mapFile(ANONYMOUS + 7, ONE);
    on.store(MAPPED, 1);
    on.store(ANONYMOUS + 7, 2);
    assert.ok(on.is(MAPPED, PTE_WRITE) && on.is(ANONYMOUS + 7, PTE_WRITE));
    writeBack(on, ONE);
    for (const page of [MAPPED, ANONYMOUS + 7]) assert.ok(!on.is(page, PTE_WRITE) && !on.is(page, PTE_DIRTY));
    on.store(MAPPED, 3);
    assert.ok(on.isDirty(ONE) && !on.is(ANONYMOUS + 7, PTE_WRITE));
  });

  test(`${name}: what is read around the cache is on the disk first, what is written throws the cache's away`, () => {
    const on = machine(filesystem);
    on.store(MAPPED, 1);
    const read = { write: false, firstPage: ANONYMOUS, pages: 2, block: inFile(ONE), bufferSlot: -1 };
    const write = { ...read, write: true };
    for (const request of [read, write]) assert.equal(on.submit(request), WAIT);
    assert.equal(on.beginWriteback(ONE), 0);
    for (const request of [read, write]) assert.equal(on.submit(request), WAIT);
    on.serveWriteback(ONE);
    on.endWriteback(ONE);
    end(on, on.submit(read));
    assert.deepEqual([on.load(ANONYMOUS), on.load(ANONYMOUS + 1)], [1, 101]);
    for (const i of [0, 1]) on.store(ANONYMOUS + i, 10 + i);
    const request = on.submit(write);
    assert.equal(on.cachedIn(ONE), -1);
    // Loaded meanwhile, it's found again.
    assert.equal(on.load(MAPPED), 1);
    end(on, request);
    assert.deepEqual([on.load(MAPPED), on.load(MAPPED + 1)], [10, 11]);
    assert.deepEqual([on.isCorrupt(ONE), on.isCorrupt(ONE + 1)], [false, false]);
  });

  test(`${name}: discarding a mapping and reclaiming it lose nothing; what is dirty, pinned or mapped twice stays`, () => {
    const on = machine(filesystem);
    on.store(MAPPED, 1);
    on.discard(MAPPED);
    assert.ok(on.isDirty(ONE) && on.frameOf(MAPPED) < 0);
    assert.equal(on.load(MAPPED), 1);
    assert.equal(on.reclaim(MAPPED), EAGAIN, "dirty");
    assert.ok(on.cachedIn(ONE) >= 0);
    writeBack(on, ONE);
    on.load(MAPPED);
    const request = on.submit({ write: true, firstPage: MAPPED, pages: 1, block: inFile(OTHER), bufferSlot: -1 });
    assert.equal(on.reclaim(MAPPED), EAGAIN, "pinned");
    end(on, request);
    on.munmap(ANONYMOUS + 7);
    on.mapFile(ANONYMOUS + 7, ONE);
    on.load(ANONYMOUS + 7);
    assert.equal(on.reclaim(MAPPED), EAGAIN, "mapped twice");
    on.munmap(ANONYMOUS + 7);
    assert.equal(on.reclaim(MAPPED), 0);
    assert.equal(on.cachedIn(ONE), -1);
    assert.equal(on.load(MAPPED), 1);
    assert.equal(on.migrate(MAPPED), 0);
    assert.equal(on.cachedIn(ONE), on.frameOf(MAPPED));
    assert.equal(on.writeFile(ONE, 2), 0);
    assert.equal(on.load(MAPPED), 2);
    assert.deepEqual([on.freeLazily(MAPPED), on.collapse(MAPPED, 4)], [EINVAL, EINVAL]);
  });

  test(`${name}: beyond the end of a file there's EFAULT, and a hole where it grows again`, () => {
    const on = machine(filesystem);
    on.store(MAPPED, 1);
    assert.equal(on.beginWriteback(ONE), 0);
    assert.equal(on.truncateFile(ONE), WAIT);
    on.serveWriteback(ONE);
    on.endWriteback(ONE);
    const request = on.submit({ write: false, firstPage: ANONYMOUS, pages: 1, block: inFile(ONE), bufferSlot: -1 });
    assert.equal(on.truncateFile(ONE), WAIT);
    end(on, request);
    on.store(MAPPED, 2);
    assert.equal(on.truncateFile(ONE), 0);
    for (const write of [false, true]) assert.equal(on.fault(MAPPED, write), EFAULT);
    assert.equal(
      on.submit({ ...{ write: true, firstPage: MAPPED, pages: 1 }, block: inFile(OTHER), bufferSlot: -1 }),
      EFAULT,
    );
    on.extendFile(ONE, filesystem);
    assert.equal(on.load(MAPPED), 0);
    transfer(on, false, ANONYMOUS, 1, inFile(ONE));
    assert.equal(on.load(ANONYMOUS), 0);
    on.store(MAPPED, 3);
    assert.equal(on.blockOf(ONE), -1);
    writeBack(on, ONE);
    assert.equal(onDisk(on, ONE), 3);
  });

  test(`${name}: a device that has a page of a mapping pinned writes into nothing once the page is punched out`, () => {
    const on = machine(filesystem);
    const request = on.submit({ write: false, firstPage: MAPPED, pages: 1, block: inFile(OTHER), bufferSlot: -1 });
    assert.equal(on.punchHole(ONE), 0);
    end(on, request);
    assert.equal(on.load(MAPPED), 0);
    const waits = machine(filesystem, "notifier");
    const other = waits.submit({ write: false, firstPage: MAPPED, pages: 1, block: inFile(OTHER), bufferSlot: -1 });
    assert.equal(waits.punchHole(ONE), WAIT, "the proposal");
    end(waits, other);
    assert.equal(waits.load(MAPPED), 104);
  });

  test(`${name}: every frame and every block is free again once nothing refers to it`, () => {
    for (const design of ["gup", "notifier"] as const) {
      const on = machine(filesystem, design);
      for (let round = 0; round < 50; round++) {
        const page = MAPPED + (round % FILE_PAGES);
        const inodePage = ONE + (round % FILE_PAGES);
        on.store(page, round + 1);
        if (round % 3 === 0) on.writeFile(inodePage, round);
        const request = on.submit({ write: false, firstPage: page, pages: 1, block: inFile(OTHER), bufferSlot: -1 });
        if (design === "gup" && round % 5 === 0) writeBack(on, inodePage);
        if (design === "gup" && round % 7 === 0) on.punchHole(inodePage);
        end(on, request);
        writeBackIfDirty(on, inodePage);
        if (round % 4 === 0) on.reclaim(page);
        if (filesystem !== FILESYSTEMS.ext4 && round % 6 === 0) assert.equal(on.clone(inodePage, OTHER + 3), 0);
        else transfer(on, true, ANONYMOUS, 1, inFile(inodePage));
      }
      for (let page = 0; page < on.size.pages; page++) on.munmap(page);
      for (let inodePage = 0; inodePage < 8; inodePage++) assert.equal(on.truncateFile(inodePage), 0);
      assert.equal(on.pins, 0);
      const frames = new Set<number>();
      for (let frame = on.allocate(0); frame >= 0; frame = on.allocate(0)) frames.add(frame);
      assert.equal(frames.size, on.size.frames);
      for (let i = 0; i < 8; i++) assert.equal(on.preallocate(i), 0);
      assert.ok(on.words.subarray(on.layout.blockUsers.at, on.layout.blockUsers.at + 12).every((users) => users <= 1));
    }
  });
}

function writeBackIfDirty(on: MachineIo, inodePage: number): void {
  if (on.isDirty(inodePage)) writeBack(on, inodePage);
}

test("a store during writeback waits for its end on btrfs, and where the device asks for stable pages; not on ext4 and xfs", () => {
  const waiting = [FILESYSTEMS.btrfs, FILESYSTEMS.ext4 | STABLE_PAGES];
  for (const filesystem of [...waiting, FILESYSTEMS.ext4, FILESYSTEMS.xfs]) {
    const on = machine(filesystem);
    on.store(MAPPED, 1);
    assert.equal(on.beginWriteback(ONE), 0);
    const stable = waiting.includes(filesystem);
    assert.equal(on.store(MAPPED, 2), stable ? WAIT : 0);
    assert.equal(on.writeFile(ONE, 3), stable ? WAIT : 0);
    assert.equal(on.load(MAPPED), stable ? 1 : 3);
    const request = on.submit({ write: false, firstPage: MAPPED, pages: 1, block: inFile(OTHER), bufferSlot: -1 });
    assert.equal(request === WAIT, stable, "a pin for writing is a store");
    if (!stable) end(on, request);
    on.serveWriteback(ONE);
    on.endWriteback(ONE);
    assert.equal(on.isDirty(ONE), !stable);
    assert.equal(on.store(MAPPED, 2), 0);
    writeBack(on, ONE);
    assert.equal(onDisk(on, ONE), 2);
  }
});

test("btrfs writes nothing in place, ext4 and xfs do; a reader of what doesn't match its checksum gets EIO, or SIGBUS", () => {
  for (const [name, filesystem] of EVERY) {
    const on = machine(filesystem);
    const before = on.blockOf(ONE);
    on.store(MAPPED, 1);
    writeBack(on, ONE);
    assert.equal(on.blockOf(ONE) === before, name !== "btrfs", name);
    on.store(ANONYMOUS, 2);
    const written = on.blockOf(ONE);
    transfer(on, true, ANONYMOUS, 1, inFile(ONE));
    assert.equal(on.blockOf(ONE) === written, name !== "btrfs", name);
    // The disk loses a bit.
    on.setBlock(on.blockOf(ONE), BLOCK_CONTENT, 3);
    const corrupt = name === "btrfs";
    assert.equal(on.isCorrupt(ONE), corrupt);
    const request = on.submit({ write: false, firstPage: ANONYMOUS, pages: 2, block: inFile(ONE), bufferSlot: -1 });
    assert.equal(on.failsChecksum(request), corrupt);
    on.serve(request);
    assert.equal(on.failsChecksum(request), false, "the next page is as it should be");
    assert.equal(on.fault(MAPPED, false), corrupt ? EFAULT : 0);
    assert.equal(on.bringIn(ONE), corrupt ? EIO : 0);
  }
});

test("what changes while a device reads it for a write around the cache has a wrong checksum on btrfs", () => {
  const on = machine(FILESYSTEMS.btrfs);
  on.store(ANONYMOUS, 1);
  const request = on.submit({ write: true, firstPage: ANONYMOUS, pages: 1, block: inFile(ONE), bufferSlot: -1 });
  on.store(ANONYMOUS, 2);
  end(on, request);
  assert.ok(on.isCorrupt(ONE));
});

test("files that share blocks (FICLONE) stop sharing what is written, by whatever way it's written", () => {
  const ways = {
    store: (on: MachineIo) => on.store(MAPPED, 1),
    "write(2)": (on: MachineIo) => on.writeFile(ONE, 1),
    O_DIRECT: (on: MachineIo) => {
      on.store(ANONYMOUS, 1);
      transfer(on, true, ANONYMOUS, 1, inFile(ONE));
      return 0;
    },
  };
  for (const filesystem of [FILESYSTEMS.xfs, FILESYSTEMS.btrfs]) {
    for (const [way, write] of Object.entries(ways)) {
      const on = machine(filesystem);
      on.store(MAPPED, 9);
      assert.equal(on.clone(ONE, OTHER), WAIT, "dirty");
      writeBack(on, ONE);
      assert.equal(on.clone(ONE, OTHER), 0);
      assert.equal(on.blockOf(OTHER), on.blockOf(ONE));
      assert.equal(write(on), 0);
      if (on.isDirty(ONE)) writeBack(on, ONE);
      assert.notEqual(on.blockOf(OTHER), on.blockOf(ONE), way);
      assert.deepEqual([onDisk(on, ONE), onDisk(on, OTHER)], [1, 9], way);
    }
  }
  assert.equal(machine(FILESYSTEMS.ext4).clone(ONE, OTHER), EOPNOTSUPP);
});

test("a child has its parent's mappings of files too, and what either stores is the file's", () => {
  const size = { frames: 8, pages: 2, processes: 2, swapSlots: 1, blocks: 2, bufferSlots: 1, bufferPages: 1 };
  const on = new MachineIo({ ...size, requests: 1, requestPages: 1, inodePages: 2 }, "gup");
  on.extendFile(ONE, FILESYSTEMS.xfs);
  on.mapFile(MAPPED, ONE);
  on.store(MAPPED, 1);
  assert.equal(fork(on, 0, 1), 0);
  const childs = size.pages + MAPPED;
  assert.equal(on.load(childs), 1);
  on.store(childs, 2);
  assert.equal(on.load(MAPPED), 2);
  writeBack(on, ONE);
  assert.ok(!on.is(childs, PTE_WRITE) && !on.is(MAPPED, PTE_WRITE));
  assert.deepEqual([...on.mappingsOf(ONE)].sort(), [MAPPED, childs]);
  assert.equal(exit(on, 1), 0);
  assert.deepEqual([...on.mappingsOf(ONE)], [MAPPED]);
  assert.equal(on.reclaim(MAPPED), 0);
});

test("a page that was stored to while something else was written around the cache stays as it was stored", () => {
  const on = machine(FILESYSTEMS.ext4);
  on.store(ANONYMOUS, 1);
  const write = { write: true, firstPage: ANONYMOUS, pages: 1, block: inFile(ONE), bufferSlot: -1 };
  const request = on.submit(write);
  on.store(MAPPED, 2);
  end(on, request);
  assert.deepEqual([on.load(MAPPED), onDisk(on, ONE)], [2, 1], "as Linux has it");
  writeBack(on, ONE);
  const other = on.submit(write);
  on.store(MAPPED, 3);
  assert.equal(on.beginWriteback(ONE), 0);
  end(on, other);
  on.serveWriteback(ONE);
  on.endWriteback(ONE);
  assert.deepEqual([on.load(MAPPED), onDisk(on, ONE)], [3, 3]);
});

test("who finds a new block for a page keeps others from it: writes around the cache, writeback, FICLONE", () => {
  for (const filesystem of [FILESYSTEMS.xfs, FILESYSTEMS.btrfs]) {
    const on = machine(filesystem);
    assert.equal(on.clone(ONE, OTHER), 0);
    on.store(ANONYMOUS, 1);
    const write = { write: true, firstPage: ANONYMOUS, pages: 1, block: inFile(ONE), bufferSlot: -1 };
    const request = on.submit(write);
    on.store(MAPPED, 2);
    assert.deepEqual([on.beginWriteback(ONE), on.submit({ ...write, firstPage: ANONYMOUS + 1 })], [WAIT, WAIT]);
    on.punchHole(ONE + 1);
    const hole = on.submit({ ...write, block: inFile(ONE + 1) });
    assert.deepEqual([on.submit({ ...write, block: inFile(ONE + 1) }), on.clone(ONE + 1, OTHER + 1)], [WAIT, WAIT]);
    end(on, hole);
    // It fails: what was stored meanwhile still has a place of its own.
    on.complete(request);
    on.release(request);
    assert.equal(on.beginWriteback(ONE), 0);
    assert.equal(on.clone(ONE, OTHER + 1), WAIT);
    on.serveWriteback(ONE);
    on.endWriteback(ONE);
    assert.deepEqual([onDisk(on, ONE), onDisk(on, OTHER), onDisk(on, ONE + 1)], [2, 100, 1]);
  }
});

test("a write that ended early leaves the rest of the file as it was, in the blocks that it was in", () => {
  for (const [name, filesystem] of EVERY) {
    const on = machine(filesystem);
    const before = on.blockOf(ONE + 1);
    for (const i of [0, 1]) on.store(ANONYMOUS + i, 1 + i);
    const request = on.submit({ write: true, firstPage: ANONYMOUS, pages: 2, block: inFile(ONE), bufferSlot: -1 });
    on.serve(request);
    on.complete(request);
    on.release(request);
    assert.deepEqual([on.load(MAPPED), on.load(MAPPED + 1)], [1, 101], name);
    assert.equal(on.blockOf(ONE + 1), before);
  }
});

test("where the disk has no room a store gets SIGBUS, a write(2) and one around the cache ENOSPC, and nothing has begun", () => {
  const on = machine(FILESYSTEMS.ext4);
  for (let i = 0; i < 4; i++) assert.equal(on.punchHole(ONE + i), 0);
  const { at } = on.layout.blockUsers;
  on.words.fill(1, at, at + 11);
  const write = { write: true, firstPage: ANONYMOUS, pages: 2, block: inFile(ONE), bufferSlot: -1 };
  on.munmap(ANONYMOUS + 7);
  assert.equal(on.submit({ ...write, firstPage: ANONYMOUS + 7, pages: 1 }), EFAULT);
  assert.equal(on.submit(write), ENOSPC);
  assert.ok(on.submit({ ...write, firstPage: MAPPED, pages: 1, block: inFile(OTHER) }) >= 0, "a hole is read");
  assert.equal(on.store(MAPPED + 1, 1), 0);
  assert.equal(on.store(MAPPED + 2, 1), EFAULT);
  assert.equal(on.writeFile(ONE + 3, 1), ENOSPC);
  writeBack(on, ONE + 1);
  assert.equal(onDisk(on, ONE + 1), 1);
});

test("in Linux what a device wrote into a page that was cleaned meanwhile is dirty again only when the page is let go", () => {
  const on = machine(FILESYSTEMS.ext4);
  const request = on.submit({ write: false, firstPage: MAPPED, pages: 1, block: inFile(OTHER), bufferSlot: -1 });
  const frame = on.frameOf(MAPPED);
  assert.ok(on.frameIs(frame, FOLIO_DIRTY), "marked when it's submitted");
  writeBack(on, ONE);
  on.serve(request);
  on.complete(request);
  assert.ok(!on.isDirty(ONE) && on.load(MAPPED) === 104 && onDisk(on, ONE) === 100);
  on.release(request);
  assert.ok(on.isDirty(ONE) && !on.is(MAPPED, PTE_WRITE), "without a fault");
  const clean = on.submit({ write: false, firstPage: MAPPED + 1, pages: 1, block: inFile(OTHER), bufferSlot: -1 });
  on.serve(clean);
  on.complete(clean);
  writeBack(on, ONE + 1);
  on.release(clean);
  assert.ok(!on.isDirty(ONE + 1) && onDisk(on, ONE + 1) === 104, "dirty at its completion, it's left to writeback");
});

test("Linux refuses to register a mapping of a file; the proposal looks its pages up again after writeback", () => {
  assert.equal(machine(FILESYSTEMS.xfs).register(0, MAPPED, 2), EFAULT);
  const on = machine(FILESYSTEMS.btrfs, "notifier");
  assert.equal(on.register(0, MAPPED, 2), 0);
  const read = { write: false, firstPage: MAPPED, pages: 2, block: inFile(OTHER), bufferSlot: 0 };
  const first = on.submit(read);
  assert.equal(on.beginWriteback(ONE), WAIT, "a device writes there");
  end(on, first);
  assert.equal(on.beginWriteback(ONE), 0);
  assert.equal(on.submit(read), WAIT, "it can't be made writable");
  on.serveWriteback(ONE);
  on.endWriteback(ONE);
  const second = on.submit({ ...read, write: true, block: inFile(OTHER + 2) });
  on.store(MAPPED, 1);
  assert.equal(on.beginWriteback(ONE), 0, "device reads go on");
  on.serveWriteback(ONE);
  on.endWriteback(ONE);
  end(on, second);
  end(on, on.submit(read));
  assert.ok(on.isDirty(ONE) && on.is(MAPPED, PTE_WRITE));
  on.munmap(MAPPED);
  assert.equal(on.submit(read), EFAULT);
});
