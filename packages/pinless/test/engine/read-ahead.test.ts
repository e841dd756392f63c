/** Streams that read ahead, and blocks(): the bytes of node:fs, within a bound of memory, and no write missed. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs, { appendFileSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { BlockMemory } from "../../dist/engine/block-memory.js";
import { ReadAhead } from "../../dist/files/read-ahead.js";
import { WriteOrders } from "../../dist/files/write-ordering.js";
import { Engine, type File } from "../../dist/index.js";
import { countedMemory } from "../support/counted-memory.js";
import { ioUringOff } from "../support/io-uring.js";
import { Random } from "../support/random.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const KIB = 1024;
const CONTENT = Buffer.from(new Random(31).bytes(3 * KIB * KIB + 1234));
const SMALL = { blockBytes: 64 * KIB, readAhead: 3 };

/** Ranges of streams and of blocks(), around the borders of blocks and of the file. */
const RANGES: readonly { start?: number; end?: number; highWaterMark?: number }[] = [
  {},
  { start: 0 },
  { start: 1 },
  { start: 4095, end: 200_000 },
  { start: 65_536, end: 65_536 },
  { start: 0, end: 131_071 },
  { start: 0, end: 131_072 },
  { start: 100, end: 99 + 3 * KIB * KIB },
  { start: CONTENT.length - 1 },
  { start: CONTENT.length },
  { start: CONTENT.length + 10_000 },
  { start: 0, highWaterMark: 1000 },
  { start: 7, highWaterMark: 500_000 },
  { end: 300_000 },
];

async function all(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const copies: Buffer[] = [];
  for await (const part of parts) copies.push(Buffer.from(part));
  return Buffer.concat(copies);
}

