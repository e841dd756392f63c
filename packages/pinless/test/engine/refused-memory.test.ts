// Memory operations that the kernel refuses: retried with another advice, done in another way, or reported.
import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import { type TestContext, test } from "node:test";
import koffi from "koffi";
import { type Arena, type ArenaOptions, Engine, probe } from "../../dist/index.js";
import { isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { memoryCgroup, needsMemoryCgroups } from "../support/cgroup.js";
import { runModule } from "../support/children.js";
import { ext4, needsRoot, swap } from "../support/disks.js";
import { forkHere, needsCompiler } from "../support/fork.js";
import { fuse, needsFuse } from "../support/fuse.js";
import { addressOf } from "../support/proc.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

const MIB = 1 << 20;
const HUGE = 2 * MIB;
const MADV_NOHUGEPAGE = 15;
const { hugePages } = await probe();
const needsHugePages = (hugePages === null || hugePages === "never") && "machine: no transparent huge pages";

const lib = koffi.load(null);
const mlock = lib.func("int mlock(uintptr_t address, size_t bytes)");
const mprotect = lib.func("int mprotect(uintptr_t address, size_t bytes, int protection)");
const madvise = lib.func("int madvise(uintptr_t address, size_t bytes, int advice)");

async function withArena(
  t: TestContext,
  options: ArenaOptions,
): Promise<{ engine: Engine; arena: Arena; memory: Uint8Array }> {
  const engine = await Engine.open({ events: { pressure: false } });
  undoing(t, () => engine.close());
  const arena = await engine.arena(options);
  return { engine, arena, memory: arena.alloc(options.bytes) };
}

test("Arena.discard and close() of locked memory leave zeros; a lazy discard reports a reason", async (t) => {
  for (const closing of [false, true]) {
    const { arena, memory } = await withArena(t, { bytes: HUGE });
    // Within what any user may lock.
    const locked = memory.subarray(0, 65536);
    if (mlock(addressOf(locked), locked.byteLength) !== 0)
      return t.skip("machine: nothing can be locked (RLIMIT_MEMLOCK)");
    memory.fill(7);
    if (closing) await arena.close();
    else assert.equal((await arena.discard(locked)).busy, 0);
    assert.ok(isFilledWith(closing ? memory : locked, 0));
    if (closing) continue;
    const { busy, reason } = await arena.discard(locked, { lazily: true });
    assert.equal(busy, 16);
    assert.match(reason!, /mlock/);
  }
});

test("Arena.collapse says which advice or protection prevents it", { skip: needsHugePages }, async (t) => {
  const { arena, memory } = await withArena(t, { bytes: HUGE, hugePages: false });
  const [at, bytes] = [addressOf(memory), memory.byteLength];
  madvise(at, bytes, MADV_NOHUGEPAGE);
  assert.match((await arena.collapse()).reason!, /MADV_NOHUGEPAGE/);
  madvise(at, bytes, 14);
  await arena.discard(memory.subarray(0, 4096));
  for (const [protection, reason] of [
    [0, /PROT_NONE/],
    [1, /the memory is read-only/],
  ] as const) {
    mprotect(at, bytes, protection);
    const report = await arena.collapse();
    mprotect(at, bytes, 3);
    assert.equal(report.busy, 512);
    assert.match(report.reason!, reason);
  }
  assert.deepEqual([(await arena.collapse()).busy, memory[0]], [0, 0]);
});

test("Arena.collapse where huge pages are switched off for the process says so", { skip: needsHugePages }, async () => {
  const source = `
    import koffi from "koffi";
    import { Engine } from PINLESS;
    const engine = await Engine.open();
    const arena = await engine.arena({ bytes: ${HUGE}, hugePages: false });
    const PR_SET_THP_DISABLE = 41;
    koffi.load(null).func("prctl", "int", ["int", ...Array(4).fill("unsigned long")])(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    const { busy, reason } = await arena.collapse();
    console.log(busy, reason);
    await engine.close();
  `;
  const { stdout, stderr } = await runModule(source);
  assert.match(stdout, /^512 .*PR_SET_THP_DISABLE/, stderr);
});

test("Arena.pageOut reports pages that a child shares, and doesn't count them as done", {
  skip: needsRoot || needsCompiler,
}, async (t) => {
  swap(t, 32 * MIB);
  const { arena, memory } = await withArena(t, { bytes: HUGE, hugePages: false, inherit: true });
  memory.fill(7);
  const child = forkHere(t, memory.subarray(0, 4096));
  // Whatever this process stores into is its own.
  memory.fill(8, 0, MIB);
  const { done, busy, reason } = await arena.pageOut();
  assert.ok(busy >= 256 && done >= 200, `${done} done, ${busy} busy`);
  assert.match(reason!, /child/);
  assert.ok(isFilledWith(child.look()!, 7));
});

test("Arena.pageOut works after setuid", { skip: needsRoot }, async (t) => {
  swap(t, 32 * MIB);
  const source = `
    import { Engine } from PINLESS;
    const engine = await Engine.open({ events: { pressure: false } });
    const arena = await engine.arena({ bytes: ${HUGE} });
    const memory = arena.alloc(${HUGE}).fill(7);
    process.setgid(65534);
    process.setuid(65534);
    const { done, pages } = await arena.pageOut();
    const file = await engine.openFile("/dev/zero");
    const zeros = Buffer.alloc(9, 1);
    await file.read(zeros, 0, 9, 1);
    console.log(pages, done > 400, memory[0], memory[${HUGE - 1}], zeros.equals(Buffer.alloc(9)));
    await engine.close();
  `;
  const { stdout, stderr } = await runModule(source);
  assert.equal(stdout.trim(), "512 true 7 7 true", stderr);
});

test("a failing memory operation doesn't affect others: a mapped file that its owner has closed", async (t) => {
  const directory = scratchDirectory(t);
  const [name, source] = [path.join(directory, "mapped"), path.join(directory, "source")];
  writeFileSync(source, numberedBlocks(4));
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const handle = await open(name, "w+");
  const { fd } = handle;
  const mapped = await engine.arena({ file: handle, bytes: 4096 });
  const other = await engine.arena({ bytes: HUGE });
  const file = await engine.openFile(source);
  await handle.close();
  // Another file has the number now, and mustn't be mapped.
  const another = await open(source, "r+");
  undoing(t, () => another.close());
  const buffer = Buffer.alloc(9);
  const [grown, closed, read] = await Promise.allSettled([
    mapped.grow(4096),
    other.close(),
    file.read(buffer, 0, 9, 1),
  ]);
  assert.equal(grown.status === "rejected" && grown.reason.code, "EBADF");
  assert.deepEqual([closed.status, read.status], ["fulfilled", "fulfilled"]);
  assert.ok(buffer.equals(numberedBlocks(1).subarray(1, 10)));
  assert.equal(statSync(source).size, 4 * 4096);
  assert.equal(typeof fd, "number");
  mapped.view(0, 4096)[0] = 5;
  assert.equal((await mapped.writeback()).busy, 0);
  assert.equal(readFileSync(name)[0], 5);
});

test("a mapped file that doesn't fit on the disk keeps its length, and the disk its free space", {
  skip: needsRoot,
}, async (t) => {
  const mount = ext4(t, 16 * MIB);
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const [fresh, short, other] = ["fresh", "short", "other"].map((name) => path.join(mount, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(short, "12345");
  for (const [file, size] of [
    [fresh, 0],
    [short, 5],
  ] as const) {
    await assert.rejects(engine.arena({ file, bytes: 64 * MIB }), { code: "ENOSPC", syscall: "fallocate" });
    assert.equal(statSync(file).size, size);
    assert.equal(statSync(file).blocks <= 8, true);
    writeFileSync(other, new Uint8Array(6 * MIB));
  }
  assert.equal(readFileSync(short, "utf8"), "12345");
});

test("an arena larger than its memory cgroup's limit is refused, and the limit named", {
  skip: needsMemoryCgroups,
}, async (t) => {
  const limit = 256 * MIB;
  const { wrapper } = memoryCgroup(t, limit);
  const source = `
    import { Engine } from PINLESS;
    const engine = await Engine.open();
    for (const bytes of [1 << 30, 512 << 20]) {
      const error = await engine.arena({ bytes }).catch((error) => error);
      console.log(error.code, error.message);
    }
    const arena = await engine.arena({ bytes: 32 << 20 });
    await arena.grow(1 << 30).catch((error) => console.log(error.code, error.message));
    console.log(arena.bytes >> 20);
    // Each alone would find room.
    const both = await Promise.allSettled([engine.arena({ bytes: 160 << 20 }), engine.arena({ bytes: 160 << 20 })]);
    console.log(both.map(({ status, reason }) => reason?.code ?? status).join(" "));
    await engine.close();
  `;
  const { stdout, stderr, signal } = await runModule(source, { wrapper });
  assert.equal(signal, null);
  const lines = stdout.trim().split("\n");
  assert.equal(lines.length, 5, stdout + stderr);
  for (const line of lines.slice(0, 3))
    assert.match(line, new RegExp(`^ENOMEM .*memory\\.(max|limit_in_bytes) is ${limit}`));
  assert.deepEqual(lines.slice(3), ["32", "fulfilled ENOMEM"]);
});

test("a writeback() to a device that doesn't answer delays no other operation", { skip: needsFuse }, async (t) => {
  const disk = await fuse(t, new Uint8Array(MIB));
  const directory = scratchDirectory(t);
  const source = path.join(directory, "source");
  writeFileSync(source, numberedBlocks(16));
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const mapped = await engine.arena({ file: disk.file });
  const arena = await engine.arena({ bytes: HUGE });
  const file = await engine.openFile(source);
  mapped.view(0, 4096).fill(9);
  await disk.hold("write", "fsync");
  let ended = false;
  const writeback = mapped.writeback().finally(() => {
    ended = true;
  });
  try {
    await until("a request that's held", () => disk.held > 0);
    const memory = arena.alloc(HUGE).fill(3);
    assert.equal((await arena.discard()).busy, 0);
    assert.ok(isFilledWith(memory, 0));
    if (needsHugePages === false) assert.equal((await arena.collapse()).busy, 0);
    assert.equal((await arena.protect("read")).busy, 0);
    assert.equal((await arena.protect("readwrite")).busy, 0);
    const other = await engine.arena({ bytes: HUGE });
    await other.grow(HUGE);
    await other.close();
    const elsewhere = await engine.arena({ file: path.join(directory, "elsewhere"), bytes: MIB });
    elsewhere.view(0, 1)[0] = 1;
    assert.equal((await elsewhere.writeback()).busy, 0);
    await elsewhere.close();
    const bytes = Buffer.alloc(4096 + 5);
    await file.read(bytes, { position: 4096 - 5 });
    assert.equal(wrongBlocks(Uint8Array.from(bytes.subarray(5)), 1), null);
    assert.ok(!ended && !disk.impatient, "it didn't stand still: this has shown nothing");
  } finally {
    disk.go();
  }
  assert.equal((await writeback).busy, 0);
  assert.ok(isFilledWith(readFileSync(disk.backing).subarray(0, 4096), 9));
});
