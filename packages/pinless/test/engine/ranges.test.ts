// Reads that begin or end inside of a block go direct where they're large; what doesn't is said.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { type Arena, Engine, type File } from "../../dist/index.js";
import { ioUringOff } from "../support/io-uring.js";
import { forget } from "../support/page-cache.js";
import { Random } from "../support/random.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const MIB = 1 << 20;
const CONTENT = Buffer.from(new Random(21).bytes(4 * MIB + 1234));

for (const scheme of ["io_uring", "aio", "direct"] as const) {
  const skip = scheme === "io_uring" ? ioUringOff() : false;

  async function start(t: TestContext): Promise<{ engine: Engine; arena: Arena; file: File } | null> {
    const engine = await Engine.open({ scheme, depth: 8, pin: "per-io" });
    undoing(t, () => engine.close());
    const name = path.join(scratchDirectory(t), "file");
    writeFileSync(name, CONTENT);
    forget(name);
    const file = await engine.openFile(name, "r+");
    if (file.direct) return { engine, arena: await engine.arena({ bytes: 16 * MIB }), file };
    t.skip("machine: scratch files without direct I/O");
    return null;
  }

  test(`${scheme}: a stream from the middle of a block is direct`, { skip }, async (t) => {
    const { engine, file } = (await start(t)) ?? {};
    if (engine === undefined || file === undefined) return;
    const before = engine.stats().buffered;
    const parts: Buffer[] = [];
    for await (const part of file.createReadStream({ start: 1000, end: 4 * MIB - 1, autoClose: false }))
      parts.push(part as Buffer);
    assert.ok(Buffer.concat(parts).equals(CONTENT.subarray(1000, 4 * MIB)));
    assert.equal(engine.stats().buffered - before, 0);
    assert.deepEqual(
      engine.stats().degraded.filter((why) => why.includes("page cache")),
      [],
    );
  });

  test(`${scheme}: long reads of any range, into any memory, are right`, { skip }, async (t) => {
    const { engine, file, arena } = (await start(t)) ?? {};
    if (engine === undefined || file === undefined || arena === undefined) return;
    const random = new Random(4);
    const own = arena.alloc(3 * MIB);
    const before = engine.stats().buffered;
    for (let i = 0; i < 40; i++) {
      const length = 32768 + random.below(i % 4 === 0 ? 2 * MIB : 100_000);
      const near = i % 3 === 0 ? CONTENT.length - 32768 + random.below(40_000) : random.below(CONTENT.length);
      const position = i % 5 === 0 ? near - (near % 512) : near;
      const odd = random.below(4000);
      for (const memory of [Buffer.alloc(length, 0xee), own.subarray(odd, odd + length).fill(0xee)]) {
        const bytesRead: number = (await file.read(memory, { position })).bytesRead;
        const expected = CONTENT.subarray(position, position + length);
        assert.equal(bytesRead, expected.length, `${length} at ${position}`);
        assert.ok(expected.equals(memory.subarray(0, bytesRead)), `${length} at ${position}`);
        // The bytes behind the read ones stay as they were.
        if (memory instanceof Buffer) assert.ok(memory.subarray(bytesRead).every((byte) => byte === 0xee));
      }
    }
    assert.equal(engine.stats().buffered - before, 0);
    const short = Buffer.alloc(8192, 7);
    const from = CONTENT.length - (CONTENT.length % 4096);
    assert.equal((await file.read(short, { position: from })).bytesRead, CONTENT.length - from);
    assert.ok(short.subarray(CONTENT.length - from).every((byte) => byte === 7));
  });

  test(`${scheme}: if most requests of a file with direct I/O go through the page cache, that is reported once`, {
    skip,
  }, async (t) => {
    const { engine, file } = (await start(t)) ?? {};
    if (engine === undefined || file === undefined) return;
    const said = (): number => engine.stats().degraded.filter((why) => why.includes("file.alignment")).length;
    for (let i = 0; i < 63; i++) await file.read(Buffer.alloc(100), { position: i * 100 });
    assert.equal(said(), 0);
    for (let i = 0; i < 63; i++) await file.read(Buffer.alloc(100), { position: i * 100 });
    assert.equal(said(), 1);
  });

  test(`${scheme}: file.alignment is the alignment that direct requests need`, { skip }, async (t) => {
    const { engine, file, arena } = (await start(t)) ?? {};
    if (engine === undefined || file === undefined || arena === undefined) return;
    const { memory, offset } = file.alignment;
    for (const align of [memory, offset]) assert.ok(align >= 4 && align <= 65536 && (align & (align - 1)) === 0);
    const before = engine.stats();
    const buffer = arena.alloc(65536).subarray(memory, memory + offset);
    await file.read(buffer, { position: 3 * offset });
    const { buffered, bounced } = engine.stats();
    assert.deepEqual([buffered, bounced], [before.buffered, before.bounced]);
    const limits = await engine.openFile("/proc/self/limits");
    assert.deepEqual(limits.alignment, { memory: 1, offset: 1, readOffset: 1 });
    await limits.close();
  });
}
