// A thread of the kernel reads the queue of requests. Until it has read one, its registration may be dropped by others.
import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import { SQE } from "../../dist/abi/layouts.js";
import { IO_URING } from "../../dist/abi/numbers.js";
import { Engine } from "../../dist/index.js";
import { BufferUpdate } from "../../dist/linux/buffer-update.js";
import { fixedMemory } from "../../dist/linux/fixed-memory.js";
import { loadLibc } from "../../dist/linux/libc-bindings.js";
import { Ring } from "../../dist/linux/ring.js";
import { RegisteredBuffers } from "../../dist/schemes/io-uring/registered-buffers.js";
import { ioUringOff } from "../support/io-uring.js";
import { addressOf, pinnedBytes } from "../support/proc.js";
import { rounds } from "../support/rounds.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

const skip = ioUringOff();
const PAGE = 4096;
const BYTES = 65536;
const EFAULT = 14;
const TAG = 1;

function pollers(): number {
  const names = readdirSync("/proc/self/task").map((tid) => readFileSync(`/proc/self/task/${tid}/comm`, "utf8"));
  return names.filter((name) => name.startsWith("iou-sqp")).length;
}

/** A ring with one registered buffer, and a function that prepares a read of a page of sevens by it. */
async function polledRing(t: TestContext) {
  await loadLibc();
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, Buffer.alloc(PAGE, 7));
  const fd = openSync(name, "r");
  undoing(t, () => closeSync(fd));
  const ring = Ring.open({ entries: 8, completions: 64, poll: { idleMs: 1, cpu: null } });
  assert.ok(typeof ring !== "number", `no polled ring: ${ring}`);
  undoing(t, () => ring.close());
  const buffers = RegisteredBuffers.open(ring, 1, TAG);
  assert.ok(typeof buffers !== "number");
  const read = (memory: Uint8Array): void => {
    const at = ring.next();
    ring.sqes.fill(0, at, at + SQE.size / 4);
    ring.sqes[at] = IO_URING.IORING_OP_READ_FIXED;
    ring.sqes[at + SQE.fields.fd / 4] = fd;
    const address = addressOf(memory);
    ring.sqes[at + SQE.fields.addr / 4] = address | 0;
    ring.sqes[at + SQE.fields.addr / 4 + 1] = Math.floor(address / 2 ** 32);
    ring.sqes[at + SQE.fields.len / 4] = PAGE;
  };
  return { ring, buffers, read };
}

test("a polled engine reads and writes, and sleeping and waking lose no request", { skip }, async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, Buffer.alloc(64 * PAGE, 1));
  const engine = await Engine.open({ scheme: "io_uring", depth: 4, poll: { submit: { idleMs: 1 } } });
  undoing(t, () => engine.close());
  assert.equal(pollers(), 1);
  const arena = await engine.arena({ bytes: 2 << 20 });
  const file = await engine.openFile(name, "r+");
  const buffers = Array.from({ length: 4 }, (_, i) => arena.alloc(PAGE).fill(2 + i));
  for (let round = 0; round < rounds(30, 300); round++) {
    await Promise.all(buffers.map((buffer, i) => file.write(buffer, { position: i * PAGE })));
    const found = await Promise.all(buffers.map((_, i) => file.read(Buffer.alloc(10), { position: i * PAGE + 5 })));
    for (const [i, { buffer }] of found.entries()) assert.ok(buffer.every((byte) => byte === 2 + i));
    // Longer than the thread stays awake, every third time.
    if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 3));
  }
  await file.close();
  await engine.close();
  await until("the thread has ended", () => pollers() === 0);
});

test("a polled engine has room for few leases too", { skip }, async () => {
  // As an ordinary user has it with the kernel's default limit on locked memory.
  for (const depth of [1, 4, 128]) {
    const options = { scheme: "io_uring", depth, lease: { budget: 2 << 20 }, poll: { submit: true } } as const;
    await using engine = await Engine.open(options);
    assert.equal(engine.scheme, "io_uring");
  }
});

