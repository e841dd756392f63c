// Arenas of files when the file is cut short, the disk is full, the device fails, or other code changes the mapping.
import assert from "node:assert/strict";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import { type TestContext, test } from "node:test";
import koffi from "koffi";
import { tryUserfaultfd } from "../../../cli/dist/doctor/try-userfaultfd.js";
import { UFFD } from "../../dist/abi/numbers.js";
import { Engine, type EngineOptions } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { asOrdinaryUser, runModule } from "../support/children.js";
import { failingDisk, needsRoot, ramfs, tmpfs } from "../support/disks.js";
import { ioUringOff } from "../support/io-uring.js";
import { addressOf, descriptorsOf, mappingsOf, smapsBytes } from "../support/proc.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

const MIB = 1 << 20;
const EFAULT = -14;
const MADV_DONTNEED = 4;
const PROT_READ_WRITE = 3;
/** MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS */
const OVER = 0x32;

const lib = koffi.load(null);
const mmap = lib.func(
  "intptr_t mmap(uintptr_t address, size_t bytes, int protection, int flags, int fd, int64_t offset)",
);
const madvise = lib.func("int madvise(uintptr_t address, size_t bytes, int advice)");

async function engineOf(t: TestContext, options: EngineOptions = {}): Promise<Engine> {
  const engine = await Engine.open(options);
  undoing(t, () => engine.close());
  return engine;
}

for (const scheme of ["io_uring", "aio", "direct"] as const) {
  const skip = scheme === "io_uring" && ioUringOff();
  test(`${scheme}: I/O on a truncated part of a mapped file fails with EFAULT until the file is extended again`, {
    skip,
  }, async (t) => {
    const directory = scratchDirectory(t);
    const [source, target] = [path.join(directory, "source"), path.join(directory, "target")];
    writeFileSync(source, numberedBlocks(512));
    const engine = await engineOf(t, { scheme });
    const arena = await engine.arena({ file: target, bytes: 2 * MIB });
    const file = await engine.openFile(source, "r+");
    const memory = arena.view(0, 2 * MIB);
    memory.fill(1);
    truncateSync(target, MIB + 100);
    const fault = { code: "EFAULT", errno: EFAULT };
    const beyond = arena.view(MIB + BLOCK_BYTES, BLOCK_BYTES);
    for (const view of [beyond, beyond.subarray(1, 513), beyond.subarray(0, 100)]) {
      await assert.rejects(file.read(view, { position: 0 }), { ...fault, syscall: "read" });
      await assert.rejects(file.write(view, { position: 0 }), { ...fault, syscall: "write" });
    }
    await assert.rejects(file.read(arena.view(MIB, 2 * BLOCK_BYTES), { position: 0 }), fault, "a part of it is gone");
    for (const op of ["read", "write"] as const) {
      const errno = await new Promise((resolve) => file.submit(op, beyond, 0, resolve));
      assert.equal(errno, EFAULT);
    }
    // Up to the end of its last page it's memory.
    await file.read(arena.view(0, MIB + BLOCK_BYTES), { position: 0 });
    assert.equal(wrongBlocks(arena.view(0, MIB + BLOCK_BYTES), 0), null);
    assert.equal((await arena.writeback()).busy, 0);
    truncateSync(target, 2 * MIB);
    await file.read(beyond, { position: BLOCK_BYTES });
    assert.equal(wrongBlocks(beyond, 1), null);
  });
}

test("a load or store by JavaScript on a truncated part of a mapped file kills the process (SIGBUS)", async (t) => {
  for (const access of ["memory[0]", "memory[0] = 1"]) {
    const file = path.join(scratchDirectory(t), "file");
    const source = `
      import { truncateSync } from "node:fs";
      import { Engine } from PINLESS;
      const engine = await Engine.open();
      const memory = (await engine.arena({ file: ${JSON.stringify(file)}, bytes: 8192 })).view(4096, 4096);
      ${access};
      truncateSync(${JSON.stringify(file)}, 4096);
      ${access};
      console.log("lives");
    `;
    const { signal, stdout, stderr } = await runModule(source);
    assert.deepEqual([signal, stdout], ["SIGBUS", ""], stderr);
  }
});

