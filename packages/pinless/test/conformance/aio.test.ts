// The conformance suites on the real kernel, by Linux AIO. It registers nothing, so there is one pin mode.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, readFileSync, writeSync } from "node:fs";
import { stat } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { IOCB } from "../../dist/abi/layouts.js";
import { AIO, openDirectFlag, POLL } from "../../dist/abi/numbers.js";
import { fixedMemory } from "../../dist/linux/fixed-memory.js";
import { ioSubmit } from "../../dist/linux/libc.js";
import { addressOf, loadLibc } from "../../dist/linux/libc-bindings.js";
import { READ } from "../../dist/protocol/direction.js";
import type { BufferLocation, CompletionSink } from "../../dist/protocol/scheme.js";
import { AioScheme } from "../../dist/schemes/aio/aio-scheme.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { namedPipe, scratchDirectory } from "../support/undo.js";
import { until } from "../support/until.js";
import { requestSuites } from "./conformance.js";
import { kernelGround } from "./kernel.js";
import { withoutRegistrations } from "./without-registrations.js";

const ground = kernelGround("aio", "per-io");
requestSuites(ground);
withoutRegistrations("aio");

for (const withoutRing of [false, true]) {
  const by = withoutRing ? "io_getevents" : "its ring";

  test(`Aio delivers every completion by ${by}, also of requests that io_submit refuses`, async () => {
    await loadLibc();
    const BLOCKS = 64;
    const DEPTH = 8;
    const name = await ground.file(numberedBlocks(BLOCKS));
    const fd = openSync(name, constants.O_RDONLY | openDirectFlag(process.arch));
    const scheme = AioScheme.open({ depth: DEPTH, woken: () => {}, withoutRing });
    assert.ok(typeof scheme !== "number");
    const buffer = fixedMemory(DEPTH * BLOCK_BYTES);
    const address = addressOf(buffer);
    const file = scheme.attachFile(fd);
    const nowhere = scheme.attachFile(2 ** 20 - 1);
    const blocks = new Int32Array(DEPTH);
    const views = Array.from({ length: DEPTH }, (_, slot) => new Uint8Array(buffer, slot * BLOCK_BYTES, BLOCK_BYTES));
    let begun = 0;
    let ended = 0;
    let refused = 0;
    const locations: BufferLocation[] = [];
    const begin = (slot: number): void => {
      const bad = begun % 7 === 3;
      blocks[slot] = bad ? -1 : (begun * 13) % BLOCKS;
      begun++;
      const at = address + slot * BLOCK_BYTES;
      const location = {
        buffer: views[slot]!,
        addressLow: at | 0,
        addressHigh: Math.floor(at / 2 ** 32),
        bytes: BLOCK_BYTES,
      } as unknown as BufferLocation;
      locations[slot] = location;
      scheme.prepare(slot, READ, bad ? nowhere : file, location, Math.max(0, blocks[slot]!) * BLOCK_BYTES);
    };
    // Many times around the ring.
    const ALL = 5000;
    const sink: CompletionSink = {
      completed(slot, result) {
        ended++;
        if (blocks[slot] === -1) {
          refused++;
          assert.equal(result, -9);
        } else {
          assert.equal(result, BLOCK_BYTES);
          assert.equal(wrongBlocks(views[slot]!, blocks[slot]!), null);
        }
        if (begun < ALL) begin(slot);
      },
      // What was just written isn't on the disk yet.
      refused: (slot) => scheme.prepareFallback(slot, READ, file, locations[slot]!, blocks[slot]! * BLOCK_BYTES),
      released: () => assert.fail("nothing was registered"),
    };
    try {
      for (let slot = 0; slot < DEPTH; slot++) begin(slot);
      await until("all requests", () => {
        for (let turn = 0; turn < 100; turn++) {
          assert.equal(scheme.enter(), 0);
          scheme.reap(sink, 5);
        }
        return ended === ALL;
      });
      assert.equal(refused, Math.ceil((ALL - 3) / 7));
      assert.equal(scheme.reap(sink, 100), 0);
      assert.equal(scheme.arm(), true);
    } finally {
      scheme.close();
      closeSync(fd);
    }
    assert.equal(scheme.reap(sink, 100), 0, "a closed scheme delivered something");
  });
}

