// Files that aren't the ordinary case: other filesystems, permissions, pipes, devices; descriptors and figures.
import assert from "node:assert/strict";
import {
  chmodSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { type Arena, Engine, type EngineOptions, open } from "../../dist/index.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { asOrdinaryUser, runModule } from "../support/children.js";
import { ext4, needsRoot, ramfs, tmpfs } from "../support/disks.js";
import { bytesOf, MEMORY_KINDS } from "../support/memory.js";
import { Random } from "../support/random.js";
import { namedPipe, scratchDirectory } from "../support/undo.js";

const MIB = 1 << 20;

async function withArena(
  body: (engine: Engine, arena: Arena) => Promise<void>,
  options?: EngineOptions,
): Promise<void> {
  const engine = await Engine.open({ depth: 8, ...options });
  try {
    await body(engine, await engine.arena({ bytes: 4 * MIB }));
  } finally {
    await engine.close();
  }
}

/** Writes and reads a file of 10,000 bytes in every way, on whatever filesystem `directory` is on. */
async function useFile(engine: Engine, arena: Arena, directory: string): Promise<void> {
  const name = path.join(directory, "file");
  const content = new Random(7).bytes(10_000);
  const file = await engine.openFile(name, "w+");
  const aligned = arena.alloc(8192);
  aligned.set(content.subarray(0, 8192));
  assert.equal((await file.write(aligned, { position: 0 })).bytesWritten, 8192);
  assert.equal((await file.write(content.subarray(8192), { position: 8192 })).bytesWritten, 10_000 - 8192);
  assert.ok(readFileSync(name).equals(content));
  const back = arena.alloc(16384);
  assert.equal((await file.read(back, { position: 0 })).bytesRead, 10_000);
  assert.ok(Buffer.from(content).equals(back.subarray(0, 10_000)));
  const odd = new Uint8Array(999);
  assert.equal((await file.read(odd, { position: 777 })).bytesRead, 999);
  assert.ok(Buffer.from(content.subarray(777, 1776)).equals(odd));
  await file.truncate(5000);
  assert.equal((await file.read(back, { position: 0 })).bytesRead, 5000);
  await file.sync();
  await file.datasync();
  await file.close();
  for (const buffer of [aligned, back]) await arena.free(buffer);
}

test("File on ext4 goes around the page cache: file.direct", { skip: needsRoot }, (t) =>
  withArena(async (engine, arena) => {
    const mount = ext4(t, 32 * MIB);
    await useFile(engine, arena, mount);
    const file = await engine.openFile(path.join(mount, "file"));
    assert.equal(file.direct, true);
    const before = engine.stats().buffered;
    await file.read(arena.alloc(BLOCK_BYTES), { position: 0 });
    assert.equal(engine.stats().buffered, before);
    await file.close(); // or the filesystem is busy
  }),
);

test("File on tmpfs does the same", { skip: needsRoot }, (t) =>
  withArena((engine, arena) => useFile(engine, arena, tmpfs(t, 32 * MIB))),
);

test("File on a filesystem without O_DIRECT goes through the page cache, and says so", { skip: needsRoot }, (t) =>
  withArena(async (engine, arena) => {
    const mount = ramfs(t);
    await useFile(engine, arena, mount);
    const file = await engine.openFile(path.join(mount, "file"));
    assert.equal(file.direct, false);
    const before = engine.stats();
    await file.read(arena.alloc(BLOCK_BYTES), { position: 0 });
    const { buffered, bounced } = engine.stats();
    assert.deepEqual([buffered - before.buffered, bounced - before.bounced], [1, 0]);
    await file.close();
  }),
);

test("File of /proc, whose size is 0, is read to its end", () =>
  withArena(async (engine, arena) => {
    const file = await engine.openFile("/proc/self/limits");
    assert.equal(file.direct, false);
    const expected = readFileSync("/proc/self/limits");
    const buffer = arena.alloc(65536);
    const { bytesRead } = await file.read(buffer, { position: 0 });
    assert.equal(Buffer.from(buffer.subarray(0, bytesRead)).toString(), expected.toString());
    const heap = Buffer.alloc(100);
    assert.equal((await file.read(heap, { position: 10 })).bytesRead, 100);
    assert.equal(heap.toString(), expected.subarray(10, 110).toString());
  }));

test("File with mode 0444 whose descriptor was opened for writing: not direct, and right", {
  skip: needsRoot,
}, async (t) => {
  const directory = scratchDirectory(t);
  chmodSync(directory, 0o777);
  const source = `
    import { Engine } from PINLESS;
    import { readFileSync } from "node:fs";
    const engine = await Engine.open();
    // Its own descriptor can write, but mode 0444 lets no other open() write.
    const file = await engine.openFile(process.argv[1], "wx+", 0o444);
    const arena = await engine.arena({ bytes: 1 << 20 });
    const buffer = arena.alloc(8192).fill(0x42);
    const { bytesWritten } = await file.write(buffer, { position: 4096 });
    const reader = await engine.openFile(process.argv[1], "r");
    const back = arena.alloc(16384);
    const { bytesRead } = await reader.read(back, { position: 0 });
    const right = back.subarray(0, bytesRead).every((byte, i) => byte === (i < 4096 ? 0 : 0x42));
    console.log(JSON.stringify({ bytesWritten, bytesRead, right, direct: [file.direct, reader.direct] }));
    await engine.close();
  `;
  const wrapper = asOrdinaryUser(8 * MIB);
  const { code, stdout, stderr } = await runModule(source, { wrapper, args: [path.join(directory, "file")] });
  assert.equal(code, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), { bytesWritten: 8192, bytesRead: 12288, right: true, direct: [false, true] });
});

