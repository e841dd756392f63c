/** `pinless/fs` beside node:fs: the same calls have the same results, errors and events. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import nodeFs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { writeStreamOf } from "../../dist/files/streams.js";
import pinlessFs, * as named from "../../dist/fs.js";
import { open } from "../../dist/index.js";
import { fuse, needsFuse } from "../support/fuse.js";
import { cachedBytes } from "../support/page-cache.js";
import { scratchDirectory } from "../support/undo.js";
import { until } from "../support/until.js";

const TEXT = "0123456789".repeat(30_000);

// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tried
type Fs = any;
type Scenario = (fs: Fs, file: string) => unknown;

/** Calls a function that takes a callback, and gives what it's called with; a throw is another outcome. */
function called(call: (...args: Fs[]) => unknown, ...args: unknown[]): Promise<unknown> {
  return new Promise((resolve) => {
    try {
      call(...args, (...results: unknown[]) => resolve({ called: results.map(shown) }));
    } catch (error) {
      resolve({ thrown: shown(error) });
    }
  });
}

function shown(value: unknown): unknown {
  if (value instanceof Error) {
    const { name, code, syscall, errno } = value as NodeJS.ErrnoException;
    return { name, code, syscall, errno };
  }
  if (ArrayBuffer.isView(value)) return brief(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
  return typeof value === "string" ? brief(Buffer.from(value)) : value;
}

/** Short contents as they are, and of others a checksum. */
function brief(bytes: Buffer): string {
  if (bytes.length <= 100) return bytes.toString("latin1");
  return `${bytes.length} bytes, ${createHash("sha1").update(bytes).digest("hex")}`;
}

async function outcome(run: () => unknown): Promise<unknown> {
  try {
    return { result: shown(await run()) };
  } catch (error) {
    return { rejected: shown(error) };
  }
}

function contentOf(file: string): unknown {
  return nodeFs.existsSync(file) ? shown(nodeFs.readFileSync(file)) : "none";
}

async function alike(t: TestContext, scenario: Scenario): Promise<void> {
  const outcomes: unknown[] = [];
  const directory = scratchDirectory(t);
  const file = path.join(directory, "file");
  for (const fs of [nodeFs, pinlessFs]) {
    nodeFs.writeFileSync(file, TEXT);
    const result = await outcome(() => scenario(fs, file));
    outcomes.push({ result, content: contentOf(file) });
    nodeFs.rmSync(file, { recursive: true, force: true });
  }
  assert.deepEqual(outcomes[1], outcomes[0]);
}

/** Opens a file for a scenario, and closes it. */
const on =
  (flags: string, run: (fs: Fs, fd: number) => unknown): Scenario =>
  async (fs, file) => {
    const fd = await promisify(fs.open)(file, flags);
    try {
      return await run(fs, fd as number);
    } finally {
      await promisify(fs.close)(fd);
    }
  };

/** Runs calls one after the other. */
async function each(calls: readonly (() => Promise<unknown>)[]): Promise<unknown[]> {
  const results: unknown[] = [];
  for (const call of calls) results.push(await call());
  return results;
}

/** A descriptor above all that are open. */
const NEVER_OPEN = 1 << 20;
const wrong = { what: "nothing that a call takes" };

const SCENARIOS: Record<string, Scenario> = {
  "open refuses": (fs, file) =>
    each([
      () => called(fs.open, `${file}-none`, "r"),
      () => called(fs.open, file, "wrong"),
      () => called(fs.open, 5),
      () => called(fs.open, path.dirname(file), "w"),
      () => outcome(() => fs.open(file)),
      () => outcome(() => fs.openSync(`${file}-none`)),
    ]),
  "read in all its forms": on("r", (fs, fd) =>
    each([
      () => called(fs.read, fd, Buffer.alloc(10), 0, 5, 7),
      () => called(fs.read, fd, Buffer.alloc(10), 2, 5, null),
      () => called(fs.read, fd, Buffer.alloc(10)),
      () => called(fs.read, fd, Buffer.alloc(10), { position: 3 }),
      () => called(fs.read, fd, { buffer: Buffer.alloc(6), length: 4 }),
      () => called(fs.read, fd),
      () => called(fs.read, fd, new Uint16Array(4), 0, 8, 0n),
      () => called(fs.read, fd, Buffer.alloc(100_000), 0, 100_000, 4096),
      () => called(fs.read, fd, Buffer.alloc(10), 0, 10, TEXT.length - 5),
      () => called(fs.read, fd, Buffer.alloc(10), 0, 10, TEXT.length),
      () => promisify(fs.read)(fd, Buffer.alloc(10), 0, 5, 1).then(({ bytesRead }: Fs) => bytesRead),
    ]),
  ),
  "reads at the own position, through Node's functions too": on("r", async (fs, fd) => {
    const buffer = Buffer.alloc(4);
    const first = fs.readSync(fd, buffer);
    await called(fs.read, fd, Buffer.alloc(3), 0, 3, null);
    return [first, fs.readSync(fd, buffer), buffer.toString()];
  }),
  "read and write refuse": on("r", (fs, fd) =>
    each([
      () => called(fs.read, fd, Buffer.alloc(10), 11, 1, 0),
      () => called(fs.read, fd, Buffer.alloc(10), 0, 11, 0),
      () => called(fs.read, fd, wrong, 0, 11, 0),
      () => called(fs.read, fd, Buffer.alloc(0), 0, 5, 0),
      () => called(fs.write, fd, Buffer.alloc(10), 0, 10, 0),
      () => called(fs.write, fd, wrong),
      () => called(fs.writev, fd, [Buffer.alloc(10)], 0),
      () => called(fs.writev, fd, wrong),
      () => called(fs.readv, fd, "no"),
      () => called(fs.read, 99_999, Buffer.alloc(10), 0, 10, 0),
      () => called(fs.read, wrong, Buffer.alloc(10), 0, 10, 0),
      () => outcome(() => fs.read(fd, Buffer.alloc(10), 0, 10, 0)),
    ]),
  ),
  "write in all its forms": on("r+", (fs, fd) =>
    each([
      () => called(fs.write, fd, Buffer.from("abcdef"), 1, 3, 10),
      () => called(fs.write, fd, "text"),
      () => called(fs.write, fd, "text", 100),
      () => called(fs.write, fd, "6869", 200, "hex"),
      () => called(fs.write, fd, Buffer.from("xyz"), { position: 300 }),
      () => called(fs.write, fd, Buffer.alloc(8192, "b"), 0, 8192, 4096),
      () => called(fs.writev, fd, [Buffer.from("one"), Buffer.from("two")], 400),
      () =>
        called(fs.readv, fd, [Buffer.alloc(3), Buffer.alloc(5)], 400).then((result: Fs) => result.called.slice(0, 2)),
      () => called(fs.fsync, fd),
      () => called(fs.fdatasync, fd),
      () => called(fs.ftruncate, fd, 20_000),
      () => promisify(fs.fstat)(fd).then(({ size }: Fs) => size),
      () => promisify(fs.writev)(fd, [Buffer.from("1")], 0).then(({ bytesWritten }: Fs) => bytesWritten),
    ]),
  ),
  appends: on("a", (fs, fd) =>
    each([() => called(fs.write, fd, "one", 5), () => called(fs.write, fd, Buffer.from("two"), 0, 3, 0)]),
  ),
  "close refuses": async (fs, file) => {
    const fd = fs.openSync(file, "r");
    await called(fs.read, fd, Buffer.alloc(4096), 0, 4096, 0);
    return each([
      () => outcome(() => fs.close(fd, "callback")),
      () => called(fs.close, fd),
      // Not the number that was closed, by which a thread of the engine may have opened another file.
      () => called(fs.read, NEVER_OPEN, Buffer.alloc(10), 0, 10, 0),
      () => called(fs.close, wrong),
    ]);
  },
  "whole files": (fs, file) =>
    each([
      () => called(fs.readFile, file),
      () => called(fs.readFile, file, "latin1"),
      () => called(fs.readFile, `${file}-none`, "utf8"),
      () => called(fs.readFile, file, "klingon"),
      () => called(fs.readFile, wrong),
      () => called(fs.readFile, path.dirname(file)),
      () => called(fs.readFile, 99_999),
      () => called(fs.writeFile, file, "new", { flush: true }),
      () => called(fs.writeFile, file, 5),
      () => called(fs.writeFile, file, "wx", { flag: "wx" }),
      () => called(fs.appendFile, file, Buffer.from("more")),
      () => fs.promises.readFile(file, { encoding: "utf8" }),
      () => fs.promises.writeFile(file, ["a", "b"], { mode: 0o600 }),
      () => fs.promises.appendFile(file, "c"),
      () => outcome(() => fs.promises.readFile(`${file}-none`)),
      () => outcome(() => fs.promises.readFile(5)),
      () => outcome(() => fs.promises.readFile(file, { signal: AbortSignal.abort() })),
    ]),
  "whole files by a descriptor or a handle": on("r+", (fs, fd) =>
    each([
      () => called(fs.readFile, fd, "utf8"),
      () => called(fs.appendFile, fd, "end"),
      async () => {
        const handle = await fs.promises.open(`/proc/self/fd/${fd}`);
        const content = await fs.promises.readFile(handle, "utf8");
        await handle.close();
        return content;
      },
    ]),
  ),
  "read streams": (fs, file) =>
    each([
      () => events(fs.createReadStream(file)),
      () => events(fs.createReadStream(file, { start: 5, end: 200_000, encoding: "utf8", highWaterMark: 1000 })),
      () => events(fs.createReadStream(file, "hex")),
      () => events(fs.createReadStream(`${file}-none`)),
      () => events(fs.createReadStream(path.dirname(file))),
      () => events(fs.createReadStream("/proc/version")),
      () => outcome(() => fs.createReadStream(file, { start: "0" })),
      () => outcome(() => fs.createReadStream(wrong)),
      async () => {
        const fd = fs.openSync(file, "r");
        return [await events(fs.createReadStream("", { fd })), await outcome(() => nodeFs.fstatSync(fd))];
      },
      () => events(fs.createReadStream("", { fd: fs.openSync(file, "r"), start: 10, end: 20 })),
      () => events(fs.createReadStream("", { fd: 99_999 })),
      () => events(fs.createReadStream(file).destroy(new Error("enough"))),
    ]),
  "write streams": (fs, file) => {
    const written = async (stream: Fs): Promise<unknown> => {
      const answers: unknown[] = [];
      for (const part of ["one", "two"])
        stream.write(part.repeat(50_000), (error: unknown) => answers.push([shown(error), contentOf(file)]));
      stream.end("three");
      return [await events(stream), answers, contentOf(file)];
    };
    return each([
      () => written(fs.createWriteStream(file)),
      () => written(fs.createWriteStream(file, { flags: "r+", start: 10_000, flush: true })),
      () => written(fs.createWriteStream(file, { flags: "a" })),
      () => written(fs.createWriteStream(file, { flags: "wx" })),
      () => written(fs.createWriteStream("", { fd: fs.openSync(file, "r+"), start: 7 })),
      () => written(fs.createWriteStream("/dev/full")),
      () => outcome(() => fs.createWriteStream(file, { start: -1 })),
    ]);
  },
};

/** Waits for a stream to close; gives the names of its events in order, its error, and the bytes. */
async function events(stream: Fs): Promise<unknown> {
  const seen: unknown[] = [];
  let data = "";
  stream.on("data", (chunk: unknown) => {
    data += chunk;
  });
  for (const name of ["open", "ready", "end", "finish"]) stream.on(name, () => seen.push(name));
  stream.on("error", (error: unknown) => seen.push(shown(error)));
  await new Promise((resolve) => stream.on("close", resolve));
  const { bytesRead, bytesWritten, pending, closed } = stream;
  return { seen, data: shown(data), bytesRead, bytesWritten, pending, closed };
}

for (const [name, scenario] of Object.entries(SCENARIOS)) test(`as by node:fs: ${name}`, (t) => alike(t, scenario));

test("everything else is Node's own", () => {
  const names = (fs: object): string[] => Object.keys(fs).sort();
  assert.deepEqual(names(pinlessFs), names(nodeFs));
  assert.deepEqual(names(named), [...names(nodeFs), "default"].sort());
  assert.equal(pinlessFs.statSync, nodeFs.statSync);
  assert.equal(named.mkdir, nodeFs.mkdir);
  assert.notEqual(named.read, nodeFs.read);
  assert.equal(pinlessFs.promises.stat, nodeFs.promises.stat);
  assert.equal(pinlessFs.promises.open, open);
});

test("transfers go around the page cache", async (t) => {
  const [file, copy] = ["file", "copy"].map((name) => path.join(scratchDirectory(t), name)) as [string, string];
  const fd = pinlessFs.openSync(file, "w+");
  await promisify(pinlessFs.write)(fd, Buffer.alloc(1 << 20, 1), 0, 1 << 20, 0);
  await promisify(pinlessFs.read)(fd, Buffer.alloc(1 << 20), 0, 1 << 20, 0);
  await promisify(pinlessFs.close)(fd);
  await new Promise((done) =>
    pinlessFs
      .createReadStream(file)
      .pipe(pinlessFs.createWriteStream(copy))
      .on("close", () => done(null)),
  );
  assert.equal((await pinlessFs.promises.readFile(copy)).length, 1 << 20);
  assert.deepEqual([cachedBytes(file), cachedBytes(copy)], [0, 0]);
});

/** Names of all open files. */
function descriptors(): string[] {
  return nodeFs.readdirSync("/proc/self/fd").map((fd) => {
    try {
      return nodeFs.readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  });
}

test("a number that other code has closed is forgotten when it's opened again", async (t) => {
  const directory = scratchDirectory(t);
  const fileOf = (name: string): string => {
    nodeFs.writeFileSync(path.join(directory, name), name);
    return path.join(directory, name);
  };
  const two = fileOf("two");
  let [one, fd, again] = ["", -1, -2];
  // A thread of the engine may take the number in between.
  for (let i = 0; again !== fd; i++) {
    if (again >= 0) pinlessFs.closeSync(again);
    one = fileOf(`one${i}`);
    fd = pinlessFs.openSync(one, "r");
    await promisify(pinlessFs.read)(fd, Buffer.alloc(3), 0, 3, 0);
    nodeFs.closeSync(fd);
    again = pinlessFs.openSync(two, "r");
  }
  const { buffer } = await promisify(pinlessFs.read)(fd, Buffer.alloc(3), 0, 3, 0);
  assert.equal(buffer.toString(), "two");
  pinlessFs.closeSync(fd);
  // So are the descriptors of their Files.
  await until("closed", () => !descriptors().some((name) => name === one || name === two));
});

test("what a callback throws is an uncaught exception", () => {
  const module = JSON.stringify(new URL("../../dist/fs.js", import.meta.url));
  const program = `
    import fs from ${module};
    process.on("uncaughtException", ({ message }, origin) => console.log(message, origin));
    fs.readFile("/proc/version", () => { throw new Error("mine"); });`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], { encoding: "utf8" });
  assert.equal(stdout, "mine uncaughtException\n");
});

test("flush: true brings a whole file to the device before it answers", { skip: needsFuse }, async (t) => {
  const disk = await fuse(t, Buffer.alloc(0));
  await disk.hold("fsync");
  let hasEnded = false;
  const written = pinlessFs.promises.writeFile(disk.file, "new", { flush: true }).then(() => {
    hasEnded = true;
  });
  await until("an fsync, or the end", () => disk.held > 0 || hasEnded);
  assert.equal(hasEnded, false);
  disk.go();
  await written;
});

test("an error of what is written behind a stream on a path is the stream's at once", async () => {
  const broken = new Error("broken");
  const behind = { awaited: 0, failed: (_: Error): void => {}, end: async (): Promise<void> => {} };
  const nothing = async (): Promise<void> => {};
  const file = { fd: NEVER_OPEN, behind, endAhead: nothing, close: nothing };
  const stream = writeStreamOf("", {}, async () => file as never);
  await once(stream, "open");
  const failed = once(stream, "error");
  behind.failed(broken);
  assert.equal(stream.errored, broken);
  assert.deepEqual(await failed, [broken]);
});
