// RLIMIT_MEMLOCK, as an ordinary user meets it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import type { EngineOptions } from "../../dist/index.js";
import { numberedBlocks } from "../support/blocks.js";
import { asOrdinaryUser, runModule } from "../support/children.js";
import { needsRoot } from "../support/disks.js";
import { scratchDirectory } from "../support/undo.js";

const KIB = 1024;
const MIB = 1024 * KIB;

interface Said {
  readonly error?: { readonly code: string; readonly message: string };
  readonly pin: string;
  readonly wrong: readonly string[];
  readonly degraded: readonly string[];
  readonly taken: number;
  readonly perIo: number;
  readonly submitted: number;
  readonly failed: number;
  readonly pinnedMax: number;
  readonly pinnedEnd: number;
}

/** Reads all of a file's blocks several times into 32 MiB of arena; every word is checked. */
const SOURCE = `
  import { Engine, probe } from PINLESS;
  const options = JSON.parse(process.argv[2]);
  let engine;
  try {
    engine = await Engine.open(options);
  } catch ({ code, message }) {
    console.log(JSON.stringify({ error: { code, message } }));
    process.exit(0);
  }
  const arena = await engine.arena({ bytes: 32 << 20 });
  const memory = arena.alloc(32 << 20);
  const file = await engine.openFile(process.argv[1]);
  const expected = new Uint32Array((await import("node:fs")).readFileSync(process.argv[1]).buffer);
  const wrong = [];
  let pinnedMax = 0;
  for (let round = 0; round < 6; round++) {
    await Promise.all(Array.from({ length: 16 }, async (_, chunk) => {
      for (let i = 0; i < 8; i++) {
        const block = (chunk * 8 + i) % 64;
        const at = chunk * (2 << 20) + i * 65536;
        const buffer = memory.subarray(at, at + 4096).fill(0);
        await file.read(buffer, { position: block * 4096 });
        const words = new Uint32Array(buffer.buffer, buffer.byteOffset, 1024);
        const at32 = block * 1024;
        for (let w = 0; w < 1024; w++) if (words[w] !== expected[at32 + w]) { wrong.push([round, chunk, i, w]); break; }
      }
    }));
    pinnedMax = Math.max(pinnedMax, (await probe()).pinnedBytes);
  }
  const { pin, degraded, leases, perIo, submitted, failed } = engine.stats();
  await engine.close();
  const pinnedEnd = (await probe()).pinnedBytes;
  const { taken } = leases;
  console.log(JSON.stringify({ pin, wrong, degraded, taken, perIo, submitted, failed, pinnedMax, pinnedEnd }));
`;

async function say(
  t: TestContext,
  memlockBytes: number,
  options: EngineOptions,
  wrapper = asOrdinaryUser(memlockBytes),
): Promise<Said> {
  const directory = scratchDirectory(t);
  chmodSync(directory, 0o755);
  const file = path.join(directory, "file");
  writeFileSync(file, numberedBlocks(64));
  const { code, signal, stdout, stderr } = await runModule(SOURCE, { wrapper, args: [file, JSON.stringify(options)] });
  assert.deepEqual([code, signal], [0, null], stderr);
  return JSON.parse(stdout);
}

function assertRight(said: Said): void {
  assert.equal(said.error, undefined);
  assert.deepEqual([said.wrong, said.failed], [[], 0]);
  assert.ok(said.submitted >= 6 * 128);
  assert.equal(said.pinnedEnd, 0);
}

test("Engine of an ordinary user with 8 MiB: leases stay within the limit by themselves", {
  skip: needsRoot,
}, async (t) => {
  const said = await say(t, 8 * MIB, {});
  assertRight(said);
  assert.equal(said.pin, "lease");
  assert.ok(said.taken > 0);
  assert.ok(said.pinnedMax <= 8 * MIB, `${said.pinnedMax} bytes were pinned`);
  assert.deepEqual(said.degraded, []);
});

test("Engine of root in a user namespace of its own stays within the user's limit", { skip: needsRoot }, async (t) => {
  const wrapper = [...asOrdinaryUser(8 * MIB), "unshare", "--user", "--map-root-user"];
  const [command = "", ...rest] = wrapper;
  if (spawnSync(command, [...rest, "true"]).status !== 0)
    return t.skip("machine: no user namespaces for ordinary users");
  const said = await say(t, 8 * MIB, {}, wrapper);
  assertRight(said);
  assert.ok(said.taken > 0);
  assert.deepEqual(said.degraded, []);
});

test("Engine whose budget is above the limit says that the kernel refused a lease, and goes per-io", {
  skip: needsRoot,
}, async (t) => {
  const said = await say(t, 8 * MIB, { lease: { budget: 64 * MIB } });
  assertRight(said);
  assert.ok(said.taken > 0 && said.perIo > 0);
  assert.ok(said.pinnedMax <= 8 * MIB, `${said.pinnedMax} bytes were pinned`);
  assert.match(said.degraded.join("\n"), /ENOMEM.*per-io.*RLIMIT_MEMLOCK/);
});

test("Engine with pin lifetime beyond the limit says so, and goes per-io", { skip: needsRoot }, async (t) => {
  const said = await say(t, 8 * MIB, { pin: "lifetime" });
  assertRight(said);
  assert.match(said.degraded.join("\n"), /ENOMEM.*per-io/);
  assert.equal(said.perIo, said.submitted);
});

for (const [limit, depth] of [
  [64 * KIB, 4],
  [64 * KIB, 128],
  [64 * KIB, 4096],
  [0, 1],
  [0, 128],
] as const) {
  const name = `Engine at depth ${depth} with ${limit / KIB} KiB to lock runs right, or says what to change`;
  test(name, { skip: needsRoot }, async (t) => {
    for (const pin of ["lease", "lifetime", "per-io"] as const) {
      const said = await say(t, limit, { depth, pin });
      if (said.error === undefined) {
        assertRight(said);
        assert.ok(said.pinnedMax <= limit, `${said.pinnedMax} bytes were pinned`);
        if (pin !== "per-io") assert.match(said.degraded.join("\n"), /RLIMIT_MEMLOCK|ENOMEM/);
      } else {
        assert.equal(said.error.code, "ERR_PINLESS_UNSUPPORTED");
        assert.match(said.error.message, /RLIMIT_MEMLOCK.*ulimit -l/);
      }
    }
  });
}
