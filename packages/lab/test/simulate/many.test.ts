// Many ranges in one call on the simulated machine: what is read and written is as on the real kernel, and a block that
// can't be read fails only the ranges that need it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { smallWorld } from "../../../pinless/dist-test/support/world.js";
import { BLOCK_CONTENT, FILESYSTEMS } from "../../dist/model/tables.js";
import { SimulatedWorld } from "../../dist/simulate/simulated-world.js";

const PAGE = 4096;
const PAGES = 24;

for (const scheme of ["io_uring", "aio", "direct"] as const)
  test(`${scheme}: many ranges of a modelled file are read and written`, async () => {
    const world = new SimulatedWorld(smallWorld());
    const model = world.files.create("file");
    const content = Uint8Array.from({ length: PAGES * PAGE - 100 }, (_, i) => (i * 31 + (i >> 12)) & 255);
    assert.equal(model.write(0, content), 0);
    model.settle();
    const engine = world.openEngine({ scheme });
    const file = await engine.openFile("file", "r+");
    const ranges = Array.from({ length: 40 }, (_, i) => ({ position: (i * 7001) % content.length, length: i * 300 }));
    const all = await file.readMany(ranges).toArray();
    for (const [i, { position, length }] of ranges.entries())
      assert.deepEqual(all[i], content.slice(position, position + length), `range ${i}`);
    const writes = ranges.map(({ position, length }, i) => ({ position, buffer: new Uint8Array(length).fill(i) }));
    await file.writeMany(writes);
    const expected = new Uint8Array(2 * content.length);
    expected.set(content);
    for (const { position, buffer } of writes) expected.set(buffer, position);
    assert.deepEqual(model.read(0, 2 * content.length), expected.slice(0, model.bytes));
    await engine.close();
  });

test("a block that can't be read fails the ranges that need it, and no others that would be read with it", async () => {
  const world = new SimulatedWorld(smallWorld());
  const model = world.files.create("file", 0, FILESYSTEMS.btrfs);
  assert.equal(model.write(0, new Uint8Array(PAGES * PAGE).fill(1)), 0);
  model.settle();
  const { cache } = world.machine;
  cache.setBlock(cache.blockOf(model.firstInodePage + 5), BLOCK_CONTENT, 77);
  const engine = world.openEngine({ scheme: "io_uring" });
  const file = await engine.openFile("file", "r");
  const around = [3, 4, 6, 7].map((page) => ({ position: page * PAGE, length: PAGE }));
  const all = await file.readMany(around, { amplificationMax: 10 }).toArray();
  assert.ok(all.every((bytes) => bytes.length === PAGE && bytes.every((byte) => byte === 1)));
  const ranges = [...around, { position: 5 * PAGE + 9, length: 10 }];
  await assert.rejects(file.readMany(ranges).toArray(), {
    code: "EIO",
    position: 5 * PAGE + 9,
    message: /10 bytes at 20489$/,
  });
  await engine.close();
});
