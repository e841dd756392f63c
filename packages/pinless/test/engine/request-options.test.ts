// Options of single requests reach the kernel, on every scheme and filesystem; what isn't there is said.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Engine, type EngineOptions, type File } from "../../dist/index.js";
import { runModule } from "../support/children.js";
import { disk, ext4, needsRoot, overlay, tmpfs } from "../support/disks.js";
import { ioUringOff } from "../support/io-uring.js";
import { cachedBytes, forget } from "../support/page-cache.js";
import { Random } from "../support/random.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const MIB = 1 << 20;
const CONTENT = Buffer.from(new Random(11).bytes(MIB));
const SCHEMES = ["io_uring", "aio", "direct"] as const;
const WRITES = 8;
const notReached = (): void => assert.fail("it was submitted");

interface Bed {
  readonly mount: string;
  /** Its block device, if no other filesystem is between. */
  readonly device?: string;
  /** True if its page cache can leave out pages on Linux 6.14 and later. */
  readonly leavesOut: boolean;
}

const BEDS: Readonly<Record<string, (t: TestContext) => Bed>> = {
  ext4: (t) => ({ ...disk(t, "ext4", 64 * MIB, "memory"), leavesOut: true }),
  xfs: (t) => ({ ...disk(t, "xfs", 320 * MIB, "memory"), leavesOut: true }),
  btrfs: (t) => ({ ...disk(t, "btrfs", 128 * MIB, "memory"), leavesOut: false }),
  tmpfs: (t) => ({ mount: tmpfs(t, 16 * MIB), leavesOut: false }),
  overlay: (t) => ({ mount: overlay(t, ext4(t, 64 * MIB)), leavesOut: false }),
};

const [major = 0, minor = 0] = os.release().split(".").map(Number);
const hasUncached = major > 6 || (major === 6 && minor >= 14);

async function opened(t: TestContext, file: string, options?: EngineOptions): Promise<{ engine: Engine; file: File }> {
  writeFileSync(file, CONTENT);
  forget(file);
  const engine = await Engine.open(options);
  undoing(t, () => engine.close());
  return { engine, file: await engine.openFile(file, "r+") };
}

/** Flushes of a block device's cache so far. */
function flushes(device: string): number {
  const figures = readFileSync(`/sys/block/${path.basename(device)}/stat`, "utf8")
    .trim()
    .split(/\s+/);
  return Number(figures[15]);
}

async function flushesDuring(device: string, run: () => Promise<unknown>): Promise<number> {
  execFileSync("sync", []);
  const before = flushes(device);
  for (let i = 0; i < WRITES; i++) await run();
  return flushes(device) - before;
}

