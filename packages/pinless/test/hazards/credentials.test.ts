// A process that gives up root after it opened an engine: it pins no more memory by root's ring, whose pins the kernel
// charges to no limit, and each request runs as the new user.
import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { numberedBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { needsRoot } from "../support/disks.js";
import { scratchDirectory } from "../support/undo.js";

const MIB = 1 << 20;
const KIB = 1 << 10;

/** Runs a child of root that may lock 64 KiB once it has changed its user. */
async function run(t: TestContext, source: string, args: readonly string[] = []): Promise<unknown> {
  const directory = scratchDirectory(t);
  chmodSync(directory, 0o755);
  const file = path.join(directory, "file");
  writeFileSync(file, numberedBlocks(64));
  // The kernel clears the set-user-ID bit when a user other than root writes the file.
  chmodSync(file, 0o4755);
  const wrapper = ["prlimit", `--memlock=${64 * KIB}:${64 * KIB}`];
  const ended = await runModule(source, { wrapper, args: [file, ...args] });
  assert.deepEqual([ended.code, ended.signal], [0, null], ended.stderr);
  return JSON.parse(ended.stdout);
}

test("A ring that root created pins beyond the limit of the user that the process changes to (control)", {
  skip: needsRoot,
}, async (t) => {
  const dist = new URL("../../dist/", import.meta.url).href;
  const said = await run(
    t,
    `
    import { readFileSync } from "node:fs";
    const [, dist] = process.argv.slice(1);
    const { Ring } = await import(dist + "linux/ring.js");
    const { RegisteredBuffers } = await import(dist + "schemes/io-uring/registered-buffers.js");
    const { fixedMemory } = await import(dist + "linux/fixed-memory.js");
    const { addressOf, loadLibc } = await import(dist + "linux/libc-bindings.js");
    await loadLibc();
    const memory = fixedMemory(${4 * MIB});
    new Uint8Array(memory).fill(1);
    const take = (ring) => RegisteredBuffers.open(ring, 4, 1).take(0, addressOf(memory), ${4 * MIB});
    const roots = Ring.open({ entries: 4 });
    process.setuid(65534);
    const theirs = Ring.open({ entries: 4 });
    console.log(JSON.stringify([take(roots), typeof theirs === "number" ? theirs : take(theirs)]));
  `,
    [dist],
  );
  assert.deepEqual(said, [0, -12]);
});

interface Said {
  readonly before: number;
  readonly after: number;
  readonly mode: readonly string[];
  readonly wrong: number;
  readonly failed: number;
  readonly degraded: readonly string[];
  readonly taken: readonly [number, number];
}

for (const how of ["process.setuid(65534)", "process.seteuid(65534)"]) {
  test(`${how} under I/O: leases are dropped for good, requests are the new user's, and degraded says so`, {
    skip: needsRoot,
  }, async (t) => {
    const said = (await run(
      t,
      `
      import { readFileSync, statSync } from "node:fs";
      import { Engine, probe } from PINLESS;
      const name = process.argv[1];
      const engine = await Engine.open({ depth: 32, lease: { budget: ${16 * MIB} } });
      const arena = await engine.arena({ bytes: ${16 * MIB} });
      const memory = arena.alloc(${16 * MIB});
      const file = await engine.openFile(name, "r+");
      const expected = readFileSync(name);
      let wrong = 0;
      const load = () => Promise.all(Array.from({ length: 8 }, async (_, chunk) => {
        const buffer = memory.subarray(chunk * ${2 * MIB}, chunk * ${2 * MIB} + 65536).fill(0);
        await file.read(buffer, { position: 65536 * (chunk % 4) });
        if (Buffer.compare(buffer, expected.subarray(65536 * (chunk % 4), 65536 * (chunk % 4 + 1))) !== 0) wrong++;
      }));
      const pinned = async () => (await probe()).pinnedBytes;
      const mode = [];
      const write = async () => {
        await file.write(memory.subarray(0, 4096).fill(0), { position: 65536 * 4 });
        mode.push((statSync(name).mode & 0o7777).toString(8));
      };
      await write();
      let before = 0;
      for (const begin = Date.now(); before === 0 && Date.now() - begin < 60_000; before = await pinned()) await load();
      const flying = load();
      process.setgroups([]);
      process.setegid(65534);
      ${how};
      await flying;
      // Used all the time, so that it isn't for being idle that they go.
      for (const begin = Date.now(); (await pinned()) > 0; await load()) if (Date.now() - begin > 60_000) break;
      const after = await pinned();
      const taken = [engine.stats().leases.taken];
      await write();
      for (let i = 0; i < 20; i++) await load();
      taken.push(engine.stats().leases.taken);
      const { failed, degraded } = engine.stats();
      await engine.close();
      console.log(JSON.stringify({ before, after, mode, wrong, failed, degraded, taken }));
    `,
    )) as Said;
    assert.ok(said.before > 0);
    assert.equal(said.after, 0);
    assert.deepEqual(said.mode, ["4755", "755"]);
    assert.deepEqual([said.wrong, said.failed, said.taken[1]], [0, 0, said.taken[0]]);
    assert.match(said.degraded.join("\n"), /changed its user.*per-io/);
  });
}
