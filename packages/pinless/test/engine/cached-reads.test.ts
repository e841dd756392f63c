/** Small reads of what the page cache has, made on this thread. */

import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, readSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { CachedReads } from "../../dist/files/cached-reads.js";
import { Engine, type File } from "../../dist/index.js";
import { descriptorCalls } from "../../dist/linux/descriptor-calls.js";
import { loadLibc } from "../../dist/linux/libc-bindings.js";
import { EAGAIN, EOPNOTSUPP } from "../../dist/protocol/errno.js";
import { cachedBytes, forget } from "../support/page-cache.js";
import { Random } from "../support/random.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const BYTES = 10 * 4096 + 50;
const SCHEMES = ["io_uring", "aio", "direct"] as const;

/** The reason why a filesystem has no such reads; false if it has. */
async function refusal(name: string): Promise<string | false> {
  await loadLibc();
  const fd = openSync(name, "r");
  try {
    readFileSync(name);
    const bytes = descriptorCalls(fd).readCached(new Uint8Array(1), 0);
    return bytes === 1 ? false : `machine: a read of cached bytes gave ${bytes}`;
  } finally {
    closeSync(fd);
  }
}

async function opened(
  t: TestContext,
  scheme: (typeof SCHEMES)[number],
): Promise<{ engine: Engine; file: File; name: string; content: Buffer; refused: string | false }> {
  const name = path.join(scratchDirectory(t), "file");
  const content = Buffer.from(new Random(5).bytes(BYTES));
  writeFileSync(name, content);
  const engine = await Engine.open({ scheme });
  undoing(t, () => engine.close());
  const file = await engine.openFile(name, "r+");
  undoing(t, () => file.close());
  return { engine, file, name, content, refused: await refusal(name) };
}