for (const scheme of SCHEMES) {
  const skip = needsRoot || (scheme === "io_uring" ? ioUringOff() : false);
  for (const [name, make] of Object.entries(BEDS)) {
    test(`${scheme} on ${name}: dsync, sync, uncached and priority take effect, or it is said`, { skip }, async (t) => {
      const bed = make(t);
      const { engine, file } = await opened(t, path.join(bed.mount, "file"), { scheme });
      const arena = await engine.arena({ bytes: 2 * MIB });
      const block = arena.alloc(8192).fill(7);
      const odd = Buffer.alloc(100, 8);
      // Any memory, any path: arena memory around the page cache, other memory through it, and at a shared position.
      const ways: ((options: object) => Promise<unknown>)[] = [
        (options) => file.write(block, { position: 8192, ...options }),
        (options) => file.write(odd, { position: 100, ...options }),
        (options) =>
          new Promise((resolve, reject) => {
            const done = (errno: number): void => (errno === 0 ? resolve(0) : reject(new Error(`errno ${errno}`)));
            file.submit("write", block, 8192, done, options);
          }),
        (options) => {
          assert.ok(file.fd > 0);
          return file.write(odd, options);
        },
      ];
      for (const [i, way] of ways.entries()) {
        for (const option of ["dsync", "sync"]) {
          if (bed.device === undefined) await way({ [option]: true });
          else {
            const least = await flushesDuring(bed.device, () => way({ [option]: true }));
            assert.ok(least >= WRITES, `${least} flushes for ${WRITES} writes with ${option}, way ${i}`);
            const plain = await flushesDuring(bed.device, () => way({}));
            assert.ok(plain < WRITES, `${plain} flushes for ${WRITES} ordinary writes, way ${i}`);
          }
        }
        await way({ uncached: true, priority: { class: "idle" } });
      }
      await file.datasync();
      forget(path.join(bed.mount, "file"));
      const read = Buffer.alloc(1000);
      await file.read(read, { position: 500_001, uncached: true });
      assert.ok(read.equals(CONTENT.subarray(500_001, 501_001)));
      const { refused } = file.features;
      if (refused.uncached === undefined) assert.equal(cachedBytes(path.join(bed.mount, "file")), 0);
      else assert.ok(engine.stats().degraded.includes(refused.uncached));
      assert.equal(refused.uncached === undefined, bed.leavesOut && hasUncached);
      assert.deepEqual([refused.dsync, refused.sync], [undefined, undefined]);
      assert.equal(refused.priority !== undefined, scheme === "direct");
      assert.ok(refused.priority === undefined || engine.stats().degraded.includes(refused.priority));
      const found = Buffer.alloc(8192);
      await file.read(found, { position: 8192 });
      assert.ok(found.every((byte) => byte === 7));
      await file.close();
    });
  }

  test(`${scheme}: atomic writes are whole, or refused before anything is submitted`, { skip }, async (t) => {
    const { mount } = disk(t, "xfs", 320 * MIB, "memory");
    const { engine, file } = await opened(t, path.join(mount, "file"), { scheme });
    const { atomic } = file.features;
    if (atomic === null) return t.skip("machine: no atomic writes on XFS (Linux 6.16)");
    const arena = await engine.arena({ bytes: 4 * MIB });
    const { unitMinBytes, unitMaxBytes, segmentsMax } = atomic;
    assert.ok(unitMinBytes > 0 && unitMaxBytes >= unitMinBytes && segmentsMax > 0);
    const memory = arena.alloc(2 * MIB).fill(9);
    // Often enough for a lease on the memory: from registered memory the kernel refuses an atomic write.
    for (let i = 0; i < 5; i++) {
      await file.read(memory.subarray(0, unitMinBytes), { position: 0 });
      await file.write(memory.subarray(0, unitMinBytes).fill(i), { position: unitMinBytes, atomic: true, dsync: true });
    }
    const found = Buffer.alloc(unitMinBytes);
    await file.read(found, { position: unitMinBytes });
    assert.ok(found.every((byte) => byte === 4));
    const before = engine.stats().submitted;
    const wrong: [view: Uint8Array, position: number][] = [
      [memory.subarray(0, 3 * unitMinBytes), 0],
      [memory.subarray(0, unitMinBytes / 2), 0],
      [memory.subarray(0, 2 * unitMaxBytes), 0],
      [memory.subarray(0, 2 * unitMinBytes), unitMinBytes],
      [memory.subarray(1, 1 + unitMinBytes), 0],
      [Buffer.alloc(unitMinBytes), 0],
    ];
    for (const [view, position] of wrong) {
      const refusal = { code: "ERR_PINLESS_OPTION" };
      await assert.rejects(file.write(view, { position, atomic: true }), refusal);
      assert.throws(() => file.submit("write", view, position, notReached, { atomic: true }), refusal);
    }
    assert.ok(file.fd > 0);
    await assert.rejects(file.write(memory.subarray(0, unitMinBytes), { atomic: true }), {
      code: "ERR_PINLESS_OPTION",
    });
    assert.equal(engine.stats().submitted, before);
    await file.close();
  });

  test(`${scheme}: where a file has no atomic writes, they are refused and nothing is written`, { skip }, async (t) => {
    const { engine, file } = await opened(t, path.join(tmpfs(t, 16 * MIB), "file"), { scheme });
    const memory = (await engine.arena({ bytes: 2 * MIB })).alloc(4096);
    const refusal = { code: "ERR_PINLESS_UNSUPPORTED", message: /atomic/ };
    await assert.rejects(file.write(memory, { position: 0, atomic: true }), refusal);
    assert.throws(() => file.submit("write", memory, 0, notReached, { atomic: true }), refusal);
    const { atomic, refused } = file.features;
    assert.equal(atomic, null);
    assert.match(refused.atomic!, /direct I\/O/);
    await assert.rejects(engine.openFile(path.join(tmpfs(t, MIB), "new"), "w", 0o600, { atomic: true }), refusal);
    assert.equal(engine.stats().submitted, 0);
    await file.close();
  });

  test(`${scheme}: options of a file are those of its requests that name none`, { skip }, async (t) => {
    const { device, mount } = disk(t, "ext4", 64 * MIB, "memory");
    const { engine, file: other } = await opened(t, path.join(mount, "file"), { scheme });
    await other.close();
    const file = await engine.openFile(path.join(mount, "file"), "r+", 0o600, { dsync: true, uncached: true });
    const block = (await engine.arena({ bytes: 2 * MIB })).alloc(4096).fill(1);
    const submitted = (options?: object): Promise<unknown> =>
      new Promise((resolve) => file.submit("write", block, 0, resolve, options));
    assert.ok((await flushesDuring(device, () => file.write(block, { position: 0 }))) >= WRITES);
    assert.ok((await flushesDuring(device, () => submitted())) >= WRITES);
    assert.ok((await flushesDuring(device, () => file.writeMany([{ position: 4096, buffer: block }]))) >= WRITES);
    assert.ok((await flushesDuring(device, () => file.write(block, { position: 0, dsync: false }))) < WRITES);
    assert.ok((await flushesDuring(device, () => submitted({ dsync: false }))) < WRITES);
    const bytes: Uint8Array[] = await file.readMany([{ position: 500_001, length: 7 }]).toArray();
    assert.ok(CONTENT.subarray(500_001, 500_008).equals(bytes[0]!));
    await file.close();
  });

  test(`${scheme}: options that aren't any are refused`, { skip: scheme === "io_uring" && ioUringOff() }, async (t) => {
    const name = path.join(scratchDirectory(t), "file");
    const { engine, file } = await opened(t, name, { scheme });
    const memory = (await engine.arena({ bytes: 2 * MIB })).alloc(4096);
    const refusal = { code: "ERR_PINLESS_OPTION" };
    const wrong: object[] = [
      { dsync: 1 },
      { sync: "yes" },
      { atomic: null },
      { uncached: "no" },
      { priority: "high" },
      { priority: null },
      { priority: { class: "batch" } },
      { priority: { class: "toString" } },
      { priority: { class: "best-effort", level: 8 } },
      { priority: { class: "realtime", level: 1.5 } },
      { priority: { class: "idle", level: 1 } },
      { priority: { class: "idle", nice: 1 } },
    ];
    for (const options of wrong) {
      await assert.rejects(file.write(memory, { position: 0, ...options }), refusal, JSON.stringify(options));
      assert.throws(() => file.submit("write", memory, 0, notReached, options), refusal);
      await assert.rejects(engine.openFile(name, "r", 0o600, options), refusal);
    }
    for (const options of [{ dsnyc: true }, { position: 0 }, null, "dsync"])
      assert.throws(() => file.submit("write", memory, 0, notReached, options as object), refusal);
    for (const name of ["dsync", "sync", "atomic"]) {
      assert.throws(() => file.submit("read", memory, 0, notReached, { [name]: true }), refusal);
      await assert.rejects(
        file.read(memory, 0, 4096, 0).then(() => file.read(memory, { [name]: true } as object)),
        refusal,
      );
    }
    assert.equal(engine.stats().failed, 0);
    await file.close();
  });
}