for (const scheme of ["io_uring", "aio", "direct"] as const) {
  const skip = scheme === "io_uring" ? ioUringOff() : false;

  async function start(t: TestContext): Promise<{ engine: Engine; file: File; name: string }> {
    const engine = await Engine.open({ scheme, depth: 8 });
    undoing(t, () => engine.close());
    const name = path.join(scratchDirectory(t), "file");
    writeFileSync(name, CONTENT);
    const file = await engine.openFile(name, "r+");
    undoing(t, () => file.close());
    return { engine, file, name };
  }

  test(`${scheme}: chunks of a stream are those of node:fs, and a consumer may keep them`, { skip }, async (t) => {
    const { engine, name } = await start(t);
    for (const range of RANGES) {
      const theirs: Buffer[] = [];
      for await (const chunk of fs.createReadStream(name, range)) theirs.push(chunk as Buffer);
      const file = await engine.openFile(name);
      const ours: Buffer[] = [];
      for await (const chunk of file.createReadStream({ ...range, ...SMALL })) ours.push(chunk as Buffer);
      assert.ok(Buffer.concat(ours).equals(Buffer.concat(theirs)), JSON.stringify(range));
      assert.deepEqual(
        ours.map(({ length }) => length),
        theirs.map(({ length }) => length),
      );
    }
  });

  test(`${scheme}: blocks() gives the bytes of its range`, { skip }, async (t) => {
    const { file } = await start(t);
    for (const { start, end } of RANGES) {
      const range = { ...(start === undefined ? {} : { start }), ...(end === undefined ? {} : { end }) };
      const expected = CONTENT.subarray(start, end === undefined ? undefined : end + 1);
      assert.ok((await all(file.blocks({ ...range, ...SMALL }))).equals(expected), JSON.stringify(range));
    }
  });

  test(`${scheme}: a byte stream of the web reads into memory of its reader`, { skip }, async (t) => {
    const { file } = await start(t);
    const reader = file.readableWebStream({ type: "bytes" }).getReader({ mode: "byob" });
    const hash = createHash("sha256");
    for (let memory = new Uint8Array(100_000); ; ) {
      const { done, value } = await reader.read(memory);
      if (done) break;
      hash.update(value as Uint8Array);
      memory = new Uint8Array((value as Uint8Array).buffer as ArrayBuffer);
    }
    assert.equal(hash.digest("hex"), createHash("sha256").update(CONTENT).digest("hex"));
  });

  test(`${scheme}: a stream at the own position moves it, and goes on where others moved it to`, {
    skip,
  }, async (t) => {
    const { file } = await start(t);
    const other = Buffer.alloc(100);
    const pieces: Buffer[] = [];
    for await (const chunk of file.createReadStream({ ...SMALL, end: 1_999_999, autoClose: false })) {
      pieces.push(chunk as Buffer);
      await file.read(other, 0, 100);
      pieces.push(Buffer.from(other));
    }
    const places = pieces.map((piece) => ({ at: CONTENT.indexOf(piece), bytes: piece.length }));
    let next = 0;
    for (const { at, bytes } of places.sort((a, b) => a.at - b.at)) {
      assert.equal(at, next);
      next += bytes;
    }
    await file.read(other, 0, 100);
    assert.equal(CONTENT.indexOf(other), next);
  });

  test(`${scheme}: a position that is shared is the kernel's, and nothing is read ahead of it`, { skip }, async (t) => {
    const { engine, file } = await start(t);
    const parts: Buffer[] = [];
    let shared = 0;
    for await (const chunk of file.createReadStream({ ...SMALL, highWaterMark: 4096 })) {
      parts.push(chunk as Buffer);
      if (parts.length === 100) {
        assert.ok(file.fd > 0);
        shared = engine.stats().submitted;
      }
    }
    assert.ok(Buffer.concat(parts).equals(CONTENT));
    assert.ok(engine.stats().submitted - shared <= 4, "only what was in flight");
  });

  test(`${scheme}: what this engine has written is read, though it was read ahead`, { skip }, async (t) => {
    const { engine, file, name } = await start(t);
    const second = await engine.openFile(name, "r+");
    undoing(t, () => second.close());
    const arena = await engine.arena({ bytes: 64 * KIB });
    const direct = arena.alloc(4096).fill(0xaa);
    const expected = Buffer.from(CONTENT);
    for (const isDirect of [true, false]) {
      const stream = file.createReadStream({ start: 0, autoClose: false, ...SMALL });
      let at = 0;
      for await (const chunk of stream) {
        assert.ok(expected.subarray(at, at + chunk.length).equals(chunk as Buffer), `at ${at}`);
        at += (chunk as Buffer).length;
        // Node's stream has asked for one chunk more already.
        const position = at + 64 * KIB;
        if (position + 70_000 > CONTENT.length) continue;
        if (isDirect) await second.write(direct, 0, 4096, position);
        else await second.write(Buffer.alloc(5000, 0xbb), 0, 5000, position + 60_001);
        if (isDirect) expected.fill(0xaa, position, position + 4096);
        else expected.fill(0xbb, position + 60_001, position + 65_001);
      }
      assert.equal(at, CONTENT.length);
    }
  });

  test(`${scheme}: a file that grows or shrinks under a stream ends where it ends`, { skip }, async (t) => {
    const { file, name } = await start(t);
    let read = 0;
    for await (const block of file.blocks(SMALL)) {
      if (read === 0) appendFileSync(name, CONTENT);
      read += block.length;
    }
    assert.equal(read, 2 * CONTENT.length);
    let left = 0;
    for await (const block of file.blocks(SMALL)) {
      if (left === 0) truncateSync(name, 0);
      left += block.length;
    }
    assert.ok(left < read);
    writeFileSync(name, CONTENT);
    let cut = 0;
    for await (const block of file.blocks(SMALL)) {
      cut += block.length;
      if (cut === 256 * KIB) await file.truncate(300_000);
    }
    assert.equal(cut, 300_000, "what was read ahead of the file's own truncate isn't delivered");
  });

  test(`${scheme}: destroyed, left and closed with reads in flight, nothing stays and nothing hangs`, {
    skip,
  }, async (t) => {
    const { engine, file, name } = await start(t);
    const first = await engine.openFile(name);
    for await (const _ of first.createReadStream(SMALL)) break;
    for await (const _ of file.blocks(SMALL)) break;
    const aborted = new AbortController();
    await assert.rejects(
      async () => {
        for await (const _ of file.blocks({ ...SMALL, signal: aborted.signal })) aborted.abort();
      },
      { name: "AbortError" },
    );
    const blocks = file.blocks(SMALL);
    await blocks.next();
    await file.close();
    await assert.rejects(blocks.next(), { code: "EBADF" });
    const last = await engine.openFile(name);
    const stream = last.createReadStream(SMALL);
    const held = (await engine.openFile(name)).blocks(SMALL);
    await held.next();
    await new Promise((resolve) => stream.once("data", resolve));
    await engine.close();
    await assert.rejects(held.next(), { code: "EBADF" });
  });
}

/** A file of the test's own: its reads end when the test says so. */
function controlled(fileBytes: number) {
  const writeOrder = new WriteOrders().of("file");
  const state = {
    memory: 0,
    mostMemory: 0,
    inFlight: 0,
    mostInFlight: 0,
    asked: [] as number[],
    degraded: 0,
    full: false,
  };
  const source = {
    alignment: 512,
    writeOrder,
    memory: countedMemory(state),
    read: async (memory: Uint8Array, position: number) => {
      state.asked.push(position);
      state.mostInFlight = Math.max(state.mostInFlight, ++state.inFlight);
      await new Promise(setImmediate);
      state.inFlight--;
      const bytes = Math.max(0, Math.min(memory.byteLength, fileBytes - position));
      for (let i = 0; i < bytes; i++) memory[i] = (position + i) % 251;
      return bytes;
    },
    degraded: () => {
      state.degraded++;
    },
  };
  return { source, state, writeOrder };
}

