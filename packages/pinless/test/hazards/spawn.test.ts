// A fork copies what the process has pinned, for every child that it starts: counted in the child, before it executes
// anything.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import koffi from "koffi";
import { type ArenaOptions, Engine, type EngineOptions } from "../../dist/index.js";
import { numberedBlocks } from "../support/blocks.js";
import { needsRoot } from "../support/disks.js";
import { pinnedBytes } from "../support/proc.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { buildLibrary, DECLARATIONS, needsCompiler } from "./native.js";

const MIB = 1 << 20;
/** Size of the memory: large enough that noise of a page table's size doesn't matter. */
const BYTES = 64 * MIB;
/** Bytes copied for a child of a Node process that has touched little memory since the fork. */
const NOISE_BYTES = 8 * MIB;

interface Given {
  /** Bytes that a child gets as copies of its own, and in common with us. */
  readonly copied: number;
  readonly shared: number;
  /** Bytes that this process had pinned at that moment. */
  readonly pinned: number;
}

/** Bytes copied for a child beyond those for one without these buffers. */
async function givenToChild(
  t: TestContext,
  options: EngineOptions,
  arenaOptions: Partial<ArenaOptions>,
): Promise<Given> {
  const forkReport = koffi.load(buildLibrary(t)).func(DECLARATIONS.forkReport);
  const report = Buffer.alloc(4096);
  const look = (): { copied: number; shared: number } => {
    const got = forkReport(report, report.byteLength);
    assert.ok(got > 0, `errno ${-got}`);
    const field = (name: string): number =>
      Number(new RegExp(`^${name}:\\s*(\\d+) kB`, "m").exec(report.toString("latin1", 0, got))![1]) * 1024;
    return { copied: field("Private_Dirty"), shared: field("Shared_Dirty") };
  };
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(64));
  const before = look();
  const engine = await Engine.open({ lease: { idle: 3_600_000, max: 3_600_000 }, ...options });
  undoing(t, () => engine.close());
  const arena = await engine.arena({ bytes: BYTES, hugePages: false, ...arenaOptions });
  const memory = arena.alloc(BYTES).fill(1);
  const file = await engine.openFile(name);
  // Every chunk, and again: a lease is taken with the second use.
  for (let round = 0; round < 3; round++)
    for (let at = 0; at < BYTES; at += 2 * MIB) await file.read(memory.subarray(at, at + 4096), { position: 0 });
  const pinned = pinnedBytes();
  const after = look();
  await engine.close();
  return { copied: after.copied - before.copied, shared: after.shared - before.shared, pinned };
}

test("Inherited memory with a lifetime registration is copied for every child (control)", {
  skip: needsCompiler || needsRoot,
}, async (t) => {
  const { copied, pinned } = await givenToChild(t, { pin: "lifetime" }, { inherit: true });
  assert.ok(pinned >= BYTES && copied > BYTES - NOISE_BYTES, `${copied} bytes copied of ${pinned} pinned`);
});

test("The same memory without a pin isn't copied (control)", { skip: needsCompiler }, async (t) => {
  const { copied, shared, pinned } = await givenToChild(t, { pin: "per-io" }, { inherit: true });
  assert.equal(pinned, 0);
  assert.ok(copied < NOISE_BYTES && shared > BYTES - NOISE_BYTES, `${copied} bytes copied, ${shared} shared`);
});

test("An arena with a lifetime registration isn't copied, because a child doesn't inherit it (MADV_DONTFORK)", {
  skip: needsCompiler || needsRoot,
}, async (t) => {
  const { copied, shared, pinned } = await givenToChild(t, { pin: "lifetime" }, {});
  assert.ok(pinned >= BYTES);
  assert.ok(copied < NOISE_BYTES && shared < NOISE_BYTES, `${copied} bytes copied, ${shared} shared`);
});

for (const inherit of [false, true]) {
  test(`With leases hardly anything is copied for a child, ${inherit ? "inherited" : "as arenas are"}`, {
    skip: needsCompiler,
  }, async (t) => {
    const given = await givenToChild(t, { lease: { idle: 3_600_000, max: 3_600_000, budget: 4 * MIB } }, { inherit });
    assert.ok(given.pinned > 0 && given.pinned <= 4 * MIB, `${given.pinned} bytes pinned`);
    assert.ok(given.copied < 4 * MIB + NOISE_BYTES, `${given.copied} bytes copied`);
    if (!inherit) assert.ok(given.shared < NOISE_BYTES, `${given.shared} shared`);
  });
}
