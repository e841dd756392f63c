/**
 * Harms of a pin at rest to memory that changes meanwhile. Pin mode lifetime, the control, shows them; no other does.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { type Ground, withEngine } from "./ground.js";

const MIB = 1 << 20;
const BLOCKS = 256;

export function hazards(ground: Ground): void {
  const named = (name: string): string => `${ground.name}: ${name}`;
  const { harmed } = ground;

  test(named(`NO_STALE_IO: what is read after a discard ${harmed ? "is lost (the control)" : "arrives"}`), async () => {
    const path = await ground.file(numberedBlocks(BLOCKS));
    await withEngine(ground, {}, async (engine) => {
      const file = await engine.openFile(path, "r");
      const arena = await engine.arena({ bytes: 4 * MIB });
      const buffer = arena.alloc(64 * BLOCK_BYTES);
      let lost = 0;
      for (let round = 0; round < 50; round++) {
        const first = (round * 7) % (BLOCKS - 64);
        // Every other round by several requests, so that the first leases what the others use.
        const parts = round % 2 === 0 ? 1 : 4;
        const bytes = buffer.byteLength / parts;
        for (let part = 0; part < parts; part++) {
          const piece = buffer.subarray(part * bytes, (part + 1) * bytes);
          const { bytesRead } = await file.read(piece, { position: first * BLOCK_BYTES + part * bytes });
          assert.equal(bytesRead, bytes);
        }
        if (wrongBlocks(buffer, first) !== null) lost++;
        await arena.discard(round % 3 === 0 ? buffer : undefined);
      }
      if (harmed) assert.ok(lost >= 45, `a read into the old pages was seen all the same: ${50 - lost} of 50`);
      else assert.equal(lost, 0, `${lost} of 50 reads after a discard were lost`);
      if (ground.pin === "lease") assert.ok(engine.stats().revalidated > 10, "hardly a lease was at stake");
    });
  });

  test(
    named(`NO_STALE_IO: what is written after a discard ${harmed ? "is the old (the control)" : "is the new"}`),
    async () => {
      const path = await ground.file(new Uint8Array(BLOCKS * BLOCK_BYTES));
      await withEngine(ground, {}, async (engine) => {
        const file = await engine.openFile(path, "r+");
        const arena = await engine.arena({ bytes: 4 * MIB });
        const buffer = arena.alloc(4 * BLOCK_BYTES);
        const content = numberedBlocks(BLOCKS);
        let stale = 0;
        for (let round = 0; round < 40; round++) {
          buffer.set(content.subarray(round * 4 * BLOCK_BYTES, (round + 1) * 4 * BLOCK_BYTES));
          await file.write(buffer, { position: round * 4 * BLOCK_BYTES });
          await arena.discard(buffer);
        }
        const written = await ground.contentOf(path);
        for (let round = 0; round < 40; round++) {
          const part = written.subarray(round * 4 * BLOCK_BYTES, (round + 1) * 4 * BLOCK_BYTES);
          if (wrongBlocks(Uint8Array.from(part), round * 4) !== null) stale++;
        }
        if (harmed) assert.ok(stale >= 35, `the device read the new pages all the same: ${40 - stale} of 40`);
        else assert.equal(stale, 0, `${stale} of 40 writes after a discard wrote old pages`);
      });
    },
  );
}
