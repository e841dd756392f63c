// Large files as a whole: from the page cache where that has them, and into huge pages.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Engine, type File } from "../../dist/index.js";
import { cachestat } from "../../dist/linux/libc.js";
import { addressOf } from "../../dist/linux/libc-bindings.js";
import { cachedBytes, forget } from "../support/page-cache.js";
import { Random } from "../support/random.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const MIB = 1 << 20;
const BYTES = 8 * MIB + 1234;
const CONTENT = Buffer.from(new Random(31).bytes(BYTES));

interface Started {
  readonly engine: Engine;
  readonly name: string;
  readonly file: File;
  /** Numbers of requests that went through the page cache, and that were copied. */
  readonly counts: () => readonly number[];
}

async function start(t: TestContext): Promise<Started | null> {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, CONTENT);
  const engine = await Engine.open({ depth: 8 });
  undoing(t, () => engine.close());
  const file = await engine.openFile(name);
  const counts = (): readonly number[] => {
    const { buffered, bounced } = engine.stats();
    return [buffered, bounced];
  };
  if (!file.direct) t.skip("machine: scratch files without direct I/O");
  else if (cachestat(file.fd, 0, 1) < 0) t.skip("machine: this kernel has no cachestat, or doesn't allow it here");
  else return { engine, name, file, counts };
  return null;
}

/** The file's own position isn't shared: another opening. */
async function readWhole({ engine, name }: Started): Promise<Buffer> {
  const file = await engine.openFile(name);
  const whole = await file.readFile();
  await file.close();
  return whole;
}

test("a large read into ordinary memory comes from the page cache if that has all of it, and is counted", async (t) => {
  const started = await start(t);
  if (started === null) return;
  const { name, file, counts } = started;
  assert.ok(CONTENT.equals(await readWhole(started)));
  assert.deepEqual(counts(), [1, 0]);
  const part = Buffer.alloc(MIB);
  assert.equal((await file.read(part, { position: 4096 })).bytesRead, MIB);
  assert.deepEqual(counts(), [2, 0]);

  forget(name);
  assert.ok(CONTENT.equals(await readWhole(started)));
  assert.deepEqual(counts(), [2, 1]);
  assert.equal(cachedBytes(name), 0, "it was read around the page cache");

  // A part of it is not enough: the rest would flood the page cache. The short read is counted too.
  await file.read(Buffer.alloc(100), { position: 0 });
  assert.ok(CONTENT.equals(await readWhole(started)));
  assert.deepEqual(counts(), [3, 3]);
});

test("reads from the page cache aren't reported in degraded", async (t) => {
  const started = await start(t);
  if (started === null) return;
  const { engine, file } = started;
  const part = Buffer.alloc(MIB);
  for (let i = 0; i < 100; i++) await file.read(part, { position: 0 });
  assert.equal(engine.stats().buffered, 100);
  const said = engine.stats().degraded.filter((why) => why.includes("page cache"));
  assert.deepEqual(said, []);
});

test("readFile asks for huge pages for its result", async (t) => {
  const started = await start(t);
  if (started === null) return;
  const whole = await readWhole(started);
  const middle = addressOf(whole.buffer) + BYTES / 2;
  assert.ok(flagsAt(middle).includes("hg"), flagsAt(middle).join(" "));
});

/** The VmFlags of the mapping that an address is in. */
function flagsAt(address: number): string[] {
  let inside = false;
  for (const line of readFileSync("/proc/self/smaps", "utf8").split("\n")) {
    const bounds = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (bounds !== null)
      inside = address >= Number.parseInt(bounds[1]!, 16) && address < Number.parseInt(bounds[2]!, 16);
    else if (inside && line.startsWith("VmFlags:")) return line.split(/\s+/).slice(1);
  }
  return [];
}
