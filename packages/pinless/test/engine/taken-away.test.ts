// Memory that is taken away from a call, before it or under it: freed, cut shorter, transferred.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { type Arena, Engine, type File, type SchemeName } from "../../dist/index.js";
import { ioUringOff } from "../support/io-uring.js";
import { Random } from "../support/random.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const MIB = 1 << 20;
const CONTENT = Buffer.from(new Random(11).bytes(3 * MIB));

type Resizable = ArrayBuffer & { resize(bytes: number): void };

function resizable(bytes: number, room: number): Resizable {
  const make = ArrayBuffer as unknown as new (bytes: number, options: { maxByteLength: number }) => Resizable;
  return new make(bytes, { maxByteLength: room });
}

async function start(t: TestContext, scheme: SchemeName): Promise<{ arena: Arena; file: File; at: string }> {
  const engine = await Engine.open({ scheme, depth: 8, pin: "per-io" });
  undoing(t, () => engine.close());
  const at = path.join(scratchDirectory(t), "file");
  writeFileSync(at, CONTENT);
  return { arena: await engine.arena({ bytes: 16 * MIB }), file: await engine.openFile(at, "r+"), at };
}

for (const scheme of ["io_uring", "aio", "direct"] as const) {
  const skip = scheme === "io_uring" ? ioUringOff() : false;

  test(`${scheme}: a buffer that was freed is refused at the call, and so are views of it`, { skip }, async (t) => {
    const { arena, file } = await start(t, scheme);
    arena.alloc(4096);
    const buffer = arena.alloc(65536);
    const within = buffer.subarray(4096, 8192);
    const freed = { code: "ERR_PINLESS_NOT_ALLOCATED" };
    const pending = file.read(buffer, { position: 0 });
    const freeing = arena.free(buffer);
    const refused = async (views: readonly Uint8Array[]): Promise<void> => {
      for (const view of views) {
        assert.throws(() => file.submit("read", view, 0, () => assert.fail("done was called")), freed);
        assert.throws(() => file.submit("write", view, 0, () => assert.fail("done was called")), freed);
        for (const call of [
          () => file.read(view, { position: 0 }),
          () => file.read(view, 0, 100, 5),
          () => file.read({ buffer: view }),
          () => file.write(view, { position: 0 }),
          () => file.write(view, 1),
          () => file.readv([Buffer.alloc(1), view]),
          () => file.writev([view], 0),
        ])
          await assert.rejects(call(), freed);
      }
    };
    await refused([buffer, within, new Uint8Array(buffer.buffer, buffer.byteOffset - 4096, 8192)]);
    assert.equal((await pending).bytesRead, 65536);
    await freeing;
    await refused([buffer, within]);
    // The same memory, allocated again.
    const next = arena.alloc(65536).fill(7);
    assert.equal(next.byteOffset, buffer.byteOffset);
    await refused([buffer]);
    assert.ok(next.every((byte) => byte === 7));
    assert.equal((await file.read(next, { position: 0 })).bytesRead, 65536);
  });

  test(`${scheme}: a read into a buffer that is shortened meanwhile fills the rest, or fails with EFAULT`, {
    skip,
  }, async (t) => {
    const { file } = await start(t, scheme);
    for (const position of [0, 7, null]) {
      const buffer = resizable(8192, 16384);
      const view = new Uint8Array(buffer);
      const from = position ?? 0;
      const reading = file.read(view, { position });
      buffer.resize(1000);
      const { bytesRead } = await reading;
      // All that was asked for may have been delivered before.
      assert.ok(bytesRead >= 1000 && bytesRead <= 8192, String(bytesRead));
      assert.ok(CONTENT.subarray(from, from + 1000).equals(view));
      if (position === null) assert.equal(bytesRead, 1000);
    }
    // What wasn't delivered is the next one's.
    const { buffer: rest } = await file.read(Buffer.alloc(100));
    assert.ok(CONTENT.subarray(1000, 1100).equals(rest));
    const buffer = resizable(8192, 16384);
    // A page that no request has read yet: bytes of one that was are delivered within the call.
    const reading = file.read(new Uint8Array(buffer, 4096, 100), { position: 32768 });
    buffer.resize(10);
    await assert.rejects(reading, { code: "EFAULT", syscall: "read" });
    const moved = new ArrayBuffer(8192);
    const taken = file.read(new Uint8Array(moved), { position: 0 });
    structuredClone(moved, { transfer: [moved] });
    await assert.rejects(taken, { code: "EFAULT" });
  });

  test(`${scheme}: a view that grows during a read is filled in its old length`, { skip }, async (t) => {
    const { file } = await start(t, scheme);
    const buffer = resizable(5000, 3 * MIB);
    const reading = [file.read(new Uint8Array(buffer), { position: 1 }), file.readv([new Uint8Array(buffer)])] as const;
    buffer.resize(3 * MIB);
    assert.equal((await reading[0]).bytesRead, 5000);
    assert.equal((await reading[1]).bytesRead, 5000);
    assert.ok(new Uint8Array(buffer, 5000).every((byte) => byte === 0));
  });

  test(`${scheme}: a write of a buffer that is transferred meanwhile writes its bytes or fails`, {
    skip,
  }, async (t) => {
    const { file, at } = await start(t, scheme);
    // Staging memory has had other bytes in it.
    await file.read(new Uint8Array(MIB), { position: 0 });
    for (const position of [0, 3, null]) {
      const buffer = resizable(2 * MIB, 2 * MIB);
      const writing = file.write(new Uint8Array(buffer).fill(0x5a), { position });
      buffer.resize(4096);
      const outcome = await writing.then(
        ({ bytesWritten }) => ({ bytesWritten, code: "" }),
        ({ bytesWritten, code }) => ({ bytesWritten, code }),
      );
      assert.ok(outcome.code === "EFAULT" || outcome.bytesWritten === 2 * MIB, JSON.stringify(outcome));
      const now = readFileSync(at).subarray(position ?? 0, (position ?? 0) + outcome.bytesWritten);
      assert.ok(now.every((byte) => byte === 0x5a));
      await file.write(CONTENT, { position: 0 });
    }
  });
}