test("an arena of a file that is open at the end of a process, or of a worker, leaves the file whole", async (t) => {
  const directory = scratchDirectory(t);
  writeFileSync(path.join(directory, "source"), numberedBlocks(64));
  const source = `
    import { readFileSync } from "node:fs";
    import { Worker } from "node:worker_threads";
    import { Engine } from PINLESS;
    const engine = await Engine.open({ depth: 16 });
    const [directory] = process.argv.slice(1);
    const arena = await engine.arena({ file: directory + "/main", bytes: 1 << 20 });
    const file = await engine.openFile(directory + "/source");
    await file.read(arena.view(0, 4096), { position: 0 });
    await file.close();
    const code = \`
      const { parentPort } = require("node:worker_threads");
      import(PINLESS).then(async ({ Engine }) => {
        const engine = await Engine.open({ depth: 16 });
        const arena = await engine.arena({ file: \${JSON.stringify(directory + "/worker")}, bytes: 1 << 20 });
        const file = await engine.openFile(\${JSON.stringify(directory + "/source")});
        const read = (i) => file.read(arena.view(i * 16384, 16384), { position: i * 16384 });
        const lanes = Array.from({ length: 16 }, (_, i) => i);
        await Promise.all(lanes.map(read));
        parentPort.postMessage("once");
        for (const i of lanes) (async () => {
          for (;;) await read(i);
        })();
      });
    \`;
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(code, { eval: true, execArgv: [] });
      await new Promise((resolve) => worker.once("message", resolve));
      await worker.terminate();
    }
    const same = readFileSync(directory + "/worker").subarray(0, 262144).equals(readFileSync(directory + "/source"));
    console.log(JSON.stringify([same, readFileSync(directory + "/main")[1]]));
  `;
  const { code, stdout, stderr } = await runModule(source, { args: [directory] });
  assert.deepEqual([code, stdout.trim(), stderr], [0, JSON.stringify([true, numberedBlocks(1)[1]]), ""]);
});

test("children don't inherit a mapped file, unless asked to", async (t) => {
  const file = path.join(scratchDirectory(t), "file");
  const engine = await engineOf(t);
  for (const inherit of [false, true]) {
    const arena = await engine.arena({ file, bytes: MIB, inherit });
    const start = addressOf(arena.view(0, MIB));
    const flags = mappingsOf(start, start + MIB).map((mapping) => mapping.get("VmFlags")!.split(" "));
    assert.equal(flags.length, 1);
    assert.deepEqual([flags[0]!.includes("dc"), flags[0]!.includes("sh")], [!inherit, true]);
    await arena.close();
    assert.equal(
      mappingsOf(start, start + MIB).some((mapping) => mapping.get("Range")!.includes(file)),
      false,
    );
  }
});

test("a full disk: a file that has to be extended is refused at once, I/O on a hole fails with EFAULT", {
  skip: needsRoot,
}, async (t) => {
  const mount = tmpfs(t, 2 * MIB);
  const engine = await engineOf(t);
  const full = path.join(mount, "full");
  await assert.rejects(engine.arena({ file: full, bytes: 8 * MIB }), {
    code: "ENOSPC",
    syscall: "fallocate",
    path: full,
  });
  const holes = path.join(mount, "holes");
  writeFileSync(holes, "");
  truncateSync(holes, 8 * MIB);
  const arena = await engine.arena({ file: holes });
  const source = path.join(scratchDirectory(t), "source");
  writeFileSync(source, numberedBlocks(1024));
  const file = await engine.openFile(source);
  let last: { code?: string } = {};
  for (let at = 0; at < 4 * MIB && last.code === undefined; at += 65536)
    await file.read(arena.view(at, 65536), { position: at }).catch((error) => {
      last = error;
    });
  assert.equal(last.code, "EFAULT");
  assert.equal(wrongBlocks(arena.view(0, MIB), 0), null);
});

