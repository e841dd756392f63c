/** Streams that write behind: files and errors as by node:fs, within a bound of memory, and nothing kept back. */

import assert from "node:assert/strict";
import { once } from "node:events";
import fs, { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type TestContext, test } from "node:test";
import { WriteBehind } from "../../dist/files/write-behind.js";
import { Engine, type File } from "../../dist/index.js";
import { countedMemory } from "../support/counted-memory.js";
import { ioUringOff } from "../support/io-uring.js";
import { Random } from "../support/random.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

const KIB = 1024;
const OLD = Buffer.alloc(2_000_001, 0xee);
const CONTENT = Buffer.from(new Random(41).bytes(1_500_003));
const SMALL = { blockBytes: 64 * KIB, writeBehind: 3 };

function chunksOf(bytes: number): Buffer[] {
  const chunks = [];
  for (let at = 0; at < CONTENT.length; at += bytes) chunks.push(CONTENT.subarray(at, at + bytes));
  return chunks;
}

for (const scheme of ["io_uring", "aio", "direct"] as const) {
  const skip = scheme === "io_uring" ? ioUringOff() : false;

  async function start(t: TestContext, flags = "r+"): Promise<{ engine: Engine; file: File; name: string }> {
    const engine = await Engine.open({ scheme, depth: 8 });
    undoing(t, () => engine.close());
    const name = path.join(scratchDirectory(t), "file");
    writeFileSync(name, OLD);
    const file = await engine.openFile(name, flags);
    undoing(t, () => file.close());
    return { engine, file, name };
  }

  test(`${scheme}: a stream leaves the file that node:fs leaves`, { skip }, async (t) => {
    const { engine, name } = await start(t);
    for (const flags of ["r+", "w", "a"])
      for (const start of [undefined, 0, 1, 4096, 65_535, 1_999_000])
        for (const bytes of [100_000, 65_536, 4097]) {
          if (flags === "a" && start !== undefined) continue;
          const options = start === undefined ? {} : { start };
          writeFileSync(name, OLD);
          await pipeline(Readable.from(chunksOf(bytes)), fs.createWriteStream(name, { flags, ...options }));
          const expected = readFileSync(name);
          writeFileSync(name, OLD);
          const stream = (await engine.openFile(name, flags)).createWriteStream({ ...SMALL, ...options });
          await pipeline(Readable.from(chunksOf(bytes)), stream);
          assert.ok(readFileSync(name).equals(expected), `${flags} ${start} ${bytes}`);
          assert.equal(stream.bytesWritten, CONTENT.length);
        }
  });

  test(`${scheme}: a write's callback means that its bytes are in the file`, { skip }, async (t) => {
    const { file, name } = await start(t, "w");
    const stream = file.createWriteStream(SMALL);
    let end = 0;
    for (const chunk of chunksOf(30_001)) {
      end += chunk.length;
      stream.write(chunk.subarray(0, 100));
      await new Promise<void>((resolve, reject) =>
        stream.write(chunk.subarray(100), (error) => (error ? reject(error) : resolve())),
      );
      assert.equal(fs.statSync(name).size, end);
    }
    assert.ok(readFileSync(name).equals(CONTENT));
    stream.end();
    await once(stream, "close");
  });

  test(`${scheme}: writes at a position that gets shared stay in order`, { skip }, async (t) => {
    const { file, name } = await start(t, "w");
    const stream = file.createWriteStream(SMALL);
    for (const [i, chunk] of chunksOf(50_000).entries()) {
      if (!stream.write(chunk)) await once(stream, "drain");
      if (i === 10) assert.ok(file.fd > 0);
    }
    stream.end();
    await once(stream, "close");
    assert.ok(readFileSync(name).equals(CONTENT));
  });

  test(`${scheme}: what was written without a callback isn't kept back until the end`, { skip }, async (t) => {
    const { file, name } = await start(t, "w");
    const stream = file.createWriteStream();
    for (let line = 1; line <= 20; line++) {
      stream.write(`line ${line}\n`);
      await until("the line", () => readFileSync(name, "utf8").endsWith(`line ${line}\n`));
    }
    stream.destroy();
    await once(stream, "close");
  });

  test(`${scheme}: what fails behind a stream is its error, with Node's code`, { skip }, async (t) => {
    const { engine, name } = await start(t);
    // The largest file of ext4: the first chunks fit.
    const largest = 2 ** 44 - 4096 - 3 * 64 * KIB;
    const chunks = chunksOf(64 * KIB);
    const codes: unknown[] = [];
    for (const by of ["node", "pinless"] as const) {
      const stream =
        by === "node"
          ? fs.createWriteStream(name, { flags: "r+", start: largest })
          : (await engine.openFile(name, "r+")).createWriteStream({ ...SMALL, start: largest });
      const outcome = await pipeline(Readable.from(chunks), stream).catch((error) => error.code);
      codes.push(outcome);
      assert.ok(stream.closed);
    }
    assert.deepEqual(codes[1], codes[0]);
  });

  test(`${scheme}: destroyed, closed with its file and with its engine, a stream's bytes are written`, {
    skip,
  }, async (t) => {
    const { engine, name } = await start(t);
    for (const how of ["destroy", "file", "engine"]) {
      const file = await engine.openFile(name, "w");
      const stream = file.createWriteStream({ ...SMALL, highWaterMark: 1 << 24 });
      let written = 0;
      for (const chunk of chunksOf(64 * KIB).slice(0, 10)) {
        if (!stream.write(chunk)) await once(stream, "drain");
        written += chunk.length;
      }
      await until("acceptance", () => stream.bytesWritten === written);
      if (how === "destroy") stream.destroy();
      else void (how === "file" ? file : engine).close();
      await once(stream, "close");
      assert.ok(readFileSync(name).equals(CONTENT.subarray(0, written)), how);
    }
  });
}

