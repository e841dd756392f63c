/** Tests for every scheme that registers nothing. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Engine, type SchemeName } from "../../dist/index.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { pinnedBytes } from "../support/proc.js";
import { rounds } from "../support/rounds.js";
import { kernelGround } from "./kernel.js";

/** Says so when it's busy, and never ends. */
const BUSY_WORKER = `
  const { parentPort, workerData: { url, path, scheme } } = require("node:worker_threads");
  import(url).then(async ({ Engine }) => {
    const engine = await Engine.open({ scheme });
    const file = await engine.openFile(path);
    const arena = await engine.arena({ bytes: 2 << 20 });
    let count = 0;
    for (let i = 0; i < engine.depth; i++) {
      const buffer = arena.alloc(4096);
      const done = () => {
        if (++count === 200) parentPort.postMessage("busy");
        file.submit("read", buffer, i % 64 * 4096, done);
      };
      done();
    }
  });
`;

export function withoutRegistrations(scheme: SchemeName): void {
  const ground = kernelGround(scheme, "per-io");

  test(`${scheme}: Engine goes per-io whatever pin mode is asked for, and says so`, async () => {
    const path = await ground.file(numberedBlocks(64));
    for (const pin of ["lease", "lifetime", "per-io"] as const) {
      const before = pinnedBytes();
      const engine = await Engine.open({ scheme, pin, depth: 4 });
      assert.deepEqual([engine.scheme, engine.pin], [scheme, "per-io"]);
      const { degraded } = engine.stats();
      assert.deepEqual(
        degraded.map((sentence) => sentence.includes(`pin "${pin}"`) && sentence.includes("registers nothing")),
        pin === "per-io" ? [] : [true],
      );
      const buffer = (await engine.arena({ bytes: 2 << 20 })).alloc(BLOCK_BYTES);
      const file = await engine.openFile(path);
      for (let i = 0; i < 64; i++) {
        await file.read(buffer, { position: i * BLOCK_BYTES });
        assert.equal(wrongBlocks(buffer, i), null);
      }
      assert.equal(pinnedBytes(), before);
      const { submitted, perIo, leases } = engine.stats();
      assert.deepEqual([submitted, perIo, leases.taken], [64, 64, 0]);
      await engine.releasePins();
      await engine.close();
    }
  });

  test(`${scheme}: File opened for appending appends, in the order of the calls`, async () => {
    const path = await ground.file(Buffer.from("begin "));
    const engine = await ground.open();
    const file = await engine.openFile(path, "a+");
    const arena = await engine.arena({ bytes: 2 << 20 });
    const words = Array.from({ length: 40 }, (_, i) => Buffer.from(`word ${i} `));
    const own = arena.alloc(BLOCK_BYTES).fill(0x2e);
    await Promise.all([...words.map((word) => file.write(word)), file.write(own)]);
    await engine.close();
    const expected = `begin ${words.join("")}${".".repeat(BLOCK_BYTES)}`;
    assert.equal(Buffer.from(await ground.contentOf(path)).toString(), expected);
  });

  test(`${scheme}: a process ends by itself with an idle engine, and not before a request is answered`, async () => {
    const path = await ground.file(numberedBlocks(64));
    const { code, signal, stdout, stderr } = await runModule(
      `
      import { Engine } from PINLESS;
      const engine = await Engine.open({ scheme: ${JSON.stringify(scheme)} });
      const file = await engine.openFile(process.argv[1]);
      const arena = await engine.arena({ bytes: 2 << 20 });
      let left = 500;
      const done = (errno) => {
        if (errno !== 0) throw new Error("errno " + errno);
        if (--left > 0) file.submit("read", buffer, (left % 64) * 4096, done);
        else console.log("all");
      };
      const buffer = arena.alloc(4096);
      file.submit("read", buffer, 0, done);
      `,
      { args: [path] },
    );
    assert.deepEqual([code, signal, stdout], [0, null, "all\n"], stderr);
  });

  test(`${scheme}: process.exit under I/O ends the process with its code`, async () => {
    const path = await ground.file(numberedBlocks(64));
    for (let round = 0; round < 2; round++) {
      const { code, signal, stderr } = await runModule(
        `
        import { Engine } from PINLESS;
        const engine = await Engine.open({ scheme: ${JSON.stringify(scheme)} });
        const file = await engine.openFile(process.argv[1]);
        const arena = await engine.arena({ bytes: 2 << 20 });
        for (let i = 0; i < engine.depth; i++) {
          const buffer = arena.alloc(4096);
          const done = () => file.submit("read", buffer, i % 64 * 4096, done);
          done();
        }
        setTimeout(() => process.exit(4), 20);
        `,
        { args: [path] },
      );
      assert.deepEqual([code, signal], [4, null], stderr);
    }
  });

  test(`${scheme}: workers that are terminated under I/O don't affect the process`, async () => {
    const path = await ground.file(numberedBlocks(64));
    const { code, signal, stdout, stderr } = await runModule(
      `
      import { Worker } from "node:worker_threads";
      for (let round = 0; round < ${rounds(2, 5)}; round++) {
        const workerData = { url: PINLESS, path: process.argv[1], scheme: ${JSON.stringify(scheme)} };
        const worker = new Worker(${JSON.stringify(BUSY_WORKER)}, { eval: true, execArgv: [], workerData });
        await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
        await new Promise((resolve) => setTimeout(resolve, 2 * round));
        await worker.terminate();
      }
      console.log("lived");
      `,
      { args: [path] },
    );
    assert.deepEqual([code, signal, stdout], [0, null, "lived\n"], stderr);
  });
}
