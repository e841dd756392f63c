// Options of requests on the model: each path carries them, and a refusal is tried once for a mount.
import assert from "node:assert/strict";
import { test } from "node:test";
import { smallWorld } from "../../../pinless/dist-test/support/world.js";
import { SimulatedWorld } from "../../dist/simulate/simulated-world.js";

const DSYNC = 0x2;
const SYNC = 0x4;
const ATOMIC = 0x40;
const UNCACHED = 0x80;
const IDLE = 3 << 29;

async function openedIn(world: SimulatedWorld, scheme: "io_uring" | "aio" | "direct") {
  const model = world.files.create("file");
  model.write(0, new Uint8Array(65536).fill(1));
  model.settle();
  const engine = world.openEngine({ scheme });
  const file = await engine.openFile("file", "r+");
  const calls: string[] = [];
  const handle = file as unknown as { lifetime: { handle: { datasync(): Promise<void>; sync(): Promise<void> } } };
  for (const name of ["datasync", "sync"] as const) {
    const original = handle.lifetime.handle[name];
    handle.lifetime.handle[name] = () => {
      calls.push(name);
      return original.call(handle.lifetime.handle);
    };
  }
  return { model, engine, file, calls, block: (await engine.arena({ bytes: 2 << 20 })).alloc(4096) };
}

for (const scheme of ["io_uring", "aio", "direct"] as const) {
  test(`model of ${scheme}: every path carries the options that it's given`, async () => {
    const world = new SimulatedWorld(smallWorld());
    const { engine, file, block } = await openedIn(world, scheme);
    const carried = (): number[] => {
      const words = [...world.flags.carried];
      world.flags.carried.clear();
      return words;
    };
    await file.write(block, { position: 0, dsync: true });
    assert.deepEqual(carried(), [DSYNC]);
    await file.write(Buffer.alloc(10), { position: 3, sync: true, uncached: true });
    assert.deepEqual(carried(), [SYNC | UNCACHED]);
    await file.write(block, { position: 4096, atomic: true, uncached: true });
    assert.deepEqual(carried(), [ATOMIC]);
    await new Promise((resolve) => file.submit("write", block, 0, resolve, { dsync: true }));
    await new Promise((resolve) => file.submit("read", block, 0, resolve, { uncached: true }));
    assert.deepEqual(carried(), [DSYNC]);
    await file.write(block, { position: 0, dsync: true, priority: { class: "idle" } });
    assert.deepEqual(carried(), [IDLE | DSYNC]);
    assert.ok(file.fd > 0);
    await file.write(Buffer.alloc(10), { dsync: true });
    assert.deepEqual(carried(), [DSYNC]);
    await file.read(block, { position: 0 });
    assert.deepEqual(carried(), []);
    assert.deepEqual(file.features.refused.dsync, undefined);
    await file.close();
    await engine.close();
  });

  test(`model of ${scheme}: refused dsync is an fdatasync, refused uncached is an ordinary request`, async () => {
    const world = new SimulatedWorld(smallWorld());
    const { model, engine, file, calls, block } = await openedIn(world, scheme);
    world.flags.refused = DSYNC | SYNC | UNCACHED;
    await file.write(block.fill(2), { position: 0, dsync: true });
    await new Promise((resolve) => file.submit("write", block.fill(3), 4096, resolve, { sync: true }));
    await file.write(Buffer.alloc(10, 4), { position: 8195, uncached: true, dsync: true });
    assert.deepEqual(calls, ["datasync", "sync", "datasync"]);
    const content = model.content();
    assert.deepEqual([content[0], content[4096], content[8195], content[8205]], [2, 3, 4, 1]);
    const { dsync, sync, uncached } = file.features.refused;
    const { degraded } = engine.stats();
    for (const why of [dsync, sync, uncached]) assert.ok(degraded.includes(why!), why);
    // From now on nothing is tried.
    world.flags.carried.clear();
    await file.write(block, { position: 0, dsync: true });
    const again = await engine.openFile("file", "r+");
    await new Promise((resolve) => again.submit("write", block, 0, resolve, { dsync: true }));
    await again.read(Buffer.alloc(10), { position: 3, uncached: true });
    assert.equal(world.flags.carried.size, 0);
    assert.deepEqual(calls, ["datasync", "sync", "datasync", "datasync"]);
    await again.close();
    await file.close();
    await engine.close();
  });

  test(`model of ${scheme}: a refused atomic write is an error, and nothing is written in its place`, async () => {
    const world = new SimulatedWorld(smallWorld());
    const { model, engine, file, block } = await openedIn(world, scheme);
    world.flags.refused = ATOMIC;
    await assert.rejects(file.write(block.fill(2), { position: 0, atomic: true }), { code: "ENOTSUP" });
    await assert.rejects(file.write(block, { position: 0, atomic: true, dsync: true }), { code: "ENOTSUP" });
    const errno = await new Promise((resolve) => file.submit("write", block, 0, resolve, { atomic: true }));
    assert.equal(errno, -95);
    assert.equal(model.content()[0], 1);
    assert.equal(file.direct, true);
    await file.close();
    await engine.close();
  });

  test(`model of ${scheme}: an atomic write of memory that an invalidation has closed is still one write`, async () => {
    const world = new SimulatedWorld(smallWorld());
    const { model, engine, file } = await openedIn(world, scheme);
    const view = (await engine.arena({ bytes: 2 << 20 })).alloc(65536).fill(5);
    const start = world.machine.addressOfView(view);
    const invalidation = engine.notifier.invalidateRangeStart({ start, end: start + 65536 }, "CLEAR");
    assert.equal(invalidation.state, "begun");
    const before = engine.stats().submitted;
    const write = file.write(view, { position: 0, atomic: true });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(engine.stats().submitted, before);
    engine.notifier.invalidateRangeEnd(invalidation);
    assert.equal((await write).bytesWritten, 65536);
    assert.equal(engine.stats().submitted, before + 1);
    assert.ok(model.content().every((byte) => byte === 5));
    await file.close();
    await engine.close();
  });
}
