// Every scheme on disks that fail, vanish, take no writes or no direct I/O.
import assert from "node:assert/strict";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Engine, type File, type SchemeName } from "../../dist/index.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { ext4, ext4Image, loopDevice, needsRoot, ramfs, unmountLazily } from "../support/disks.js";
import { ioUringOff } from "../support/io-uring.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

const MIB = 1 << 20;
const BLOCKS = 2048;
const NAMES = new Set([0, -5, -6, -30]); // EIO, ENXIO, EROFS

/**
 * Requests of every kind, one after the other in many places at a time, each counted when it begins and when it ends.
 */
class Load {
  readonly errnos = new Map<number, number>();
  begun = 0;
  ended = 0;
  twice = 0;
  #running = true;
  readonly #idle: Promise<unknown>;

  constructor(engine: Engine, file: File, memory: Uint8Array) {
    const buffers = Array.from({ length: 32 }, (_, i) => memory.subarray(i * 16384, (i + 1) * 16384));
    this.#idle = Promise.all(buffers.map((buffer, i) => this.#requests(engine, file, buffer, i)));
  }

  /** Stops when all that has begun has ended. */
  stop(): Promise<unknown> {
    this.#running = false;
    return this.#idle;
  }

  count(errno: number): number {
    return this.errnos.get(errno) ?? 0;
  }

  async #requests(engine: Engine, file: File, buffer: Uint8Array, id: number): Promise<void> {
    for (let i = id; this.#running; i++) {
      const op = i % 4 === 3 ? "write" : "read";
      const position = ((i * 37) % (BLOCKS / 4)) * 4 * BLOCK_BYTES;
      this.begun++;
      const errno =
        id % 2 === 0
          ? await this.#submit(engine, file, op, buffer, position)
          : await this.#call(file, op, buffer, position);
      this.ended++;
      this.errnos.set(errno, this.count(errno) + 1);
      // A disk that fails at once mustn't keep others from their turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #submit(
    engine: Engine,
    file: File,
    op: "read" | "write",
    buffer: Uint8Array,
    position: number,
  ): Promise<number> {
    for (;;) {
      let calls = 0;
      let answer = "";
      const errno = await new Promise<number | null>((resolve) => {
        answer = file.submit(op, buffer, position, (errno) => {
          if (++calls > 1) this.twice++;
          resolve(errno);
        });
        if (answer === "busy") resolve(null);
      });
      if (errno !== null) return errno;
      await engine.drained();
    }
  }

  async #call(file: File, op: "read" | "write", buffer: Uint8Array, position: number): Promise<number> {
    try {
      // Memory of the heap is copied.
      const memory = position % (64 * BLOCK_BYTES) === 0 ? new Uint8Array(buffer.length) : buffer;
      await (op === "read" ? file.read(memory, { position }) : file.write(memory, { position }));
      return 0;
    } catch (error) {
      const { errno, syscall } = error as NodeJS.ErrnoException;
      assert.equal(syscall, op);
      return errno!;
    }
  }
}

async function open32(t: TestContext, scheme: SchemeName): Promise<Engine> {
  const engine = await Engine.open({ scheme, depth: 32 });
  undoing(t, () => engine.close());
  return engine;
}

/** Truncates the disk's file until requests have failed with EIO, and waits for all of them. */
async function cutOff(load: Load, backing: string): Promise<void> {
  // Each write to the disk makes its file longer again.
  const cut = setInterval(() => truncateSync(backing, 0), 1);
  try {
    await until("requests that fail", () => load.count(-5) > 50);
  } finally {
    clearInterval(cut);
  }
  await settled(load);
}

async function settled(load: Load): Promise<void> {
  await load.stop();
  assert.deepEqual([load.ended, load.twice], [load.begun, 0]);
  for (const errno of load.errnos.keys()) assert.ok(NAMES.has(errno), `a request ended with errno ${-errno}`);
}

/** Closes with requests in flight, which must all be answered by then. */
async function closed(engine: Engine, file: File, memory: Uint8Array): Promise<void> {
  let answers = 0;
  let taken = 0;
  for (let i = 0; i < 32; i++) {
    const answer = file.submit("read", memory.subarray(i * 16384, (i + 1) * 16384), i * 16384, () => answers++);
    if (answer === "queued") taken++;
  }
  await engine.close();
  assert.ok(taken > 0);
  assert.equal(answers, taken);
}