/** The AIO contexts of this process: each has its ring mapped, and is named by where. */
function contexts(): number[] {
  const lines = readFileSync("/proc/self/maps", "utf8").split("\n");
  return lines.filter((line) => line.includes("/[aio]")).map((line) => Number.parseInt(line, 16));
}

test("Aio with a full ring (EAGAIN) keeps requests that the kernel didn't take, and submits them later", async (t) => {
  await loadLibc();
  const DEPTH = 4;
  const pipe = namedPipe(t);
  // One for each direction: AIO doesn't poll what has both.
  const pipeFd = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(pipe, constants.O_WRONLY);
  const fd = openSync(await ground.file(numberedBlocks(DEPTH)), constants.O_RDONLY | openDirectFlag(process.arch));
  const before = new Set(contexts());
  const scheme = AioScheme.open({ depth: DEPTH, woken: () => {} });
  assert.ok(typeof scheme !== "number");
  try {
    const [context] = contexts().filter((each) => !before.has(each));
    // Polls of an empty pipe by the test, until the kernel takes no more: a scheme's own requests never fill its ring.
    const FOREIGN = 1000;
    const memory = fixedMemory(65536);
    const iocb = new Int32Array(memory, 0, IOCB.size / 4);
    iocb[IOCB.fields.aio_data / 4] = FOREIGN;
    iocb[IOCB.fields.aio_lio_opcode / 4] = AIO.IOCB_CMD_POLL;
    iocb[IOCB.fields.aio_fildes / 4] = pipeFd;
    iocb[IOCB.fields.aio_buf / 4] = POLL.POLLIN;
    new BigUint64Array(memory)[512] = BigInt(addressOf(memory));
    let foreign = 0;
    let answer = 1;
    for (; answer === 1; foreign += answer > 0 ? 1 : 0) answer = ioSubmit(context!, 1, addressOf(memory) + 4096);
    assert.equal(answer, -11, "EAGAIN");
    assert.ok(foreign > 2 * DEPTH);

    const buffer = fixedMemory(DEPTH * BLOCK_BYTES);
    const views = Array.from({ length: DEPTH }, (_, slot) => new Uint8Array(buffer, slot * BLOCK_BYTES, BLOCK_BYTES));
    const results = new Map<number, number>();
    const sink: CompletionSink = {
      completed: (slot, result) => void (slot === FOREIGN ? foreign-- : results.set(slot, result)),
      refused: (slot) =>
        scheme.prepareFallback(slot, READ, scheme.attachFile(fd), locations[slot]!, slot * BLOCK_BYTES),
      released: () => assert.fail("nothing was registered"),
    };
    const locations = views.map((view, slot) => {
      const at = addressOf(buffer) + slot * BLOCK_BYTES;
      const location = { buffer: view, addressLow: at | 0, addressHigh: Math.floor(at / 2 ** 32), bytes: BLOCK_BYTES };
      return location as unknown as BufferLocation;
    });
    for (const [slot, location] of locations.entries())
      scheme.prepare(slot, READ, scheme.attachFile(fd), location, slot * BLOCK_BYTES);
    for (let turn = 0; turn < 3; turn++) {
      assert.equal(scheme.enter(), 0);
      assert.equal(scheme.reap(sink, 100), 0);
      // Nothing of its own is on its way, so nothing would wake it.
      assert.equal(scheme.arm(), false);
    }
    writeSync(writer, "x");
    await until("all requests", () => {
      assert.equal(scheme.enter(), 0);
      scheme.reap(sink, 100);
      return results.size === DEPTH && foreign === 0;
    });
    assert.deepEqual([...results.values()], new Array(DEPTH).fill(BLOCK_BYTES));
    for (const [slot, view] of views.entries()) assert.equal(wrongBlocks(view, slot), null);
  } finally {
    scheme.close();
    for (const each of [fd, pipeFd, writer]) closeSync(each);
  }
});