const BLOCKS = { blockBytes: 8192, depth: 4 };

test("reading ahead begins with one block, has several in flight later, and stays within its bound", async () => {
  const { source, state } = controlled(1_000_000);
  const ahead = new ReadAhead(source, BLOCKS, Number.POSITIVE_INFINITY);
  const memory = new Uint8Array(1000);
  await ahead.read(memory, 0);
  assert.deepEqual([state.asked, state.memory], [[0], 0], "a first read is only itself");
  let position = 1000;
  const step = async (): Promise<number> => {
    const bytes = await ahead.read(memory, position);
    for (let i = 0; i < bytes; i++) assert.equal(memory[i], (position + i) % 251);
    position += bytes;
    return bytes;
  };
  await step();
  assert.ok(state.asked.length <= 3, "one block, and the next one when it came");
  while ((await step()) > 0);
  assert.equal(position, 1_000_000);
  assert.ok(state.mostInFlight >= 3, `${state.mostInFlight} in flight`);
  assert.ok(state.mostMemory <= 5 * BLOCKS.blockBytes, `${state.mostMemory} bytes`);
  assert.deepEqual([state.memory, state.inFlight], [0, 0]);
});

test("a reader that stops has no more than its bound read for it", async () => {
  const { source, state } = controlled(1_000_000);
  const ahead = new ReadAhead(source, BLOCKS, Number.POSITIVE_INFINITY);
  for (let position = 0; position < 100_000; position += 8192)
    assert.equal((await ahead.at(position))?.byteLength, 8192);
  const asked = state.asked.length;
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  assert.deepEqual([state.asked.length, state.inFlight], [asked, 0]);
  assert.ok(state.memory <= 5 * BLOCKS.blockBytes);
  await ahead.at(106_496);
  const elsewhere = Array.from({ length: 10 }, (_, i) => ahead.at(200_000 + 50_000 * i));
  await Promise.all(elsewhere);
  assert.ok(state.mostMemory <= 5 * BLOCKS.blockBytes, "also if it jumps while blocks are being read");
  await ahead.end();
  assert.equal(state.memory, 0);
});

test("nothing is read beyond the reader's end", async () => {
  const { source, state } = controlled(1_000_000);
  const ahead = new ReadAhead(source, BLOCKS, 40_000);
  for (let position = 0; position < 40_000; position += 1000) await ahead.read(new Uint8Array(1000), position);
  assert.ok(Math.max(...state.asked) < 40_000);
  assert.equal(state.memory, 0, "and its memory is given back at the end");
});

test("blocks that a write may have changed are read again, and none is read beside a write", async () => {
  const { source, state, writeOrder } = controlled(1_000_000);
  const ahead = new ReadAhead(source, BLOCKS, Number.POSITIVE_INFINITY);
  for (let position = 0; position < 80_000; position += 8192) await ahead.at(position);
  writeOrder.overwritten(81_920 + 100, 81_920 + 200);
  assert.equal(await ahead.at(81_920), null);
  assert.equal((await ahead.at(81_920))?.byteLength, 8192);
  writeOrder.enterDirect();
  writeOrder.overwritten();
  assert.equal(await ahead.at(90_112), null);
  const asked = state.asked.length;
  assert.equal(await ahead.at(90_112), null);
  assert.equal(state.asked.length, asked);
  writeOrder.leave("direct");
  assert.equal((await ahead.at(90_112))?.byteLength, 8192);
  await ahead.end();
});

test("without memory for blocks each read asks the file, and that is said", async () => {
  const { source, state } = controlled(100_000);
  state.full = true;
  const ahead = new ReadAhead(source, BLOCKS, Number.POSITIVE_INFINITY);
  for (let position = 0; position < 100_000; position += 1000)
    assert.equal(await ahead.read(new Uint8Array(1000), position), 1000);
  assert.equal(state.degraded, 1);
});

test("memory of blocks is added as streams need it, and goes when they don't", async () => {
  const arenas: object[] = [];
  const engine = await Engine.open();
  const memory = new BlockMemory(async (bytes) => {
    const arena = await engine.arena({ bytes });
    arenas.push(arena);
    return arena;
  });
  const blocks = await Promise.all(Array.from({ length: 12 }, () => memory.acquire(1024 * KIB)));
  assert.equal(arenas.length, 3);
  await Promise.all(blocks.map((block) => memory.release(block)));
  const again = await memory.acquire(1024 * KIB);
  assert.equal(arenas.length, 3);
  await memory.release(again);
  await engine.close();
});
