// Files of a simulated machine, as programs have them: by engines, through the page cache, by mappings, and what is on
// the disk.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isFilledWith } from "../../../pinless/dist-test/support/blocks.js";
import { until } from "../../../pinless/dist-test/support/until.js";
import { smallWorld } from "../../../pinless/dist-test/support/world.js";
import type { ModelFile } from "../../dist/model/files.js";
import { BLOCK_CHECKSUM, BLOCK_CONTENT, FILESYSTEMS, inFile, VM_DONTCOPY } from "../../dist/model/tables.js";
import { SimulatedWorld } from "../../dist/simulate/simulated-world.js";

const PAGE = 4096;
const MIB = 1 << 20;

/** On the disk, page by page: the first byte of each. */
function onDisk(world: SimulatedWorld, file: ModelFile): number[] {
  const { machine } = world;
  return Array.from({ length: file.pages }, (_, i) => {
    const block = machine.cache.blockOf(file.firstInodePage + i);
    return block < 0 ? 0 : machine.contents.bytesOf(machine.cache.block(block, BLOCK_CONTENT))[0]!;
  });
}

function filled(bytes: number, value: number): Uint8Array {
  return new Uint8Array(bytes).fill(value);
}

/** Says after some turns of the loop, in which the machine does all that it can, whether something still waits. */
function isPending(promise: Promise<unknown>): () => Promise<boolean> {
  let ended = false;
  void promise.then(() => {
    ended = true;
  });
  return async () => {
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
    return !ended;
  };
}

for (const [name, filesystem] of Object.entries(FILESYSTEMS)) {
  test(`${name}: bytes written in one way are read in all others, and on disk after fsync or writeback`, async () => {
    const world = new SimulatedWorld(smallWorld());
    const model = world.files.create("file", 0, filesystem);
    assert.equal(model.write(0, filled(4 * PAGE, 1)), 0);
    assert.deepEqual(onDisk(world, model), [0, 0, 0, 0]);
    const engine = world.openEngine({ scheme: "io_uring" });
    const file = await engine.openFile("file", "r+");
    await file.sync();
    assert.deepEqual(onDisk(world, model), [1, 1, 1, 1]);
    const [one, other] = [await engine.arena({ file, bytes: 4 * PAGE }), await engine.arena({ file })];
    const [mine, others] = [one.view(0, 4 * PAGE), other.view(0, 4 * PAGE)];
    const firstPage = world.machine.pageAt(world.machine.addressOfView(mine));
    assert.ok(world.machine.tables.is(firstPage, VM_DONTCOPY), "not for children");
    const plain = (await engine.arena({ bytes: MIB })).alloc(4 * PAGE);
    // Stores by two mappings, in one page; then by write(2), in a part of one.
    mine[0] = 2;
    others[1] = 3;
    mine.fill(4, PAGE, 2 * PAGE);
    const { bytesRead } = await file.read(Buffer.alloc(3), { position: 0 });
    assert.equal(bytesRead, 3);
    for (const view of [mine, others]) assert.deepEqual([...view.subarray(0, 3)], [2, 3, 1]);
    mine[10] = 11;
    await file.write(Buffer.from([5]), 0, 1, 2);
    assert.equal(others[10], 11);
    for (const view of [mine, others]) assert.deepEqual([...view.subarray(0, 3)], [2, 3, 5]);
    // Around the cache, and into memory that isn't a mapping.
    others[3] = 6;
    await file.read(plain, { position: 0 });
    assert.deepEqual([...plain.subarray(0, 5)], [2, 3, 5, 6, 1]);
    assert.deepEqual(onDisk(world, model), [2, 4, 1, 1], "what is dirty goes first");
    plain.fill(7);
    await file.write(plain.subarray(0, 2 * PAGE), { position: 2 * PAGE });
    for (const view of [mine, others]) assert.ok(isFilledWith(view.subarray(2 * PAGE), 7));
    assert.deepEqual(onDisk(world, model), [2, 4, 7, 7]);
    // From one mapping to another place of the file: the stores by the other mapping count.
    others[4 * PAGE - 1] = 8;
    await file.write(mine.subarray(3 * PAGE), { position: 0 });
    assert.equal(others[PAGE - 1], 8);
    others[0] = 9;
    await one.writeback();
    assert.deepEqual(onDisk(world, model), [9, 4, 7, 7]);
    others[1] = 12;
    await file.read(plain.subarray(0, PAGE), { position: 0 });
    assert.equal(plain[1], 12);
    await file.read(mine.subarray(PAGE, 2 * PAGE), { position: 3 * PAGE });
    assert.equal(others[PAGE], 7, "a copy into one mapping");
    mine[2 * PAGE] = 10;
    await one.close();
    assert.equal(others[2 * PAGE], 10, "closed, its stores stay");
    assert.equal(model.read(2 * PAGE, 1)[0], 10);
    await engine.close();
    for (let i = 0; i < 4; i++) assert.ok(!world.machine.cache.isCorrupt(model.firstInodePage + i));
  });
}

