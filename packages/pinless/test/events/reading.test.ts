// The monitor's word, which holds requests back while the monitor reads events: only those of engines that it follows.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { reading } from "../../dist/events/monitor-client.js";
import { Engine } from "../../dist/index.js";
import { beginReading, endReading } from "../../dist/protocol/monitor/deferred-changes.js";
import { numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

test("an engine without a monitor reads on while another engine's monitor reads events", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(8));
  const engine = await Engine.open({ depth: 8, events: { userfaultfd: false } });
  undoing(t, () => engine.close());
  const memory = (await engine.arena({ bytes: 1 << 20 })).alloc(8 * 4096);
  const file = await engine.openFile(name);
  undoing(t, () => void endReading(reading));
  beginReading(reading);
  const read = (): Promise<{ bytesRead: number }> => file.read(memory, { position: 0 });
  const reads = [await ended(read()), await ended(read()), await ended(read())];
  assert.deepEqual(reads, [32768, 32768, 32768]);
  assert.equal(wrongBlocks(memory, 0), null);
  assert.equal(endReading(reading), false, "no thread found the word taken");
});

/** Bytes read; or, where it's kept out, what says so. */
async function ended(read: Promise<{ bytesRead: number }>): Promise<number | string> {
  let bytes: number | string = "nothing yet";
  read.then(
    ({ bytesRead }) => {
      bytes = bytesRead;
    },
    (error: Error) => {
      bytes = error.message;
    },
  );
  await until("the read to end, or to be kept out", () => bytes !== "nothing yet" || Atomics.load(reading, 0) === 2);
  return bytes;
}
