/** A large read into ordinary memory goes in pieces, several at a time. */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { readPieces } from "../../dist/files/read-pieces.js";
import { Engine } from "../../dist/index.js";
import { forget } from "../support/page-cache.js";
import { Random } from "../support/random.js";
import { scratchDirectory } from "../support/undo.js";

/** Outcome of a piece: complete, a part in tenths, or an error. */
const outcome = fc.oneof(
  { weight: 8, arbitrary: fc.constant(10) },
  fc.integer({ min: 0, max: 9 }),
  fc.constant("fails" as const),
);

test("readPieces gives bytes without a gap in every order of ends and failures, and none in flight", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(outcome, { minLength: 1, maxLength: 12 }),
      fc.scheduler(),
      async (outcomes, scheduler) => {
        const size = 10;
        let underWay = 0;
        let most = 0;
        const read = async (done: number): Promise<number> => {
          most = Math.max(most, ++underWay);
          await scheduler.schedule(Promise.resolve());
          underWay--;
          const came = outcomes[done / size]!;
          if (came === "fails") throw new Error(`piece ${done / size}`);
          return came;
        };
        const reading = readPieces(outcomes.length * size, () => size, read).then(
          (bytes) => bytes,
          (error: Error) => error.message,
        );
        await scheduler.waitFor(reading);
        const ends = outcomes.findIndex((came) => came !== 10);
        const whole = ends < 0 ? outcomes.length : ends;
        const last = outcomes[whole];
        const expected = typeof last === "number" ? whole * size + last : whole * size;
        assert.equal(await reading, last === "fails" && whole === 0 ? "piece 0" : expected);
        assert.equal(underWay, 0, "something is under way");
        assert.ok(most <= 3 && most >= Math.min(3, outcomes.length), `${most} at a time`);
      },
    ),
    { numRuns: 300 },
  );
});

test("a read of 9 MiB into unaligned ordinary memory gives the file's bytes and touches no others", async (t) => {
  const file = path.join(scratchDirectory(t), "file");
  const content = Buffer.from(new Random(5).bytes((9 << 20) + 777));
  writeFileSync(file, content);
  forget(file);
  const engine = await Engine.open({ depth: 8 });
  try {
    const opened = await engine.openFile(file);
    for (const [offset, position] of [
      [0, 0],
      [3, 512],
      [1, 4097],
    ] as const) {
      const buffer = Buffer.alloc(10 << 20, 0xee);
      const { bytesRead } = await opened.read(buffer, offset, buffer.byteLength - offset, position);
      assert.equal(bytesRead, content.byteLength - position);
      assert.ok(buffer.subarray(offset, offset + bytesRead).equals(content.subarray(position)));
      assert.ok(buffer.subarray(0, offset).every((byte) => byte === 0xee));
      assert.ok(buffer.subarray(offset + bytesRead).every((byte) => byte === 0xee));
    }
    assert.ok((await opened.readFile()).equals(content));
  } finally {
    await engine.close();
  }
});