async function read(file: File, position: number, length: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** A file of which all is cached, and whose reads are counted. */
function faked(results: (bytes: number) => number): {
  reads: CachedReads;
  tried: () => number;
  counts: string[];
  turns: (() => void)[];
} {
  let tried = 0;
  const turns: (() => void)[] = [];
  const counts: string[] = [];
  const reads = new CachedReads({
    calls: {
      isCached: () => false,
      readCached: (memory) => {
        tried++;
        return results(memory.byteLength);
      },
    },
    loop: { soon: (run) => void turns.push(run) },
    counted: (what) => void counts.push(what),
  });
  return { reads, tried: () => tried, counts, turns };
}

for (const scheme of SCHEMES)
  test(`${scheme}: what a request has read into the page cache is read without one`, async (t) => {
    const { engine, file, content, refused } = await opened(t, scheme);
    if (refused !== false) return t.skip(refused);
    assert.deepEqual(await read(file, 4090, 100), content.subarray(4090, 4190));
    const { submitted, buffered, bounced } = engine.stats();
    assert.deepEqual(await read(file, 4091, 98), content.subarray(4091, 4189));
    assert.deepEqual(await read(file, 4000, 4192), content.subarray(4000, 8192));
    const after = engine.stats();
    assert.equal(after.submitted, submitted);
    assert.deepEqual([after.buffered - buffered, after.bounced - bounced], [2, 2]);
  });

for (const scheme of SCHEMES)
  test(`${scheme}: small reads give what the file has, after writes of either kind and at its end`, async (t) => {
    const { file, name } = await opened(t, scheme);
    const same = async (): Promise<void> => {
      const now = readFileSync(name);
      for (const [position, length] of [
        [10, 100],
        [4000, 300],
        [BYTES - 20, 100],
        [BYTES - 100, 60],
        [BYTES + 5, 10],
      ] as const)
        assert.deepEqual(await read(file, position, length), now.subarray(position, position + length));
    };
    await same();
    await same();
    await file.write(Buffer.from("buffered"), 0, 8, 4090);
    await same();
    await file.write(Buffer.alloc(8192, 7), 0, 8192, 0);
    await same();
    const fd = openSync(name, "r+");
    writeSync(fd, "another descriptor", 20);
    closeSync(fd);
    await same();
    truncateSync(name, BYTES - 70);
    await same();
    forget(name);
    await same();
  });

test("a read into memory of an arena is a request, which memory operations exclude", async (t) => {
  const { engine, file, content } = await opened(t, "io_uring");
  const arena = await engine.arena({ bytes: 1 << 20 });
  const memory = arena.alloc(4096).subarray(0, 100);
  for (let i = 0; i < 2; i++) {
    const { submitted } = engine.stats();
    await file.read(memory, 0, 100, 5);
    assert.ok(engine.stats().submitted > submitted);
    assert.deepEqual(Buffer.from(memory), content.subarray(5, 105));
  }
});

test("a loop of such reads lets the event loop go on", async (t) => {
  const { file } = await opened(t, "io_uring");
  let turns = 0;
  let reading = true;
  const turn = (): void => {
    turns++;
    if (reading) setImmediate(turn);
  };
  setImmediate(turn);
  for (let i = 0; i < 200; i++) await read(file, 0, 100);
  reading = false;
  assert.ok(turns >= 5, `${turns} turns of the event loop`);
});

test("CachedReads tries only what a request has read, 32 times in a turn of the event loop", async () => {
  const { reads, tried, counts, turns } = faked((bytes) => bytes);
  let requests = 0;
  const request = async (): Promise<number> => {
    requests++;
    return 100;
  };
  const view = new Uint8Array(100);
  await reads.read(view, 0, request);
  await reads.read(view, 4050, request);
  assert.deepEqual([tried(), requests], [0, 2], "the second page wasn't read before");
  const all = Array.from({ length: 70 }, () => reads.read(view, 4050, request));
  for (const expected of [32, 64]) {
    await Promise.all(all.slice(0, expected));
    assert.deepEqual([tried(), turns.length], [expected, 1]);
    turns.pop()!();
  }
  assert.ok((await Promise.all(all)).every((bytes) => bytes === 100));
  assert.deepEqual([tried(), requests, counts.length, turns.length], [70, 2, 140, 0]);
  await reads.read(view, 256 * 4096, request);
  await reads.read(view, 0, request);
  assert.equal(requests, 4, "another page has taken the place of the first");
});

test("CachedReads asks no more where such reads are refused, but goes on where bytes aren't cached", async () => {
  for (const [errno, often] of [
    [-EOPNOTSUPP, 1],
    [-EAGAIN, 3],
  ] as const) {
    const { reads, tried } = faked(() => errno);
    for (let i = 0; i < 4; i++) assert.equal(await reads.read(new Uint8Array(10), 0, async () => 10), 10);
    assert.equal(tried(), often);
  }
});

test("CachedReads leaves a short read, and one that is too long, to a request", async () => {
  const { reads, tried } = faked((bytes) => bytes - 1);
  const ten = new Uint8Array(10);
  for (let i = 0; i < 2; i++) assert.equal(await reads.read(ten, 0, async () => 10), 10);
  const long = new Uint8Array(33 << 10);
  for (let i = 0; i < 2; i++) assert.equal(await reads.read(long, 0, async () => long.length), long.length);
  assert.equal(tried(), 1);
});

test("readCached reads nothing that the page cache doesn't have, and reads no pages into it", async (t) => {
  const { name, content, refused } = await opened(t, "io_uring");
  if (refused !== false) return t.skip(refused);
  const fd = openSync(name, "r");
  undoing(t, () => closeSync(fd));
  forget(name);
  const calls = descriptorCalls(fd);
  const memory = new Uint8Array(100);
  assert.equal(calls.readCached(memory, 8), -EAGAIN);
  assert.equal(cachedBytes(name), 0);
  readSync(fd, memory, 0, 1, 0);
  assert.equal(calls.readCached(memory, 8), 100);
  assert.deepEqual(Buffer.from(memory), content.subarray(8, 108));
});