for (const scheme of ["io_uring", "aio"] as const) {
  const skip = needsRoot || (scheme === "io_uring" ? ioUringOff() : false);
  test(`${scheme}: the priority realtime without the right to it is EPERM, and the message says so`, {
    skip,
  }, async (t) => {
    const directory = scratchDirectory(t);
    const name = path.join(directory, "file");
    writeFileSync(name, CONTENT);
    execFileSync("chmod", ["-R", "a+rwx", directory]);
    const source = `
      const { Engine } = await import(PINLESS);
      const engine = await Engine.open({ scheme: process.argv[1] });
      const arena = await engine.arena({ bytes: 1 << 21 });
      const file = await engine.openFile(process.argv[2], "r+");
      const memory = arena.alloc(4096);
      const said = [];
      const note = ({ code, message }) => said.push(code + (message.includes("CAP_SYS_NICE") ? " explained" : ""));
      const priority = { class: "realtime", level: 0 };
      await file.write(memory, { position: 0, priority }).catch(note);
      await file.read(memory, { position: 0, priority }).catch(note);
      const submitted = (resolve) => file.submit("read", memory, 0, (errno) => resolve(said.push(errno)), { priority });
      await new Promise(submitted);
      await file.read(memory, { position: 0, priority: { class: "best-effort", level: 7 } });
      console.log(JSON.stringify([file.direct, ...said]));
      await file.close();
      await engine.close();`;
    // What it may lock is as much as an engine needs.
    const wrapper = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];
    const { stdout, stderr } = await runModule(source, { args: [scheme, name], wrapper });
    assert.equal(stderr, "");
    const [direct, ...said] = JSON.parse(stdout);
    if (direct !== true) return t.skip("machine: scratch files without direct I/O");
    assert.deepEqual(said, ["EPERM explained", "EPERM explained", -1]);
  });
}

test("where a file shares blocks, XFS takes direct reads finer than writes", { skip: needsRoot }, async (t) => {
  const { mount } = disk(t, "xfs", 320 * MIB, "memory");
  const [one, two] = [path.join(mount, "one"), path.join(mount, "two")];
  writeFileSync(one, CONTENT);
  execFileSync("cp", ["--reflink=always", one, two]);
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const file = await engine.openFile(two, "r+");
  const { memory, offset, readOffset } = file.alignment;
  if (readOffset === offset) return t.skip("machine: reads aren't finer than writes (Linux 6.14)");
  const view = (await engine.arena({ bytes: 2 * MIB })).alloc(MIB).subarray(memory, memory + readOffset);
  const ends: number[] = [];
  const submitted = (op: "read" | "write"): Promise<void> =>
    new Promise((resolve) => {
      const done = (errno: number, bytes: number): void => {
        ends.push(errno, bytes, engine.stats().buffered);
        resolve();
      };
      file.submit(op, view, 3 * readOffset, done);
    });
  await submitted("read");
  assert.ok(CONTENT.subarray(3 * readOffset, 4 * readOffset).equals(view));
  await file.read(view, { position: 3 * readOffset });
  await submitted("write");
  assert.deepEqual(ends, [0, readOffset, 0, 0, readOffset, 1]);
  await file.close();
});
