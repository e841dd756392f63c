// Small reads of the page cache on the simulated machine: without a request, as on the real kernel.
import assert from "node:assert/strict";
import { test } from "node:test";
import { smallWorld } from "../../../pinless/dist-test/support/world.js";
import { SimulatedWorld } from "../../dist/simulate/simulated-world.js";

for (const scheme of ["io_uring", "aio", "direct"] as const)
  test(`${scheme}: what a request has read into the modelled page cache is read without one`, async () => {
    const world = new SimulatedWorld(smallWorld());
    const model = world.files.create("file");
    const content = Uint8Array.from({ length: 10_000 }, (_, i) => i % 251);
    assert.equal(model.write(0, content), 0);
    model.settle();
    const engine = world.openEngine({ scheme });
    const file = await engine.openFile("file", "r+");
    const read = async (position: number): Promise<number> => {
      const memory = new Uint8Array(100);
      const { bytesRead } = await file.read(memory, 0, 100, position);
      assert.deepEqual(memory.subarray(0, bytesRead), model.content().slice(position, position + 100));
      return bytesRead;
    };
    const requests = async (run: () => Promise<unknown>): Promise<number> => {
      const { submitted } = engine.stats();
      await run();
      return engine.stats().submitted - submitted;
    };
    assert.equal(await requests(() => read(4050)), 1);
    assert.equal(await requests(() => read(4050)), 0);
    await file.write(new Uint8Array(4096).fill(9), 0, 4096, 4096);
    assert.equal(await read(4050), 100);
    assert.equal(await read(9950), 50);
    assert.equal(await requests(() => read(9950)), 1, "only a request tells that the file ends");
    await engine.close();
  });
