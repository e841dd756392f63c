/** A wait for completions in the kernel ends when the event loop has a socket to serve. */

import assert from "node:assert/strict";
import { closeSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { SOCKET } from "../../dist/abi/numbers.js";
import { fixedMemory } from "../../dist/linux/fixed-memory.js";
import { socketpair } from "../../dist/linux/libc.js";
import { addressOf, loadLibc } from "../../dist/linux/libc-bindings.js";
import { loopDescriptor } from "../../dist/linux/loop-descriptor.js";
import { READ } from "../../dist/protocol/direction.js";
import type { BufferLocation } from "../../dist/protocol/scheme.js";
import { IoUringScheme } from "../../dist/schemes/io-uring/io-uring-scheme.js";
import { ioUringOff } from "../support/io-uring.js";
import { undoing } from "../support/undo.js";

await loadLibc();

/** A socket that this thread's loop polls, and the descriptor of its other end. */
async function polledSocket(): Promise<{ readonly fd: number; readonly other: number; readonly close: () => void }> {
  const [fd, other] = socketpair(SOCKET.AF_UNIX, SOCKET.SOCK_STREAM | SOCKET.SOCK_NONBLOCK) as [number, number];
  const socket = new Socket({ fd, readable: true, writable: false });
  socket.resume();
  // The loop begins to poll it when it next looks for events.
  await setImmediate();
  await setImmediate();
  const close = (): void => {
    socket.destroy();
    closeSync(other);
  };
  return { fd, other, close };
}

function location(): BufferLocation {
  const buffer = new Uint8Array(fixedMemory(4096), 0, 4096);
  const address = addressOf(buffer.buffer as ArrayBuffer);
  const halves = { addressLow: address | 0, addressHigh: Math.floor(address / 2 ** 32) };
  return { buffer, address, ...halves, bytes: 4096, table: 0, words: new Int32Array(1), firstAt: 0, lastAt: 0 };
}

/** A scheme with a read of an empty socket in the kernel, which doesn't end. */
function schemeThatReads(t: TestContext, depth: number): IoUringScheme {
  const scheme = IoUringScheme.open({ depth, bufferSlots: 0, woken: () => {} });
  assert.ok(typeof scheme !== "number");
  const [fd, other] = socketpair(SOCKET.AF_UNIX, SOCKET.SOCK_STREAM) as [number, number];
  undoing(t, () => {
    scheme.close();
    closeSync(fd);
    closeSync(other);
  });
  scheme.prepare(0, READ, scheme.attachStream(fd), location(), -1, -1);
  return scheme;
}

/** True if a wait for some of all requests found the loop ready; the loop has its turn after that. */
async function loopIsReady(scheme: IoUringScheme): Promise<boolean> {
  assert.equal(scheme.enterAndWait(scheme.depth), 0);
  const reaped = scheme.reap(sink, 8);
  const ready = scheme.isLoopReady;
  // With fewer completions than it awaits, the wait would go on for its 4 ms.
  if (ready) assert.ok(reaped >= (scheme.depth - 1) >> 3, `${reaped} completions`);
  await setImmediate();
  await setImmediate();
  return ready;
}

const sink = { completed: () => {}, refused: () => {}, released: () => {} };

if (isMainThread) {
  test("Each thread finds the descriptor of its own loop, and none by a socket that isn't polled", async () => {
    assert.equal(loopDescriptor(0x7fffffff), -1);
    const { fd, close } = await polledSocket();
    const mine = loopDescriptor(fd);
    close();
    const worker = new Worker(new URL(import.meta.url), { trackUnmanagedFds: false });
    const theirs = await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    assert.ok(mine >= 0);
    assert.ok((theirs as number) >= 0);
    assert.notEqual(mine, theirs);
  });

  for (const depth of [4, 32])
    test(`A wait ends for a socket that the loop polls, and says so: depth ${depth}`, {
      skip: ioUringOff(),
    }, async (t) => {
      const { other, close } = await polledSocket();
      undoing(t, close);
      const scheme = schemeThatReads(t, depth);
      await setImmediate();
      await setImmediate();
      assert.equal(scheme.awaitable(2), 1, "of two requests one has no end");
      for (let times = 0; times < 3; times++) {
        // The loop may have other things to serve, but not for ever.
        while (await loopIsReady(scheme));
        writeSync(other, "x");
        assert.equal(await loopIsReady(scheme), true);
      }
      // The next one needn't wait: its completion is there already.
      const [fd, end] = socketpair(SOCKET.AF_UNIX, SOCKET.SOCK_STREAM) as [number, number];
      undoing(t, () => {
        closeSync(fd);
        closeSync(end);
      });
      writeSync(end, "x");
      scheme.prepare(1, READ, scheme.attachStream(fd), location(), -1, -1);
      assert.equal(scheme.enter(), 0);
      assert.equal(scheme.enterAndWait(1), 0);
      assert.equal(scheme.reap(sink, 8), 1);
      assert.equal(scheme.isLoopReady, false, "that of an earlier wait");
    });
} else {
  const { fd, close } = await polledSocket();
  parentPort?.postMessage(loopDescriptor(fd));
  close();
}