test("File of a pipe reads bytes that are there, in order, and ends with its writer", async (t) => {
  const pipe = namedPipe(t);
  await withArena(async (engine, arena) => {
    const writer = openSync(pipe, constants.O_RDWR); // so that opening the other end doesn't wait
    const file = await engine.openFile(pipe, "r");
    assert.equal(file.direct, false);
    writeSync(writer, "some text");
    const buffer = Buffer.alloc(100);
    const { bytesRead } = await file.read(buffer);
    assert.equal(buffer.toString("utf8", 0, bytesRead), "some text");
    // Reads before the data, into every kind of memory: each gets its part.
    const reads = [file.read(Buffer.alloc(3)), file.read(arena.alloc(3)), file.read(arena.alloc(4096))];
    writeSync(writer, "abcdefgh");
    const got = await Promise.all(reads);
    assert.deepEqual(
      got.map(({ bytesRead, buffer }) => Buffer.from(buffer.subarray(0, bytesRead)).toString()),
      ["abc", "def", "gh"],
    );
    const last = file.read(Buffer.alloc(3));
    closeSync(writer);
    assert.equal((await last).bytesRead, 0);
    await file.close();
  });
});

test("File.close on a pipe ends the reads that wait for data with ECANCELED", async (t) => {
  const pipe = namedPipe(t);
  for (const when of ["at once", "in the kernel"]) {
    await withArena(async (engine, arena) => {
      const writer = openSync(pipe, constants.O_RDWR);
      try {
        const file = await engine.openFile(pipe, "r");
        const outcomes = [
          file.read(Buffer.alloc(10)),
          file.read(arena.alloc(BLOCK_BYTES)),
          file.read(Buffer.alloc(10), { position: 0 }),
          new Promise((_, reject) => {
            file.submit("read", arena.alloc(BLOCK_BYTES), 0, (errno) => reject({ code: errno }));
          }),
        ].map((read) =>
          read.then(
            () => "read",
            (error) => error.code,
          ),
        );
        // Something else goes to the kernel and back meanwhile, after the reads.
        if (when === "in the kernel") {
          const other = await engine.openFile("/proc/self/limits");
          await other.read(Buffer.alloc(1));
          await other.read(Buffer.alloc(1));
        }
        await file.close();
        for (const outcome of await Promise.all(outcomes))
          assert.ok(["ECANCELED", -125, "EINTR", "ESPIPE", -29].includes(outcome), `${when}: ${outcome}`);
      } finally {
        closeSync(writer);
      }
    });
  }
});

