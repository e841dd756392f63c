// Shared arenas: engines of several threads on one memory, under memory operations of each and calls of other code.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { MessageChannel } from "node:worker_threads";
import koffi from "koffi";
import { type Arena, Engine, type EngineOptions, type SchemeName } from "../../dist/index.js";
import { addressOf } from "../../dist/linux/libc-bindings.js";
import { buildLibrary, DECLARATIONS, DONE, FAILED, needsCompiler } from "../hazards/native.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { ioUringOff } from "../support/io-uring.js";
import { type Counts, type Other, otherThread, SHARED_BLOCKS } from "../support/other-thread.js";
import { scratchDirectory } from "../support/undo.js";
import { until } from "../support/until.js";

const CHUNK = 64 * 1024;
const MIB = 1 << 20;
const LEASES: EngineOptions = { depth: 16, lease: { chunk: CHUNK, idle: 3_600_000, max: 3_600_000 } };
interface Bed {
  readonly engine: Engine;
  readonly arena: Arena;
  readonly other: Other;
  readonly file: string;
}

async function withOther(t: TestContext, scheme: SchemeName, body: (bed: Bed) => Promise<void>): Promise<void> {
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, numberedBlocks(SHARED_BLOCKS));
  const options = { ...LEASES, scheme };
  const engine = await Engine.open(options);
  try {
    const arena = await engine.arena({ bytes: 4 * MIB, shared: true });
    await body({ engine, arena, file, other: await otherThread(t, arena.share(), options, file) });
  } finally {
    await engine.close();
  }
}

function onEach(name: string, body: (bed: Bed, t: TestContext) => Promise<void>, skip: string | false = false): void {
  for (const scheme of ["io_uring", "aio", "direct"] as const)
    test(`${scheme}: ${name}`, { skip: skip || (scheme === "io_uring" && ioUringOff()) }, (t) =>
      withOther(t, scheme, (bed) => body(bed, t)),
    );
}

onEach("what one thread reads into shared memory, the other sees; operations of each are of both", async (bed) => {
  const { arena, other } = bed;
  const buffer = arena.alloc(2 * BLOCK_BYTES);
  const at = arena.positionOf(buffer);
  assert.equal(await other.ask("read", 7, at), null);
  assert.equal(wrongBlocks(buffer.subarray(0, BLOCK_BYTES), 7), null);
  await arena.discard(buffer);
  assert.equal(await other.ask("read", 9, at), null);
  assert.equal(wrongBlocks(buffer.subarray(0, BLOCK_BYTES), 9), null, "it was read into memory that was discarded");
  const report = await other.ask<{ event: string; done: number }>("discard", at, 2 * BLOCK_BYTES);
  assert.deepEqual([report.event, report.done], ["CLEAR", 2]);
  assert.ok(buffer.every((byte) => byte === 0));
  assert.equal(await other.ask("exclusive", at, 5), BLOCK_BYTES);
  assert.equal(buffer[0], 5);
  await arena.protect("read");
  await assert.rejects(other.ask("read", 1, at), { code: "EFAULT" });
  await other.ask("operation", "protect", "readwrite");
  assert.equal(await other.ask("read", 1, at), null);
  await assert.rejects(other.ask("operation", "migrate", { node: -1 }), { code: "ERR_OUT_OF_RANGE" });
});

onEach("discards, collapses and exclusive uses by the owner, beside reads of the other thread", async (bed) => {
  const { arena, other } = bed;
  const memory = arena.alloc(16 * BLOCK_BYTES);
  const at = arena.positionOf(memory);
  assert.equal(at, 0);
  await other.ask("load");
  let changed = 0;
  for (let round = 0; round < 60; round++) {
    await arena.discard(memory.subarray((round % 8) * BLOCK_BYTES, ((round % 8) + 1) * BLOCK_BYTES));
    const { result } = await arena.exclusive(memory, async (bytes) => {
      const before = Buffer.from(bytes);
      for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
      return before.equals(bytes);
    });
    if (!result) changed++;
  }
  const { wrong, reads } = await other.ask<Counts>("stop");
  assert.deepEqual([changed, wrong], [0, []]);
  assert.ok(reads > 60);
});