test("a failing device is an error of writeback() and pageOut()", { skip: needsRoot }, async (t) => {
  const mount = failingDisk(t, 64 * MIB, 16 * MIB);
  const engine = await engineOf(t);
  const file = path.join(mount, "file");
  const arena = await engine.arena({ file, bytes: 32 * MIB });
  const memory = arena.view(0, 32 * MIB);
  memory.fill(1);
  // Which of the two is the loop device's business.
  const isFailure = (error: { code?: string; syscall?: string; path?: string }): boolean =>
    ["EIO", "ENOSPC"].includes(error.code!) && error.syscall === "msync" && error.path === file;
  await assert.rejects(arena.writeback(), isFailure);
  memory.fill(2);
  await assert.rejects(arena.pageOut(), isFailure);
  assert.equal(engine.notifier.inProgress, 0);
});

test("memory calls of other code on the mapping of a file are followed", async (t) => {
  const directory = scratchDirectory(t);
  const source = path.join(directory, "source");
  writeFileSync(source, numberedBlocks(64));
  const engine = await engineOf(t, { depth: 16 });
  const arena = await engine.arena({ file: path.join(directory, "target"), bytes: 2 * MIB });
  const { registers, features } = tryUserfaultfd();
  if (registers < 0 || (features & UFFD.UFFD_FEATURE_WP_ASYNC) === 0)
    return t.skip("machine: its userfaultfd takes no mapping of a file");
  assert.deepEqual(
    engine.stats().degraded.filter((why) => why.includes("followed")),
    [],
  );
  const file = await engine.openFile(source, "r+");
  const memory = arena.view(0, 64 * BLOCK_BYTES);
  let running = true;
  const readers = Array.from({ length: 8 }, async (_, lane) => {
    const part = memory.subarray(lane * 4 * BLOCK_BYTES, (lane + 1) * 4 * BLOCK_BYTES);
    for (let first = lane; running; first = (first + 7) % 60) {
      await file.read(part, { position: first * BLOCK_BYTES });
      assert.equal(wrongBlocks(part, first), null);
    }
  });
  for (let i = 0; i < 100; i++) {
    const answer = await new Promise((resolve) => {
      madvise.async(addressOf(memory), memory.length, MADV_DONTNEED, (_: unknown, errno: number) => resolve(errno));
    });
    assert.equal(answer, 0);
  }
  running = false;
  await Promise.all(readers);
  // Other code maps memory of its own over a part of the arena, which is then no memory of the arena.
  const theirs = arena.view(MIB, 65536);
  assert.equal(mmap(addressOf(theirs), theirs.length, PROT_READ_WRITE, OVER, -1, 0), addressOf(theirs));
  theirs.fill(0x77);
  const read = (): Promise<unknown> => file.read(theirs, { position: 0 }).catch(({ code }) => code);
  await until("it's known that it was mapped over", async () => (await read()) === "EFAULT");
  theirs.fill(0x77);
  assert.equal(await read(), "EFAULT");
  await assert.rejects(file.write(theirs, { position: 0 }), { code: "EFAULT" });
  assert.equal((await arena.writeback()).pages, 512 - 16);
  await arena.close();
  assert.ok(isFilledWith(theirs, 0x77), "not ours to touch");
  assert.ok(isFilledWith(memory, 0));
  // An engine with no arena there refuses it too.
  const stranger = await (await engineOf(t, { depth: 16 })).openFile(source);
  await assert.rejects(stranger.read(memory, { position: 0 }), { code: "EFAULT" });
});