test("File of /dev/zero and /dev/null, of a directory", (t) =>
  withArena(async (engine, arena) => {
    const zero = await engine.openFile("/dev/zero", "r+");
    const buffer = arena.alloc(BLOCK_BYTES).fill(1);
    assert.equal((await zero.read(buffer)).bytesRead, BLOCK_BYTES);
    assert.ok(buffer.every((byte) => byte === 0));
    const heap = Buffer.alloc(5000, 1);
    assert.equal((await zero.read(heap, { position: 12_345 })).bytesRead, 5000);
    assert.ok(heap.every((byte) => byte === 0));
    assert.equal((await zero.write(heap, { position: 1 })).bytesWritten, 5000);
    const none = await engine.openFile("/dev/null", "r+");
    assert.equal((await none.read(heap)).bytesRead, 0);
    assert.equal((await none.write(heap)).bytesWritten, 5000);
    const directory = await engine.openFile(scratchDirectory(t), "r");
    assert.equal(directory.direct, false);
    await assert.rejects(directory.read(heap, { position: 0 }), { code: "EISDIR", syscall: "read" });
    assert.equal(((await directory.stat()) as { isDirectory(): boolean }).isDirectory(), true);
  }));

test("File: a full device says ENOSPC", () =>
  withArena(async (engine, arena) => {
    const full = await engine.openFile("/dev/full", "w");
    const wanted = { code: "ENOSPC", errno: -28, syscall: "write", bytesWritten: 0 };
    await assert.rejects(full.write(arena.alloc(BLOCK_BYTES), { position: 0 }), wanted);
    await assert.rejects(full.write("some text"), wanted);
    await assert.rejects(full.writev([Buffer.alloc(3), Buffer.alloc(3)]), wanted);
  }));

test("File.fd is a descriptor that Node's own calls take, and -1 once it's closed", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(2));
  await withArena(async (engine) => {
    const file = await engine.openFile(name);
    const buffer = Buffer.alloc(BLOCK_BYTES);
    assert.equal(readSync(file.fd, buffer, 0, BLOCK_BYTES, BLOCK_BYTES), BLOCK_BYTES);
    assert.equal(wrongBlocks(buffer, 1), null);
    await file.close();
    assert.equal(file.fd, -1);
    await file.close();
  });
});

test("File.chmod, chown, utimes and stat reach the file", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  await withArena(async (engine) => {
    const file = await engine.openFile(name, "w", 0o600);
    await file.chmod(0o640);
    await file.chown(process.getuid!(), process.getgid!());
    await file.utimes(1000, 2000);
    const { mode, mtimeMs, atimeMs } = statSync(name);
    assert.deepEqual([mode & 0o777, atimeMs, mtimeMs], [0o640, 1_000_000, 2_000_000]);
    assert.equal(typeof ((await file.stat({ bigint: true })) as { size: unknown }).size, "bigint");
  });
});

test("Engine.openFile takes Buffers and URLs as paths; open() uses the thread's default engine", async (t) => {
  const name = path.join(scratchDirectory(t), "file ü");
  writeFileSync(name, "content");
  await withArena(async (engine) => {
    for (const at of [name, Buffer.from(name), pathToFileURL(name)]) {
      const file = await engine.openFile(at);
      const { buffer, bytesRead } = await file.read();
      await file.close();
      assert.equal(Buffer.from(buffer.subarray(0, bytesRead)).toString(), "content");
    }
  });
  const file = await open(name, "r+");
  await file.write("CON");
  assert.equal(readFileSync(name, "utf8"), "CONtent");
  await file.close();
  await assert.rejects(open(path.join(name, "no")), { code: "ENOTDIR", syscall: "open" });
});