test("a truncated file that grows again reads as zeros there; I/O on truncated pages fails with EFAULT", async () => {
  const world = new SimulatedWorld(smallWorld());
  const model = world.files.create("file");
  model.write(0, filled(4 * PAGE, 1));
  const engine = world.openEngine({ scheme: "io_uring" });
  const file = await engine.openFile("file", "r+");
  const source = await engine.openFile("file", "r");
  const memory = (await engine.arena({ file, bytes: 4 * PAGE })).view(0, 4 * PAGE);
  const copy = file.read(memory.subarray(2 * PAGE), { position: 0 });
  await file.truncate(PAGE + 10);
  await copy.catch(() => {});
  assert.equal(((await file.stat()) as { size: number }).size, PAGE + 10);
  assert.deepEqual([memory[PAGE + 9], memory[PAGE + 10], memory[2 * PAGE]], [1, 0, 0]);
  await assert.rejects(source.read(memory.subarray(3 * PAGE), { position: 0 }), { code: "EFAULT" });
  memory[PAGE + 11] = 2;
  await file.truncate(4 * PAGE);
  assert.ok(isFilledWith(memory.subarray(PAGE + 10), 0), "a byte stored beyond the end is lost");
  assert.ok(isFilledWith(model.read(PAGE + 10, 4 * PAGE), 0));
  await source.read(memory.subarray(3 * PAGE), { position: 0 });
  assert.ok(isFilledWith(memory.subarray(3 * PAGE), 1));
  await assert.rejects(source.truncate(0), { code: "EBADF" });
  const emptied = await engine.openFile("file", "w");
  assert.equal(model.bytes, 0);
  assert.equal(emptied.direct, true);
  await engine.close();
});

test("ftruncate waits for direct I/O, and fsync and direct I/O wait for writeback", async () => {
  const world = new SimulatedWorld(smallWorld());
  const { machine } = world;
  const model = world.files.create("file");
  model.write(0, filled(2 * PAGE, 1));
  const engine = world.openEngine({ scheme: "io_uring" });
  const file = await engine.openFile("file", "r+");
  const buffer = (await engine.arena({ bytes: MIB })).alloc(2 * PAGE);
  for (const use of [() => file.sync(), () => file.read(buffer, { position: 0 })]) {
    model.write(0, filled(2 * PAGE, 2));
    // A writeback has begun before, with the earlier bytes.
    assert.equal(machine.writeback.begin(model.firstInodePage), 0);
    model.write(0, filled(1, 3));
    const used = use();
    const pending = isPending(used);
    assert.equal(await pending(), true);
    machine.writeback.serve(model.firstInodePage);
    machine.writeback.end(model.firstInodePage);
    await used;
    assert.deepEqual(onDisk(world, model), [3, 2]);
  }
  const firstPage = machine.pageAt(machine.addressOfView(buffer));
  const block = inFile(model.firstInodePage);
  const request = machine.disk.submit({ write: false, firstPage, pages: 1, block, bufferSlot: -1 });
  const truncated = isPending(file.truncate(0));
  assert.equal(await truncated(), true);
  machine.disk.serve(request);
  machine.disk.complete(request);
  machine.disk.release(request);
  await until("it's cut off", async () => !(await truncated()));
  assert.equal(model.bytes, 0);
  await engine.close();
});