test("Aio counts a refused request as reaped, so that what the sink prepares instead is handed over", async () => {
  await loadLibc();
  const scheme = AioScheme.open({ depth: 4, woken: () => {} });
  assert.ok(typeof scheme !== "number");
  // A filesystem without calls that don't block.
  const fd = openSync("/proc/self/status", constants.O_RDONLY);
  try {
    const buffer = fixedMemory(BLOCK_BYTES);
    const at = addressOf(buffer);
    const addresses = { addressLow: at | 0, addressHigh: Math.floor(at / 2 ** 32) };
    const location = { buffer: new Uint8Array(buffer), ...addresses, bytes: 100 } as unknown as BufferLocation;
    const file = scheme.attachFile(fd);
    const results = new Map<number, number>();
    const sink: CompletionSink = {
      completed: (slot, result) => void results.set(slot, result),
      refused: (slot) => scheme.prepareFallback(slot, READ, file, location, 0),
      released: () => assert.fail("nothing was registered"),
    };
    scheme.prepare(2, READ, file, location, 0);
    assert.equal(scheme.enter(), 0);
    assert.equal(scheme.reap(sink, 100), 1);
    assert.deepEqual([...results], [], "nothing has completed");
    await until("the request", () => scheme.reap(sink, 100) === 1);
    assert.deepEqual([...results], [[2, 100]]);
  } finally {
    scheme.close();
    closeSync(fd);
  }
});

test("aio: a pipe's bytes are read in order; waiting reads use no thread, and end with close", async (t) => {
  const directory = scratchDirectory(t);
  const engine = await ground.open();
  const arena = await engine.arena({ bytes: 2 << 20 });
  // More than libuv's pool has threads.
  const pipes = Array.from({ length: Number(process.env.UV_THREADPOOL_SIZE ?? 4) + 2 }, (_, i) => {
    const name = path.join(directory, `pipe-${i}`);
    execFileSync("mkfifo", [name]);
    return { name, writer: openSync(name, constants.O_RDWR) };
  });
  try {
    const files = await Promise.all(pipes.map(({ name }) => engine.openFile(name)));
    const reads = files.map((file, i) => file.read(i % 2 === 0 ? Buffer.alloc(100) : arena.alloc(100)));
    await stat(directory);
    for (const [i, { writer }] of pipes.entries()) writeSync(writer, `text ${i}`);
    for (const [i, read] of reads.entries()) {
      const { bytesRead, buffer } = await read;
      assert.equal(Buffer.from(buffer.subarray(0, bytesRead)).toString(), `text ${i}`);
    }
    writeSync(pipes[0]!.writer, "abcdefgh");
    const parts = await Promise.all([3, 3, 100].map((length) => files[0]!.read(Buffer.alloc(length))));
    assert.deepEqual(
      parts.map(({ bytesRead, buffer }) => buffer.toString("utf8", 0, bytesRead)),
      ["abc", "def", "gh"],
    );
    for (const when of ["at once", "in the kernel"]) {
      const file = when === "at once" ? files[1]! : files[2]!;
      const outcome = file.read(Buffer.alloc(1)).then(
        () => "read",
        (error) => error.code,
      );
      if (when === "in the kernel") {
        const limits = await engine.openFile("/proc/self/limits");
        await limits.read(Buffer.alloc(1));
        await limits.close();
      }
      await file.close();
      assert.equal(await outcome, "ECANCELED", when);
    }
    const rest = files.slice(3).map((file) => file.read(Buffer.alloc(1)).catch((error) => error.code));
    await engine.close();
    assert.deepEqual(
      await Promise.all(rest),
      rest.map(() => "ECANCELED"),
    );
  } finally {
    for (const { writer } of pipes) closeSync(writer);
  }
});