/** Memory and a file of the test's own: each write ends when the test says so. */
function controlled() {
  const state = { memory: 0, mostMemory: 0, full: false, degraded: 0, file: Buffer.alloc(1 << 20) };
  const pending: { fail: (error: Error) => void; succeed: () => void }[] = [];
  const target = {
    alignment: 512,
    memory: countedMemory(state),
    write: (view: Uint8Array, position: number) =>
      new Promise<number>((resolve, fail) => {
        const succeed = (): void => {
          state.file.set(view, position);
          resolve(view.byteLength);
        };
        pending.push({ fail, succeed });
      }),
    degraded: () => {
      state.degraded++;
    },
  };
  return { target, state, pending };
}

const BLOCKS = { blockBytes: 4096, depth: 3 };
const turn = (): Promise<void> => new Promise(setImmediate);

/** Begins writing behind, past the first write. */
async function begun() {
  const all = controlled();
  const behind = new WriteBehind(all.target, BLOCKS);
  const first = behind.write([CONTENT.subarray(0, 4096)], 0);
  await turn();
  all.pending.shift()!.succeed();
  assert.equal(await first, 4096);
  return { ...all, behind };
}

test("writing behind has several blocks in flight, and no more than its bound", async () => {
  const { behind, pending, state } = await begun();
  let accepted = 4096;
  let waits = false;
  const feeding = (async () => {
    while (accepted < 100_000) {
      waits = true;
      await behind.write([CONTENT.subarray(accepted, accepted + 1000)], accepted);
      waits = false;
      accepted += 1000;
    }
  })();
  for (let i = 0; i < 20; i++) await turn();
  // The first write of behind goes alone, as nothing was in flight.
  assert.ok(waits && pending.length === 4, `${pending.length} in flight`);
  assert.ok(accepted < 4096 + 1000 + 4 * 4096);
  const succeeding = (async () => {
    while (accepted < 100_000 || pending.length > 0) {
      pending.splice(pending.length > 1 ? 1 : 0, 1)[0]?.succeed();
      await turn();
    }
  })();
  await feeding;
  const ended = behind.end();
  await succeeding;
  while (state.memory > 0) {
    pending.shift()?.succeed();
    await turn();
  }
  await ended;
  assert.ok(state.file.subarray(0, accepted).equals(CONTENT.subarray(0, accepted)));
  assert.ok(state.mostMemory <= 4 * 4096);
});

test("an error behind is told at once, at the next write and at the end, and memory is given back", async () => {
  const { behind, pending, state } = await begun();
  const told: unknown[] = [];
  behind.failed = (error) => told.push(error);
  await behind.write([CONTENT.subarray(0, 8192)], 4096);
  await turn();
  const error = new Error("no space");
  pending.shift()!.fail(error);
  pending.shift()!.fail(new Error("of a later block"));
  await turn();
  assert.deepEqual(told, [error]);
  await assert.rejects(behind.drain(), error);
  await assert.rejects(behind.end(), error);
  assert.equal(state.memory, 0);
});

test("without memory for blocks each write is answered when it's done, and that is said", async () => {
  const { behind, pending, state } = await begun();
  state.full = true;
  let answered = false;
  const write = behind.write([CONTENT.subarray(4096, 5096)], 4096).then(() => {
    answered = true;
  });
  await turn();
  assert.deepEqual([answered, state.degraded], [false, 1]);
  pending.shift()!.succeed();
  await write;
  await behind.end();
});