onEach(
  "discards by other code reach the thread that has attached the memory",
  async ({ arena, other }, t) => {
    const memory = arena.alloc(8 * BLOCK_BYTES);
    const words = new Int32Array(new SharedArrayBuffer(32));
    const start = koffi.load(buildLibrary(t)).func(DECLARATIONS.start);
    await other.ask("load");
    const address = addressOf(words.buffer as SharedArrayBuffer);
    assert.equal(start(addressOf(arena.alloc(1).buffer) + memory.byteOffset, 8 * BLOCK_BYTES, 200, 500, 0, address), 0);
    await until("the end of the discards", () => Atomics.load(words, DONE) === 1, { limitMs: 60_000 });
    assert.equal(Atomics.load(words, FAILED), 0);
    const { wrong, reads } = await other.ask<Counts>("stop");
    assert.deepEqual(wrong, []);
    assert.ok(reads > 0);
    for (let slot = 0; slot < 8; slot++)
      assert.equal(await other.ask("read", slot, slot * BLOCK_BYTES), null, "read into pages that were discarded");
    for (let slot = 0; slot < 8; slot++)
      assert.equal(wrongBlocks(memory.subarray(slot * BLOCK_BYTES, (slot + 1) * BLOCK_BYTES), slot), null);
  },
  needsCompiler,
);

onEach("the owner's close waits for the other thread's I/O, which then fails with EFAULT", async ({ arena, other }) => {
  await other.ask("load");
  await until("reads", async () => (await other.ask<Counts>("counts")).reads > 20);
  await arena.close();
  const { wrong, refused } = await other.ask<Counts>("stop");
  assert.deepEqual([wrong, refused], [[], 8]);
  await assert.rejects(other.ask("discard", 0, BLOCK_BYTES), { code: "ERR_PINLESS_CLOSED" });
  await other.ask("close");
});

onEach("a thread that ends while it has attached memory isn't waited for", async ({ arena, other }) => {
  await other.ask("load");
  await until("reads", async () => (await other.ask<Counts>("counts")).reads > 20);
  // The discard needs an answer of the thread, which computes for ever.
  other.worker.postMessage(["hang"]);
  const discarding = arena.discard();
  await other.worker.terminate();
  assert.equal((await discarding).event, "CLEAR");
  await arena.discard();
});

onEach("memory that was detached is the owner's alone, and can be shared again", async ({ arena, other, file }, t) => {
  await other.ask("load");
  await other.ask("detach");
  await other.ask("stop");
  await arena.discard();
  const again = await otherThread(t, arena.share(), LEASES, file);
  assert.equal(await again.ask("read", 3, 0), null);
  await again.ask("close");
  await other.ask("close");
});

test("bad tokens: used, of a closed arena, of this engine, of something else; memory that isn't shared", async () => {
  const engine = await Engine.open();
  const second = await Engine.open();
  try {
    const arena = await engine.arena({ bytes: MIB, shared: true });
    const token = arena.share();
    const attached = await second.attach(token);
    await assert.rejects(engine.attach(token), { code: "ERR_PINLESS_TOKEN" });
    await assert.rejects(second.attach(arena.share()), { code: "ERR_PINLESS_TOKEN" });
    await assert.rejects(engine.attach(arena.share()), { code: "ERR_PINLESS_TOKEN" });
    assert.throws(() => attached.view(2 * MIB, 1), { code: "ERR_OUT_OF_RANGE" });
    await assert.rejects(attached.discard(new Uint8Array(8)), { code: "ERR_PINLESS_RANGE" });
    await assert.rejects(attached.exclusive(attached.view(0, 1), 5 as never), { code: "ERR_INVALID_ARG_TYPE" });
    const late = arena.share();
    await arena.close();
    await assert.rejects(engine.attach(late), { code: "ERR_PINLESS_CLOSED" });
    assert.throws(() => arena.share(), { code: "ERR_PINLESS_CLOSED" });
    // A token can't be sent to another process; what arrives there instead is something else.
    for (const wrong of [{}, null, undefined, "token", JSON.parse(JSON.stringify(late))])
      await assert.rejects(engine.attach(wrong as never), { code: "ERR_INVALID_ARG_TYPE" });
    const { port1, port2 } = new MessageChannel();
    await assert.rejects(engine.attach(port1), { code: "ERR_PINLESS_TOKEN" });
    port2.close();
    const own = await engine.arena({ bytes: MIB });
    assert.throws(() => own.share(), { code: "ERR_PINLESS_UNSUPPORTED", message: /shared: true/ });
    await assert.rejects(engine.arena({ bytes: MIB, shared: 1 as never }), { code: "ERR_PINLESS_OPTION" });
  } finally {
    await second.close();
    await engine.close();
  }
});
