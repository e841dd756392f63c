// Several engines in a process, in one thread and in workers, each with memory operations beside its I/O: every byte is
// right.
import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import { type Arena, Engine, type EngineOptions } from "../../dist/index.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { ioUringOff } from "../support/io-uring.js";
import { pinnedBytes } from "../support/proc.js";
import { Random } from "../support/random.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const MIB = 1 << 20;
const BLOCKS = 256;
const skip = ioUringOff();

function fileOf(t: TestContext): string {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(BLOCKS));
  return name;
}

async function open(
  t: TestContext,
  options: EngineOptions,
): Promise<{ engine: Engine; arena: Arena; memory: Uint8Array }> {
  const engine = await Engine.open({ depth: 16, ...options });
  undoing(t, () => engine.close());
  const arena = await engine.arena({ bytes: 4 * MIB });
  return { engine, arena, memory: arena.alloc(4 * MIB) };
}

/** One that keeps what is there, in turn. */
async function operate(arena: Arena, memory: Uint8Array, turn: number): Promise<void> {
  const at = (turn % 4) * MIB;
  const part = memory.subarray(at, at + MIB);
  const operations = [
    () => arena.collapse(part),
    () => arena.migrate({ node: 0 }, part),
    () => arena.exclusive(part, () => {}),
    () => arena.protect("read", part),
    () => arena.protect("readwrite", part),
  ];
  // What was made read-only is writable again after the next.
  await operations[turn % 5]!();
  if (turn % 5 === 3) await operations[4]!();
}

test("Engines of one thread, with every scheme, also into each other's memory: every block is right", {
  skip,
}, async (t) => {
  const name = fileOf(t);
  const all = await Promise.all(
    [{ scheme: "io_uring" }, { scheme: "io_uring" }, { scheme: "aio" }, { scheme: "direct" }].map((options) =>
      open(t, options as EngineOptions),
    ),
  );
  const files = await Promise.all(all.map(({ engine }) => engine.openFile(name)));
  let reading = all.length;
  let refused = 0;
  const load = async (of: number): Promise<void> => {
    const random = new Random(of);
    for (let i = 0; i < 300; i++) {
      const { memory } = all[i % 4 === 0 ? random.below(all.length) : of]!;
      const block = random.below(BLOCKS);
      // Each file is read into blocks of its own, in every engine's memory.
      const at = (random.below(256) * 4 + of) * BLOCK_BYTES;
      const buffer = memory.subarray(at, at + BLOCK_BYTES);
      try {
        assert.equal((await files[of]!.read(buffer, { position: block * BLOCK_BYTES })).bytesRead, BLOCK_BYTES);
        assert.equal(wrongBlocks(buffer, block), null);
      } catch (error) {
        assert.equal((error as { code: string }).code, "EFAULT", String(error));
        refused++;
      }
    }
    reading--;
  };
  const storm = async ({ arena, memory }: (typeof all)[number]): Promise<number> => {
    let turn = 0;
    while (reading > 0) await operate(arena, memory, turn++);
    return turn;
  };
  const [turns] = await Promise.all([Promise.all(all.map(storm)), Promise.all(all.map((_, i) => load(i)))]);
  assert.ok(
    turns.every((count) => count > 0),
    `${turns} operations`,
  );
  assert.ok(refused < 1200, "every read met read-only memory");
});

/** In a worker: its own engine, discards in its arena, and reads that begin after them. */
const WORKER = `
  const { parentPort, workerData: { index, name, blocks, seed } } = require("node:worker_threads");
  import(index).then(async ({ Engine }) => {
    const engine = await Engine.open({ depth: 16 });
    const arena = await engine.arena({ bytes: ${4 * MIB} });
    const memory = arena.alloc(${4 * MIB});
    const file = await engine.openFile(name);
    const expected = require("node:fs").readFileSync(name);
    let [wrong, reads, over] = [0, 0, false];
    const load = async (place) => {
      for (let i = 0; i < 100; i++) {
        const block = (i * 7 + seed + place) % blocks;
        const buffer = memory.subarray(place * 4096, place * 4096 + 4096);
        await file.read(buffer, { position: block * 4096 });
        if (Buffer.compare(buffer, expected.subarray(block * 4096, block * 4096 + 4096)) !== 0) wrong++;
        reads++;
      }
    };
    const storm = async () => {
      let turns = 0;
      for (; !over; turns++) {
        // The discard has a range without reads, in the chunk of the reads; collapse keeps all bytes.
        await arena.discard(memory.subarray(64 * 4096, 128 * 4096));
        await arena.collapse();
      }
      return turns;
    };
    const storming = storm();
    await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(load));
    over = true;
    const turns = await storming;
    await engine.close();
    parentPort.postMessage({ wrong, reads, turns });
  });
`;

test("Engines of workers beside one of the main thread: every block is right, and nothing is pinned afterwards", {
  skip,
}, async (t) => {
  const name = fileOf(t);
  const before = pinnedBytes();
  const { engine, arena, memory } = await open(t, {});
  const file = await engine.openFile(name);
  const index = new URL("../../dist/index.js", import.meta.url).href;
  const workers = [1, 2].map(
    (seed) => new Worker(WORKER, { eval: true, workerData: { index, name, blocks: BLOCKS, seed } }),
  );
  for (const worker of workers) undoing(t, async () => void (await worker.terminate()));
  let working = workers.length;
  const said = workers.map(async (worker) => {
    const [message] = await once(worker, "message");
    working--;
    return message as { wrong: number; reads: number; turns: number };
  });
  let reads = 0;
  const load = async (location: number): Promise<void> => {
    for (let i = 0; working > 0; i++) {
      const block = (i * 5 + location) % BLOCKS;
      const buffer = memory.subarray(location * BLOCK_BYTES, (location + 1) * BLOCK_BYTES);
      await file.read(buffer, { position: block * BLOCK_BYTES });
      assert.equal(wrongBlocks(buffer, block), null);
      reads++;
    }
  };
  const storm = async (): Promise<void> => {
    while (working > 0) await arena.migrate({ node: 0 }, memory);
  };
  await Promise.all([...[0, 1, 2, 3].map(load), storm()]);
  for (const one of await Promise.all(said)) {
    assert.deepEqual([one.wrong, one.reads], [0, 800]);
    assert.ok(one.turns > 0);
  }
  assert.ok(reads > 0);
  await engine.close();
  assert.equal(pinnedBytes(), before);
});