for (const scheme of ["io_uring", "aio", "direct"] as const) {
  const off = scheme === "io_uring" ? ioUringOff() : false;
  const skip = needsRoot || off;

  test(`${scheme}: a disk that is cut off in the middle of I/O: every request ends once, and so does close()`, {
    skip,
  }, async (t) => {
    const { device, file: backing } = loopDevice(t, BLOCKS * BLOCK_BYTES);
    const engine = await open32(t, scheme);
    const file = await engine.openFile(device, "r+");
    assert.equal(file.direct, true);
    const memory = (await engine.arena({ bytes: MIB })).alloc(MIB);
    const load = new Load(engine, file, memory);
    await until("some requests", () => load.ended > 200);
    assert.deepEqual([...load.errnos.keys()], [0]);
    await cutOff(load, backing);
    await closed(engine, file, memory);
  });

  test(`${scheme}: a filesystem whose disk is cut off in the middle of I/O`, { skip }, async (t) => {
    const { file: backing, mount } = ext4Image(t, 32 * MIB, "errors=continue");
    writeFileSync(path.join(mount, "file"), numberedBlocks(BLOCKS));
    const engine = await open32(t, scheme);
    const file = await engine.openFile(path.join(mount, "file"), "r+");
    const memory = (await engine.arena({ bytes: MIB })).alloc(MIB);
    const load = new Load(engine, file, memory);
    await until("some requests", () => load.ended > 200);
    await cutOff(load, backing);
    await closed(engine, file, memory);
  });

  test(`${scheme}: open files go on after a loop device is detached and a filesystem unmounted under I/O`, {
    skip,
  }, async (t) => {
    const { device, detach } = loopDevice(t, BLOCKS * BLOCK_BYTES);
    const mount = ext4(t, 32 * MIB);
    const name = path.join(mount, "file");
    writeFileSync(name, numberedBlocks(BLOCKS));
    const engine = await open32(t, scheme);
    const arena = await engine.arena({ bytes: 3 * MIB });
    const loads: Load[] = [];
    for (const [each, takeAway] of [
      [device, detach],
      [name, () => unmountLazily(mount)],
    ] as const) {
      const load = new Load(engine, await engine.openFile(each, "r+"), arena.alloc(MIB));
      loads.push(load);
      await until("some requests", () => load.ended > 200);
      takeAway();
      const before = load.ended;
      await until("some requests more", () => load.ended > before + 200);
    }
    for (const load of loads) await settled(load);
    for (const load of loads) assert.deepEqual([...load.errnos.keys()], [0]);
  });

  test(`${scheme}: a read-only filesystem refuses what it refuses node:fs, in the same words`, { skip }, async (t) => {
    const content = scratchDirectory(t);
    writeFileSync(path.join(content, "file"), numberedBlocks(64));
    const { mount } = ext4Image(t, 32 * MIB, "ro", content);
    const name = path.join(mount, "file");
    const engine = await open32(t, scheme);
    const shape = ({ code, errno, syscall, path, message }: NodeJS.ErrnoException): unknown => ({
      code,
      errno,
      syscall,
      path,
      message,
    });
    const refusal = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => "done", shape);
    for (const flags of ["r+", "w", "a", "wx"]) {
      const theirs = await refusal(open(name, flags));
      assert.match(JSON.stringify(theirs), flags === "wx" ? /EEXIST/ : /EROFS/);
      assert.deepEqual(await refusal(engine.openFile(name, flags)), theirs, flags);
    }
    const [file, node] = [await engine.openFile(name), await open(name)];
    try {
      const buffer = (await engine.arena({ bytes: MIB })).alloc(4 * BLOCK_BYTES);
      const theirs = await refusal(node.write(new Uint8Array(512), 0, 512, 0));
      for (const memory of [buffer, new Uint8Array(512)])
        assert.deepEqual(await refusal(file.write(memory, { position: 0 })), theirs);
      assert.equal(file.direct, true);
      await file.read(buffer, { position: 8 * BLOCK_BYTES });
      assert.equal(wrongBlocks(buffer, 8), null);
    } finally {
      await node.close();
      await engine.close();
    }
  });

  for (const [what, make] of [
    ["ramfs", ramfs],
    ["ext4 with its data in the journal", (t: TestContext) => ext4(t, 32 * MIB, "data=journal")],
  ] as const) {
    test(`${scheme}: ${what} has no direct I/O: it goes through the page cache, is right, and is counted`, {
      skip,
    }, async (t) => {
      const name = path.join(make(t), "file");
      writeFileSync(name, numberedBlocks(64));
      const engine = await open32(t, scheme);
      const file = await engine.openFile(name, "r+");
      assert.equal(file.direct, false);
      const arena = await engine.arena({ bytes: MIB });
      const buffer = arena.alloc(4 * BLOCK_BYTES);
      for (let i = 0; i < 16; i++) {
        await file.read(buffer, { position: 4 * i * BLOCK_BYTES });
        assert.equal(wrongBlocks(buffer, 4 * i), null);
      }
      await file.write(buffer.fill(0x5a), { position: 3 });
      const answered = await new Promise((resolve) =>
        file.submit("read", buffer, 0, (errno, bytes) => resolve([errno, bytes])),
      );
      assert.deepEqual(answered, [0, buffer.length]);
      const { buffered, bounced } = engine.stats();
      assert.deepEqual([buffered, bounced], [18, 0]);
      await engine.close();
      assert.ok(
        readFileSync(name)
          .subarray(3, 3 + buffer.length)
          .every((byte) => byte === 0x5a),
      );
    });
  }
}