test("a request whose registration is replaced before the kernel's thread has read it touches neither", {
  skip,
}, async (t) => {
  const { ring, buffers, read } = await polledRing(t);
  const memory = new Uint8Array(fixedMemory(2 * BYTES));
  const [mine, others] = [memory.subarray(0, BYTES), memory.subarray(BYTES)];
  // As the monitor's thread does it, which doesn't wait for what is in the queue.
  const monitor = new BufferUpdate(ring.fd);
  const seen = { read: 0, refused: 0 };
  for (let round = 0; round < rounds(500, 5000); round++) {
    mine.fill(0);
    others.fill(0);
    assert.equal(buffers.take(0, addressOf(mine), BYTES), 0);
    read(mine);
    // In every other round the entry isn't in the queue yet.
    if (round % 2 === 0) ring.enter(0);
    assert.equal(monitor.set(0, 0, 0, 0, 0), 0);
    assert.equal(monitor.set(0, addressOf(others), BYTES, 0, TAG), 0);
    if (round % 2 === 1) ring.enter(0);
    let result: number | null = null;
    for (let tags = 0; result === null || tags < 1; ) {
      const { completions } = ring;
      for (let i = 0; i < completions; i++) {
        const cqe = ring.completionAt(i);
        if (ring.cqes[cqe + 1] === TAG) tags++;
        else result = ring.cqes[cqe + 2]!;
      }
      ring.consume(completions);
      if (completions === 0) ring.enterAndWait(1);
    }
    assert.ok(others.every((byte) => byte === 0));
    if (result === PAGE) seen.read++;
    else seen.refused++;
    assert.ok(result === PAGE || result === -EFAULT, `the read gave ${result}`);
    assert.equal(mine[0], result === PAGE ? 7 : 0);
    // Waits until the thread has read everything, as the engine's own drops do.
    assert.equal(buffers.drop(0), 0);
    while (ring.completions === 0) ring.enterAndWait(1);
    ring.consume(ring.completions);
  }
  assert.ok(seen.refused >= rounds(250, 2500), JSON.stringify(seen));
});

test("an own drop comes after every entry handed over before it", { skip }, async (t) => {
  const { ring, buffers, read } = await polledRing(t);
  const memory = new Uint8Array(fixedMemory(BYTES));
  for (let round = 0; round < rounds(300, 3000); round++) {
    assert.equal(buffers.take(0, addressOf(memory), BYTES), 0);
    read(memory);
    assert.equal(buffers.drop(0), 0);
    assert.equal(ring.unread, 0);
    for (let left = 2; left > 0; ) {
      for (let i = 0; i < ring.completions; i++) {
        const cqe = ring.completionAt(i);
        if (ring.cqes[cqe + 1] !== TAG) assert.equal(ring.cqes[cqe + 2], PAGE);
        left--;
      }
      ring.consume(ring.completions);
      if (left > 0) ring.enterAndWait(1);
    }
  }
});

test("a thread that ends under polled I/O leaves neither a polling thread nor a pin", { skip }, async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, Buffer.alloc(64 * PAGE, 1));
  // A closed ring's thread ends a little later.
  await until("those of other tests have ended", () => pollers() === 0);
  const pinned = pinnedBytes();
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(workerData.pinless).then(async ({ Engine }) => {
      const engine = await Engine.open({ poll: { submit: true } });
      const arena = await engine.arena({ bytes: 2 << 20 });
      const file = await engine.openFile(workerData.name);
      const again = (buffer) => file.submit("read", buffer, 0, (errno, bytes, read) => again(read));
      for (let i = 0; i < 16; i++) again(arena.alloc(4096));
      setImmediate(() => parentPort.postMessage("reading"));
    });`;
  const workerData = { pinless: new URL("../../dist/index.js", import.meta.url).href, name };
  const worker = new Worker(source, { eval: true, workerData });
  await once(worker, "message");
  assert.equal(pollers(), 1);
  await worker.terminate();
  await until("the kernel's thread has ended", () => pollers() === 0);
  await until("nothing is pinned", () => pinnedBytes() === pinned);
});

test("polling is refused where it can't be, and for options that aren't any", async () => {
  const wrong: [options: object, message: RegExp][] = [
    [{ poll: { submit: 1 } }, /poll\.submit/],
    [{ poll: { complete: true } }, /no option "complete"/],
    [{ poll: null }, /poll/],
    [{ poll: { submit: { idleMs: 0 } } }, /idleMs/],
    [{ poll: { submit: { idleMs: 1.5 } } }, /idleMs/],
    [{ poll: { submit: { cpu: -1 } } }, /cpu/],
    [{ poll: { submit: { core: 1 } } }, /no option "core"/],
    [{ poll: { submit: true }, scheme: "aio" }, /scheme/],
    [{ poll: { submit: true }, scheme: "direct" }, /scheme/],
  ];
  for (const [options, message] of wrong)
    await assert.rejects(Engine.open(options), { code: "ERR_PINLESS_OPTION", message });
});

test("a processor that isn't there is refused with the reason", { skip }, async () => {
  const open = Engine.open({ scheme: "io_uring", poll: { submit: { cpu: 65_535 } } });
  await assert.rejects(open, { code: "ERR_PINLESS_UNSUPPORTED", message: /poll\.submit\.cpu \(65535\)/ });
});