test("reads of another engine into a mapped file are copied, as its own engine's", async (t) => {
  const directory = scratchDirectory(t);
  const source = path.join(directory, "source");
  writeFileSync(source, numberedBlocks(64));
  const [engine, stranger] = [await engineOf(t), await engineOf(t)];
  const arena = await engine.arena({ file: path.join(directory, "target"), bytes: MIB });
  const memory = arena.view(0, 64 * BLOCK_BYTES);
  const file = await stranger.openFile(source, "r+");
  await file.read(memory, { position: 0 });
  assert.equal(wrongBlocks(memory, 0), null);
  assert.deepEqual([engine.stats().submitted, stranger.stats().bounced], [1, 1]);
  await file.write(memory.subarray(0, BLOCK_BYTES), { position: BLOCK_BYTES });
  truncateSync(path.join(directory, "target"), 0);
  await assert.rejects(file.read(memory, { position: 0 }), { code: "EFAULT" });
  await assert.rejects(file.write(memory, { position: 0 }), { code: "EFAULT" });
});

test("no descriptor of a mapped file stays open once its arena is closed or refused", async (t) => {
  const file = path.join(scratchDirectory(t), "file");
  const mem = `/proc/${process.pid}/mem`;
  const before = descriptorsOf(mem);
  const engine = await Engine.open();
  const arena = await engine.arena({ file, bytes: 4096 });
  assert.deepEqual([descriptorsOf(file), descriptorsOf(mem)], [1, before + 1]);
  await arena.close();
  assert.equal(descriptorsOf(file), 0);
  await assert.rejects(engine.arena({ file, bytes: 2 ** 52 }), { code: "EFBIG" });
  truncateSync(file, 0);
  await assert.rejects(engine.arena({ file }), { code: "ERR_OUT_OF_RANGE" });
  assert.equal(descriptorsOf(file), 0);
  await engine.close();
  assert.equal(descriptorsOf(mem), before);
});

test("Arena.pageOut of a mapped file reports pages that stayed, as twice mapped ones may", async (t) => {
  const file = path.join(scratchDirectory(t), "file");
  const engine = await engineOf(t);
  const arena = await engine.arena({ file, bytes: MIB });
  const other = (await engine.arena({ file })).view(0, MIB / 2);
  const memory = arena.view(0, MIB);
  memory.fill(1);
  assert.ok(isFilledWith(other, 1));
  const { pages, done, busy } = await arena.pageOut();
  const start = addressOf(memory);
  assert.deepEqual([pages, done], [256, 256 - busy]);
  assert.equal(busy * 4096, smapsBytes("Rss", start, start + MIB));
});

test("a file on a filesystem without fallocate is extended without allocated space", { skip: needsRoot }, async (t) => {
  const file = path.join(ramfs(t), "file");
  const engine = await engineOf(t);
  const arena = await engine.arena({ file, bytes: MIB });
  arena.view(MIB - 1, 1)[0] = 1;
  assert.equal(readFileSync(file)[MIB - 1], 1);
});

test("a mapped file that was opened by node:fs isn't closed with the arena", async (t) => {
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, numberedBlocks(1));
  const handle = await open(file, "r+");
  undoing(t, () => handle.close());
  const engine = await engineOf(t);
  const arena = await engine.arena({ file: handle });
  assert.equal(wrongBlocks(Uint8Array.from(arena.view(0, BLOCK_BYTES)), 0), null);
  await arena.grow(BLOCK_BYTES);
  await arena.close();
  assert.equal((await handle.stat()).size, 2 * BLOCK_BYTES);
});

test("an arena of a file without /proc/self/mem is an error that says so", async () => {
  const source = `
    import { Engine } from PINLESS;
    import koffi from "koffi";
    const PR_SET_DUMPABLE = 4;
    const engine = await Engine.open({ scheme: "direct", pin: "per-io" });
    // Hides its memory from everyone but root, itself included.
    koffi.load(null).func("int prctl(int option, unsigned long argument)")(PR_SET_DUMPABLE, 0);
    const { code, message } = await engine.arena({ file: "/nowhere", bytes: 4096 }).catch((error) => error);
    console.log(code, message);
  `;
  const wrapper = process.getuid?.() === 0 ? asOrdinaryUser(8 * MIB) : [];
  const { stdout, stderr } = await runModule(source, { wrapper });
  assert.match(stdout, /^ERR_PINLESS_UNSUPPORTED .*\/proc\/self\/mem.*EACCES/, stderr);
});