test("File.read accepts a bigint position, and refuses invalid ones", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(3));
  await withArena(async (engine, arena) => {
    const file = await engine.openFile(name, "r+");
    const buffer = arena.alloc(BLOCK_BYTES);
    await file.read(buffer, { position: BigInt(2 * BLOCK_BYTES) });
    assert.equal(wrongBlocks(buffer, 2), null);
    // Other values are taken as by the FileHandle of this Node: as-node-calls.test.ts compares them.
    for (const position of [-2n, 2n ** 63n])
      await assert.rejects(file.read(buffer, { position }), { code: "ERR_OUT_OF_RANGE" }, String(position));
  });
});

test("File: calls on 0 bytes return 0, with any kind of memory", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  await withArena(async (engine, arena) => {
    const file = await engine.openFile(name, "w+");
    const memory = arena.alloc(BLOCK_BYTES);
    for (const buffer of [memory, memory.subarray(1, 9), Buffer.alloc(9)])
      for (const position of [0, 1, null]) {
        assert.equal((await file.write(buffer, 0, 0, position)).bytesWritten, 0);
        assert.equal((await file.read(buffer, 0, 0, position)).bytesRead, 0);
        const none = buffer.subarray(0, 0);
        assert.equal((await file.writev([none, none], position)).bytesWritten, 0);
        assert.equal((await file.readv([none, none], position)).bytesRead, 0);
        if (position === null) continue;
        for (const op of ["read", "write"] as const)
          assert.equal(await new Promise((resolve) => file.submit(op, none, position, resolve)), 0);
      }
  });
});

test("Engine.stats counts requests that were copied, and requests through the page cache", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(16));
  await withArena(async (engine, arena) => {
    const file = await engine.openFile(name, "r+");
    if (!file.direct) return t.skip("the scratch filesystem has no O_DIRECT");
    const buffer = arena.alloc(2 * BLOCK_BYTES);
    const step = async (bounced: number, buffered: number, call: () => Promise<unknown>): Promise<void> => {
      const before = engine.stats();
      await call();
      const after = engine.stats();
      const counted = [after.bounced - before.bounced, after.buffered - before.buffered];
      assert.deepEqual(counted, [bounced, buffered], call.toString());
    };
    const block = buffer.subarray(0, BLOCK_BYTES);
    await step(0, 0, () => file.read(block, { position: 0 }));
    await step(0, 0, () => file.write(block, { position: 0 }));
    await step(1, 0, () => file.read(Buffer.alloc(BLOCK_BYTES), { position: 0 }));
    await step(1, 0, () => file.read(buffer.subarray(1, BLOCK_BYTES + 1), { position: 0 }));
    await step(0, 1, () => file.read(block, { position: 1 }));
    await step(0, 1, () => file.read(buffer.subarray(0, 100), { position: 0 }));
    await step(1, 1, () => file.write(Buffer.alloc(1), { position: 0 }));
    await step(0, 1, () => file.write(block, { position: 3 }));
  });
});

test("File takes every kind of memory, for reads and writes of every alignment", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  await withArena(async (engine) => {
    for (const { name: kind, unit, make } of MEMORY_KINDS) {
      // Small ones live on V8's heap.
      for (const bytes of [8, 40, 64, 512, 4096, 4104, 65536]) {
        const file = await engine.openFile(name, "w+");
        const view = make(bytes - (bytes % unit));
        const content = new Random(bytes).bytes(view.byteLength);
        for (const position of [0, 4096, 1001]) {
          bytesOf(view).set(content);
          assert.equal((await file.write(view, { position })).bytesWritten, view.byteLength);
          bytesOf(view).fill(0);
          const { bytesRead, buffer } = await file.read(view, { position });
          assert.equal(buffer, view);
          assert.equal(bytesRead, view.byteLength);
          assert.ok(bytesOf(view).equals(content), `${kind} of ${bytes} at ${position}`);
          bytesOf(view).fill(0);
          const errno = await new Promise((resolve) => file.submit("read", view, position, resolve));
          assert.equal(errno, 0);
          assert.ok(bytesOf(view).equals(content), `${kind} of ${bytes} at ${position}, submitted`);
        }
        await file.close();
      }
    }
  });
});
