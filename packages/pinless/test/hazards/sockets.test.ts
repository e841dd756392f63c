// Sockets: both directions at once, and the schemes that refuse them.
import assert from "node:assert/strict";
import { closeSync, constants, fstatSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { SOCKET } from "../../dist/abi/numbers.js";
import { socketpair } from "../../dist/linux/libc.js";
import { loadLibc } from "../../dist/linux/libc-bindings.js";
import { ioUringOff } from "../support/io-uring.js";
import { undoing } from "../support/undo.js";
import { MIB, open, pipe, streamBytes, watch } from "./stream-bed.js";

const skip = ioUringOff();

async function socketPair(t: TestContext, flags = 0): Promise<readonly [number, number]> {
  await loadLibc();
  const pair = socketpair(SOCKET.AF_UNIX, SOCKET.SOCK_STREAM | SOCKET.SOCK_CLOEXEC | flags);
  assert.ok(typeof pair !== "number");
  undoing(t, () => {
    for (const fd of pair) closeSync(fd);
  });
  return pair;
}

for (const blocking of [true, false]) {
  test(`io_uring: a socket that ${blocking ? "blocks" : "doesn't block"}, both directions at once, byte for byte`, {
    skip,
  }, async (t) => {
    const pair = await socketPair(t, blocking ? 0 : SOCKET.SOCK_NONBLOCK);
    const { engine, arena } = await open(t, { scheme: "io_uring", depth: 4 });
    const [one, other] = await Promise.all(pair.map((fd) => engine.openFile({ fd })));
    const memory = arena.alloc(2 * MIB);
    const BYTES = 700_001;
    memory.set(streamBytes(0, BYTES), MIB);
    // Waits before there is anything, and doesn't hold up the write.
    const echo = (async () => {
      for (let at = 0; at < BYTES; ) {
        const { bytesRead, buffer } = await other!.read(memory.subarray(0, 50_000));
        await other!.write(buffer.subarray(0, bytesRead));
        at += bytesRead;
      }
    })();
    const back = (async () => {
      const got = Buffer.alloc(BYTES);
      for (let at = 0; at < BYTES; ) at += (await one!.read(got, at, Math.min(33_333, BYTES - at))).bytesRead;
      return got;
    })();
    assert.equal((await one!.write(memory.subarray(MIB, MIB + BYTES))).bytesWritten, BYTES);
    await echo;
    assert.ok((await back).equals(streamBytes(0, BYTES)));
    const waiting = watch(one!.read(memory));
    await arena.discard();
    assert.equal(waiting.ended, null);
    await one!.close();
    assert.equal(waiting.ended, "ECANCELED");
    // The other side's duplicate, and ours.
    assert.ok(fstatSync(pair[0]).isSocket());
    await other!.close();
  });
}

test("Sockets on aio and direct, reads of pipes on direct: ERR_PINLESS_UNSUPPORTED says what takes them", async (t) => {
  const pair = await socketPair(t);
  for (const scheme of ["aio", "direct"] as const) {
    const { engine } = await open(t, { scheme });
    await assert.rejects(engine.openFile({ fd: pair[0] }), { code: "ERR_PINLESS_UNSUPPORTED", message: /"io_uring"/ });
    if (scheme === "aio") continue;
    const file = await engine.openFile(pipe(t).path, constants.O_RDWR);
    await assert.rejects(file.read(Buffer.alloc(1)), { code: "ERR_PINLESS_UNSUPPORTED", message: /"io_uring"/ });
  }
});
