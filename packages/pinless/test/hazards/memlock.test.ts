// RLIMIT_MEMLOCK is one limit for all of a user's processes: whatever it leaves, all I/O is right, and an engine says
// what runs in another way.
import assert from "node:assert/strict";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import type { EngineOptions } from "../../dist/index.js";
import { numberedBlocks } from "../support/blocks.js";
import { asOrdinaryUser, runModule } from "../support/children.js";
import { needsRoot } from "../support/disks.js";
import { scratchDirectory } from "../support/undo.js";
import { until } from "../support/until.js";

const KIB = 1024;
const MIB = 1024 * KIB;

interface Said {
  readonly scheme: string;
  readonly pin: string;
  readonly wrong: number;
  readonly answered: number;
  readonly failed: number;
  readonly taken: number;
  readonly degraded: readonly string[];
  readonly pinned: number;
}

/** Reads and writes an arena of 32 MiB, chunk by chunk, and keeps its leases until \`stop\` is there. */
const SOURCE = `
  import { existsSync, readFileSync, writeFileSync } from "node:fs";
  import { Engine, probe } from PINLESS;
  const [file, options, ready, stop] = process.argv.slice(1);
  const { lease, ...others } = JSON.parse(options);
  const engine = await Engine.open({ lease: { idle: 3_600_000, max: 3_600_000, ...lease }, ...others });
  const arena = await engine.arena({ bytes: 32 << 20 });
  const memory = arena.alloc(32 << 20);
  const source = await engine.openFile(file, "r+");
  const expected = readFileSync(file);
  let [wrong, answered] = [0, 0];
  const once = (chunk) => Promise.all(Array.from({ length: 8 }, async (_, i) => {
    const block = (chunk * 8 + i) % 64;
    const at = chunk * (2 << 20) + i * 65536;
    const buffer = memory.subarray(at, at + 4096).fill(0);
    await source.read(buffer, { position: block * 4096 });
    if (Buffer.compare(buffer, expected.subarray(block * 4096, (block + 1) * 4096)) !== 0) wrong++;
    await source.write(buffer, { position: block * 4096 });
    answered += 2;
  }));
  for (let round = 0; round < 3; round++) for (let chunk = 0; chunk < 16; chunk++) await once(chunk);
  const pinned = (await probe()).pinnedBytes;
  writeFileSync(ready, "");
  while (stop !== undefined && !existsSync(stop)) await once(Math.floor(answered / 16) % 16);
  if (!readFileSync(file).equals(expected)) wrong++;
  const { scheme, pin, failed, leases, degraded } = engine.stats();
  await engine.close();
  console.log(JSON.stringify({ scheme, pin, wrong, answered, failed, taken: leases.taken, degraded, pinned }));
`;

/** A directory and a file in it that every user may write. */
function writableByAll(t: TestContext): { directory: string; file: string } {
  const directory = scratchDirectory(t);
  chmodSync(directory, 0o777);
  const file = path.join(directory, "file");
  writeFileSync(file, numberedBlocks(64));
  chmodSync(file, 0o666);
  return { directory, file };
}

async function say(
  bed: { directory: string; file: string },
  memlockBytes: number,
  options: EngineOptions,
  name = "only",
  stop?: string,
): Promise<Said> {
  const ready = path.join(bed.directory, name);
  const args = [bed.file, JSON.stringify(options), ready, ...(stop === undefined ? [] : [stop])];
  const ended = await runModule(SOURCE, { wrapper: asOrdinaryUser(memlockBytes), args });
  assert.deepEqual([ended.code, ended.signal], [0, null], ended.stderr);
  return JSON.parse(ended.stdout);
}

function assertRight(said: Said): void {
  assert.deepEqual([said.wrong, said.failed], [0, 0]);
  assert.ok(said.answered >= 3 * 16 * 16);
}

for (const limit of [8 * MIB, 64 * KIB, 0]) {
  test(`An ordinary user with ${limit / KIB} KiB to lock: every request is right, none is refused`, {
    skip: needsRoot,
  }, async (t) => {
    const bed = writableByAll(t);
    const said = await say(bed, limit, {});
    assertRight(said);
    assert.ok(said.pinned <= limit, `${said.pinned} bytes were pinned`);
    // With the default there's room for leases, within which they keep by themselves.
    if (limit === 8 * MIB) assert.deepEqual([said.pin, said.taken > 0, said.degraded], ["lease", true, []]);
    else assert.match(said.degraded.join("\n"), /RLIMIT_MEMLOCK/);
  });
}

test("A lifetime registration is refused there with ENOMEM (control); the engine goes per-io, and says so", {
  skip: needsRoot,
}, async (t) => {
  const said = await say(writableByAll(t), 8 * MIB, { pin: "lifetime" });
  assertRight(said);
  assert.match(said.degraded.join("\n"), /lifetime registration was refused with ENOMEM/);
});

test("Two processes of one user at the same time: one without room for a lease says so, and all requests are right", {
  skip: needsRoot,
}, async (t) => {
  const bed = writableByAll(t);
  const stop = path.join(bed.directory, "stop");
  // Each would have three of 2 MiB.
  const options = { lease: { budget: 6 * MIB } };
  const first = say(bed, 8 * MIB, options, "first", stop);
  await until("the first to have its leases", () => existsSync(path.join(bed.directory, "first")));
  const second = await say(bed, 8 * MIB, options, "second").finally(() => writeFileSync(stop, ""));
  const both = [await first, second];
  for (const said of both) {
    assertRight(said);
    assert.ok(said.pinned <= 8 * MIB, `${said.pinned} bytes were pinned`);
  }
  assert.match(both.flatMap(({ degraded }) => degraded).join("\n"), /ENOMEM.*RLIMIT_MEMLOCK/);
});