test("a store by JavaScript during writeback with stable pages takes effect after it", async () => {
  const world = new SimulatedWorld(smallWorld());
  const { machine } = world;
  const model = world.files.create("file", 0, FILESYSTEMS.btrfs);
  model.write(0, filled(PAGE, 1));
  const engine = world.openEngine({ scheme: "io_uring" });
  const file = await engine.openFile("file", "r+");
  const memory = (await engine.arena({ file, bytes: PAGE })).view(0, PAGE);
  assert.equal(machine.writeback.begin(model.firstInodePage), 0);
  memory[0] = 2;
  // write(2), and a copy into the mapping by the kernel, sleep as well.
  const written = file.write(Buffer.from([3]), 0, 1, 1);
  const copied = file.read(memory.subarray(2, 3), { position: 0 });
  assert.ok((await isPending(written)()) && (await isPending(copied)()));
  assert.equal(model.read(0, 2)[0], 1);
  machine.writeback.serve(model.firstInodePage);
  machine.writeback.end(model.firstInodePage);
  await Promise.all([written, copied]);
  assert.deepEqual([...model.read(0, 2)], [2, 3]);
  await engine.close();
});

test("a block of btrfs with a wrong checksum gives EIO to reads, and EFAULT to I/O on a mapping of it", async () => {
  const world = new SimulatedWorld(smallWorld());
  const model = world.files.create("file", 0, FILESYSTEMS.btrfs);
  model.write(0, filled(3 * PAGE, 1));
  model.settle();
  const engine = world.openEngine({ scheme: "io_uring" });
  const file = await engine.openFile("file", "r+");
  world.machine.cache.setBlock(world.machine.cache.blockOf(model.firstInodePage + 1), BLOCK_CHECKSUM, 0);
  const buffer = (await engine.arena({ bytes: MIB })).alloc(3 * PAGE);
  for (const bytes of [PAGE, 100]) {
    await assert.rejects(file.read(buffer.subarray(0, bytes), { position: PAGE }), { code: "EIO" });
    assert.equal((await file.read(buffer.subarray(0, 2 * bytes), { position: PAGE - bytes })).bytesRead, bytes);
  }
  const memory = (await engine.arena({ file, bytes: 3 * PAGE })).view(0, 3 * PAGE);
  const part = memory.subarray(PAGE, 2 * PAGE);
  const transfer = (op: "read" | "write", position: number): Promise<unknown> =>
    op === "read" ? file.read(part, { position }) : file.write(part, { position });
  for (const [op, position] of [
    ["read", 0],
    ["write", 2 * PAGE],
  ] as const)
    await assert.rejects(transfer(op, position), { code: "EFAULT" });
  // Written as a whole it's right again.
  await file.write(buffer.subarray(0, PAGE), { position: PAGE });
  assert.equal((await file.read(buffer, { position: 0 })).bytesRead, 3 * PAGE);
  await engine.close();
});

test("on a full disk fsync and writeback fail", async () => {
  const world = new SimulatedWorld(smallWorld());
  const { blockUsers } = world.machine.frames.layout;
  const model = world.files.create("file", 0, FILESYSTEMS.btrfs);
  model.write(0, filled(PAGE, 1));
  model.settle();
  model.write(0, filled(PAGE, 2));
  const engine = world.openEngine({ scheme: "io_uring" });
  const file = await engine.openFile("file", "r+");
  const arena = await engine.arena({ file });
  world.machine.words.fill(1, blockUsers.at, blockUsers.at + blockUsers.entries);
  await assert.rejects(file.sync(), { code: "ENOSPC", syscall: "fsync" });
  await assert.rejects(arena.writeback(), { code: "ENOSPC", syscall: "msync" });
  await engine.close();
});

test("locks keep other opens of a file out, are waited for in virtual time, and end with the file", async () => {
  const world = new SimulatedWorld(smallWorld());
  world.files.create("file");
  const engine = world.openEngine({ scheme: "io_uring" });
  const [one, other] = [await engine.openFile("file", "r+"), await engine.openFile("file", "r+")];
  const shared = await one.lock({ start: 0, length: 10, exclusive: false });
  await (await other.lock({ start: 0, length: 20, exclusive: false })).unlock();
  await assert.rejects(other.lock({ start: 9, length: 5 }), { code: "EAGAIN" });
  await shared.unlock();
  const lock = await other.lock({ start: 9, length: 5 });
  await assert.rejects(one.lock({ exclusive: false }), { code: "EAGAIN" });
  const waits = one.lock({ wait: true });
  assert.ok(await isPending(waits)());
  await lock.unlock();
  await waits;
  await one.close();
  await other.lock();
  await assert.rejects((await engine.openFile("file", "r")).lock(), { code: "EBADF" });
  await engine.close();
});
