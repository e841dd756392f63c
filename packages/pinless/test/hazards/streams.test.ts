// Reads and writes of pipes may wait for ever: no memory operation waits for them, and none loses, doubles
// or tears a byte.
import assert from "node:assert/strict";
import { closeSync, constants, fstatSync, openSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import type { Arena, File, SchemeName } from "../../dist/index.js";
import { isFilledWith, numberedBlocks } from "../support/blocks.js";
import { ioUringOff } from "../support/io-uring.js";
import { Random } from "../support/random.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";
import { drain, MIB, open, pipe, streamBytes, timeout, waitingIn, watch } from "./stream-bed.js";

const { O_RDWR, O_RDONLY, O_WRONLY } = constants;

const OPERATIONS: Record<string, (arena: Arena, view: Uint8Array) => Promise<unknown>> = {
  discard: (arena, view) => arena.discard(view),
  discardLazily: (arena, view) => arena.discard(view, { lazily: true }),
  collapse: (arena, view) => arena.collapse(view),
  migrate: (arena, view) => arena.migrate({ node: 0 }, view),
  exclusive: (arena, view) => arena.exclusive(view, () => {}),
  protect: async (arena, view) => {
    await arena.protect("read", view);
    await arena.protect("readwrite", view);
  },
};

function streams(scheme: SchemeName): void {
  test(`${scheme}: a waiting read of a pipe delays no memory operation, and gets its bytes afterwards`, {
    timeout,
  }, async (t) => {
    const { engine, arena } = await open(t, { scheme });
    const { path, fd } = pipe(t);
    const file = await engine.openFile(path, O_RDONLY);
    const memory = arena.alloc(2 * MIB);
    for (const [name, operation] of Object.entries(OPERATIONS)) {
      memory.fill(0);
      const reading = file.read(memory, 4096, 100_000);
      const watched = watch(reading);
      await operation(arena, memory);
      assert.equal(watched.ended, null, name);
      writeSync(fd, streamBytes(0, 1000));
      assert.equal((await reading).bytesRead, 1000, name);
      assert.deepEqual(memory.slice(4096, 5096), streamBytes(0, 1000), name);
      assert.ok(isFilledWith(memory.subarray(5096), 0), name);
    }
  });

  test(`${scheme}: bytes that come during an exclusive use arrive after it (EXCLUSION)`, { timeout }, async (t) => {
    const { engine, arena } = await open(t, { scheme });
    const end = pipe(t);
    const file = await engine.openFile(end.path, O_RDONLY);
    const memory = arena.alloc(4096).fill(0);
    const reading = file.read(memory);
    const watched = watch(reading);
    await arena.exclusive(memory, async (bytes) => {
      writeSync(end.fd, streamBytes(0, 100));
      await until("the bytes to be taken", () => waitingIn(end) === 0);
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      assert.ok(isFilledWith(bytes, 0));
      assert.equal(watched.ended, null);
    });
    assert.equal((await reading).bytesRead, 100);
    assert.deepEqual(memory.slice(0, 100), streamBytes(0, 100));
  });

  test(`${scheme}: closing an arena ends waiting calls on a pipe with EFAULT, and the pipe keeps its bytes`, {
    timeout,
  }, async (t) => {
    const { engine, arena } = await open(t, { scheme });
    const end = pipe(t);
    const file = await engine.openFile(end.path, O_RDONLY);
    const watched = watch(file.read(arena.alloc(4096)));
    await until("the read to be on its way", () => engine.stats().submitted === 1);
    await arena.close();
    await until("the end of the read", () => watched.ended === "EFAULT");
    writeSync(end.fd, streamBytes(0, 10));
    assert.equal(waitingIn(end), 10);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(100));
    assert.deepEqual(Uint8Array.from(buffer.subarray(0, bytesRead)), streamBytes(0, 10));
  });

  test(`${scheme}: bytes read from a pipe for memory that is gone or read-only by then go to the next read`, {
    timeout,
  }, async (t) => {
    const { engine, arena: memory } = await open(t, { scheme });
    const end = pipe(t);
    const file = await engine.openFile(end.path, O_RDONLY);
    let at = 0;
    for (const how of ["close", "protect"] as const) {
      const arena = await engine.arena({ bytes: 2 * MIB });
      const [first, second] = [arena.alloc(4096), arena.alloc(4096)];
      const vector = file.readv([first, second]);
      const outcome = vector.then(
        () => assert.fail("there was no memory for it"),
        ({ code }) => assert.equal(code, "EFAULT"),
      );
      let gone: Promise<unknown> = Promise.resolve();
      await arena.exclusive(first, async () => {
        // Its turn comes when this ends, before the copy's.
        if (how === "protect") gone = arena.protect("read", first);
        writeSync(end.fd, streamBytes(at, 5000));
        await until("the bytes to be taken", () => waitingIn(end) === 0);
        for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
        if (how === "close") gone = arena.close();
      });
      await Promise.all([gone, outcome]);
      writeSync(end.fd, streamBytes(at + 5000, 100));
      for (let left = 5100; left > 0; ) {
        const target = memory.alloc(1234);
        const { bytesRead } = await file.read(target);
        assert.deepEqual(target.slice(0, bytesRead), streamBytes(at, bytesRead), how);
        at += bytesRead;
        left -= bytesRead;
      }
      if (how === "protect") await arena.close();
    }
  });

  test(`${scheme}: a waiting write to a pipe takes its bytes at one moment: before a discard or after it`, {
    timeout,
  }, async (t) => {
    const { engine, arena } = await open(t, { scheme });
    const end = pipe(t);
    const file = await engine.openFile(end.path, O_WRONLY);
    const memory = arena.alloc(MIB);
    const bytes = streamBytes(0, 300_007);
    memory.set(bytes);
    const views = [memory.subarray(0, 200_003), memory.subarray(200_003, bytes.byteLength)];
    const writing = file.writev(views);
    await until("the pipe to be full", () => waitingIn(end) >= 65_536);
    await arena.discard(memory);
    const parts: Buffer[] = [];
    await until("all of it", () => {
      parts.push(drain(end.fd));
      return Buffer.concat(parts).byteLength === bytes.byteLength;
    });
    assert.equal((await writing).bytesWritten, bytes.byteLength);
    assert.ok(Buffer.concat(parts).equals(bytes));
  });

  test(`${scheme}: random reads and writes of pipes under every memory operation keep every byte`, {
    timeout,
  }, async (t) => {
    const { engine, arena } = await open(t, { scheme, depth: 8 });
    const [into, out] = [pipe(t), pipe(t)];
    const reader = await engine.openFile(into.path, O_RDONLY);
    const writer = await engine.openFile(out.path, O_WRONLY);
    const random = new Random(1);
    const memory = arena.alloc(2 * MIB);
    const source = memory.subarray(MIB);
    const BYTES = 2 * MIB;
    let over = false;
    let [discards, operations] = [0, 0];
    const storm = async (): Promise<void> => {
      const all = Object.entries(OPERATIONS);
      while (!over) {
        const [name, operation] = all[random.below(all.length)]!;
        const at = random.below(255) * 4096;
        const view = memory.subarray(at, at + (1 + random.below(256 - at / 4096)) * 4096);
        if (name.startsWith("discard")) discards++;
        await operation(arena, view);
        if (name.startsWith("discard")) discards++;
        operations++;
      }
    };
    const fill = async (): Promise<void> => {
      for (let at = 0; at < BYTES; ) {
        const count = 1 + random.below(90_000);
        try {
          at += writeSync(into.fd, streamBytes(at, Math.min(count, BYTES - at)));
        } catch (error) {
          assert.equal((error as { code: string }).code, "EAGAIN");
          await new Promise(setImmediate);
        }
      }
    };
    const read = async (): Promise<void> => {
      let [at, whole, refused] = [0, 0, 0];
      while (at < BYTES) {
        const offset = random.below(MIB - 1);
        const target = memory.subarray(offset, Math.min(MIB, offset + 1 + random.below(100_000)));
        const before = discards;
        const bytesRead = await reader.read(target).then(
          (done) => done.bytesRead,
          ({ code }) => {
            // Read-only now: what was taken by then comes again.
            assert.equal(code, "EFAULT");
            refused++;
            return 0;
          },
        );
        const got = target.slice(0, bytesRead);
        const expected = streamBytes(at, bytesRead);
        const same = Buffer.from(got).equals(expected);
        // Odd: one is under way. What came first was thrown away.
        const thrown =
          (discards !== before || before % 2 === 1) && got.every((byte, i) => byte === 0 || byte === expected[i]);
        assert.ok(same || thrown, `bytes ${at} to ${at + bytesRead}`);
        if (same) whole++;
        at += bytesRead;
      }
      assert.equal(at, BYTES);
      assert.ok(whole > 0, `only ${whole} reads were there whole, ${refused} were refused`);
    };
    const write = async (): Promise<void> => {
      for (let at = 0; at < BYTES; ) {
        const count = Math.min(1 + random.below(MIB / 4), BYTES - at);
        source.set(streamBytes(at, count));
        assert.equal((await writer.write(source, 0, count)).bytesWritten, count);
        at += count;
      }
    };
    const take = async (): Promise<void> => {
      for (let at = 0; at < BYTES; ) {
        const got = drain(out.fd);
        assert.ok(got.equals(streamBytes(at, got.byteLength)), `written bytes ${at} to ${at + got.byteLength}`);
        at += got.byteLength;
        await new Promise(setImmediate);
      }
    };
    const storming = storm();
    await Promise.all([fill(), read(), write(), take()]).finally(() => {
      over = true;
    });
    await storming;
    assert.ok(operations > 0);
  });

  test(`${scheme}: an aborted readFile or stream of a pipe leaves its bytes to the next read`, {
    timeout,
  }, async (t) => {
    const { engine } = await open(t, { scheme });
    const end = pipe(t);
    const file = await engine.openFile(end.path, O_RDONLY);
    const leaving = new AbortController();
    const whole = file.readFile({ signal: leaving.signal });
    const aborted = assert.rejects(whole, { name: "AbortError" });
    writeSync(end.fd, streamBytes(0, 1000));
    await until("the bytes to be taken", () => waitingIn(end) === 0);
    leaving.abort();
    await aborted;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2000));
    assert.ok(buffer.subarray(0, bytesRead).equals(streamBytes(0, 1000)));
    for (const how of ["signal", "destroy"] as const) {
      const again = new AbortController();
      const stream = (await engine.openFile(end.path, O_RDONLY)).createReadStream({ signal: again.signal });
      const got: Buffer[] = [];
      stream.on("data", (part) => got.push(part as Buffer)).on("error", () => {});
      writeSync(end.fd, streamBytes(1000, 10));
      await until("the bytes", () => Buffer.concat(got).byteLength === 10);
      // It reads on: Node's own waits for that for ever.
      const closed = new Promise<void>((resolve) => void stream.once("close", () => resolve()));
      if (how === "signal") again.abort();
      else stream.destroy();
      await closed;
    }
    writeSync(end.fd, streamBytes(1010, 10));
    const next = await file.read(Buffer.alloc(100));
    assert.ok(next.buffer.subarray(0, next.bytesRead).equals(streamBytes(1010, 10)));
  });

  test(`${scheme}: more waiting calls on pipes than slots leave slots for files, and end with close()`, {
    timeout,
  }, async (t) => {
    const { engine, arena } = await open(t, { scheme, depth: 4 });
    const name = path.join(scratchDirectory(t), "file");
    writeFileSync(name, numberedBlocks(4));
    const file = await engine.openFile(name);
    const goesOn = async (): Promise<void> => {
      for (let i = 0; i < 8; i++) assert.equal((await file.read(arena.alloc(4096), { position: 0 })).bytesRead, 4096);
    };
    const reads = [];
    const files: File[] = [];
    for (let i = 0; i < 6; i++) {
      const waiting = await engine.openFile(pipe(t).path, O_RDWR);
      files.push(waiting);
      reads.push(watch(waiting.read(arena.alloc(4096))), watch(waiting.read(Buffer.alloc(10))));
    }
    await goesOn();
    const roomy = await engine.openFile(pipe(t).path, O_RDWR);
    files.push(roomy);
    assert.equal((await roomy.write("goes")).bytesWritten, 4);
    const writes = [];
    for (let i = 0; i < 6; i++) {
      const end = pipe(t);
      writeSync(end.fd, Buffer.alloc(65_536));
      const full = await engine.openFile(end.path, O_RDWR);
      files.push(full);
      writes.push(full.write("more").catch((error) => error.code));
    }
    await goesOn();
    // Also of those that have no place yet.
    for (const waiting of files.reverse()) await waiting.close();
    assert.deepEqual(
      reads.map(({ ended }) => ended),
      new Array(12).fill("ECANCELED"),
    );
    assert.deepEqual(await Promise.all(writes), new Array(6).fill("ECANCELED"));
  });
}

const skip = ioUringOff();
if (skip === false) streams("io_uring");
else test("io_uring: streams", { skip });
streams("aio");

test("Engine.openFile takes a descriptor and duplicates it", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(4));
  const { engine, arena } = await open(t, {});
  const fd = openSync(name, O_RDWR);
  undoing(t, () => closeSync(fd));
  const file = await engine.openFile({ fd });
  const byName = await engine.openFile(name);
  assert.equal(file.direct, byName.direct);
  await byName.close();
  assert.equal(((await file.stat()) as { size: number }).size, 4 * 4096);
  assert.equal((await file.read(arena.alloc(4096), { position: 4096 })).bytesRead, 4096);
  await file.truncate(100);
  await file.chmod(0o600);
  await file.utimes(1, 2);
  await file.sync();
  await file.datasync();
  await file.close();
  assert.deepEqual([fstatSync(fd).size, fstatSync(fd).mtimeMs], [100, 2000]);
  await assert.rejects(engine.openFile({ fd: 1 << 19 }), { code: "EBADF", syscall: "dup" });
  await assert.rejects(engine.openFile({ fd: "3" as unknown as number }), { code: "ERR_INVALID_ARG_TYPE" });
});
