/** What a FileHandle does beside reading and writing, done on both: its streams, its end, whole files, aborts. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { type FileHandle, open as openByNode } from "node:fs/promises";
import path from "node:path";
import { after, test } from "node:test";
import { Engine, type File } from "../../dist/index.js";
import { closeNodeHandle } from "../support/node-handle.js";
import { scratchDirectory } from "../support/undo.js";

const engine = await Engine.open({ depth: 8 });
after(() => engine.close());

const NODE_MAJOR = Number.parseInt(process.versions.node, 10);
const TEXT = "0123456789".repeat(30_000);

// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tried
type Handle = any;

/** What came of it, as far as it's the same on both. */
async function outcome(run: () => unknown): Promise<unknown> {
  try {
    return { result: shown(await run()) };
  } catch (error) {
    const { name, code, cause } = error as NodeJS.ErrnoException;
    return { name, code, cause };
  }
}

function shown(value: unknown): unknown {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer
    ? `${value.constructor.name} of ${value.byteLength}`
    : value;
}

async function closed(handle: Handle): Promise<void> {
  await handle.close();
}

type Scenario = (handle: Handle, file: string) => unknown;

/** Runs it on a FileHandle and on a File, each with a file of its own of the same content: results, errors and contents are the same. */
async function onBoth(
  directory: string,
  flags: string,
  scenario: Scenario,
): Promise<[byNode: unknown, byPinless: unknown]> {
  const outcomes: unknown[] = [];
  for (const by of ["node", "pinless"]) {
    const file = path.join(directory, by);
    writeFileSync(file, flags.startsWith("w") ? "" : TEXT);
    const handle: FileHandle | File = await (by === "node" ? openByNode(file, flags) : engine.openFile(file, flags));
    const result = await outcome(() => scenario(handle, file));
    await (by === "node" ? closeNodeHandle(handle) : outcome(() => handle.close()));
    outcomes.push({ result, content: readFileSync(file, "latin1") });
  }
  return outcomes as [unknown, unknown];
}

/** Each event of a stream and its handle, in order, until the stream and the handle have closed. */
async function eventsOf(stream: Handle, handle: Handle, run: () => unknown): Promise<string[]> {
  const events: string[] = [];
  for (const event of ["end", "finish", "error", "close"])
    stream.on(event, (error?: NodeJS.ErrnoException) => events.push(`${event}${error ? ` ${error.code}` : ""}`));
  handle.on("close", () => events.push("handle closes"));
  const closed = once(stream, "close");
  await run();
  await closed;
  await handle.close();
  return events;
}

const WEB_STREAMS: readonly [what: string, (handle: Handle, type?: "bytes") => unknown][] = [
  [
    "readableWebStream: the handle's end closes it",
    async (handle, type) => {
      const reader = handle.readableWebStream({ type }).getReader();
      await reader.read();
      await handle.close();
      return [await reader.read(), (await reader.closed) ?? "closed"];
    },
  ],
  [
    "readableWebStream: the handle's end before there is a reader",
    async (handle, type) => {
      const stream = handle.readableWebStream({ type });
      void handle.close();
      return (await stream.getReader().closed) ?? "closed";
    },
  ],
  [
    "readableWebStream: a cancelled one leaves",
    async (handle, type) => {
      const stream = handle.readableWebStream({ type });
      await stream.cancel("enough");
      await handle.close();
      return handle.fd;
    },
  ],
];

const SCENARIOS: readonly [what: string, flags: string, Scenario][] = [
  [
    "close() under a write stream: what it was given is written",
    "w",
    async (handle) => {
      const stream = handle.createWriteStream();
      return eventsOf(stream, handle, async () => {
        for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(1000, 97 + (i % 26)));
        const closed = handle.close();
        stream.end();
        await closed;
      });
    },
  ],
  [
    "close() under a write stream that nobody ends",
    "w",
    async (handle) => {
      const stream = handle.createWriteStream();
      return eventsOf(stream, handle, () => {
        stream.write("some");
        return handle.close();
      });
    },
  ],
  [
    "close() under a write stream that closes nothing itself",
    "w",
    async (handle) => {
      const stream = handle.createWriteStream({ autoClose: false });
      return eventsOf(stream, handle, () => {
        stream.write("some");
        return handle.close();
      });
    },
  ],
  [
    "close() under two write streams",
    "w",
    async (handle) => {
      const streams = [handle.createWriteStream({ start: 0 }), handle.createWriteStream({ start: 70_000 })];
      for (const [i, stream] of streams.entries())
        for (let n = 0; n < 70; n++) stream.write(Buffer.alloc(1000, 65 + i));
      const ends = streams.map((stream) => once(stream, "close"));
      await handle.close();
      await Promise.all(ends);
      return streams.map((stream) => stream.bytesWritten);
    },
  ],
  [
    "a write stream's end closes the handle",
    "w",
    async (handle) => {
      const stream = handle.createWriteStream({ flush: true });
      return eventsOf(stream, handle, () => stream.end("all"));
    },
  ],
  [
    "close() under a paused read stream",
    "r",
    (handle) => {
      const stream = handle.createReadStream();
      return eventsOf(stream, handle, () => handle.close());
    },
  ],
  [
    "close() when data comes",
    "r",
    (handle) => {
      const stream = handle.createReadStream();
      return eventsOf(stream, handle, () => stream.on("data", () => void handle.close()));
    },
  ],
  [
    "close() under lines",
    "r+",
    async (handle) => {
      await handle.write("a\nb\nc\n", 0);
      const lines = [];
      for await (const line of handle.readLines({ start: 0, end: 5 })) lines.push(line);
      await handle.close();
      return lines;
    },
  ],
  [
    "a stream that was destroyed leaves",
    "r",
    async (handle) => {
      const stream = handle.createReadStream({ autoClose: false });
      stream.destroy();
      await once(stream, "close");
      return (await handle.read(Buffer.alloc(3), 0, 3, 0).catch((error: Error) => error.message)) as unknown;
    },
  ],
  [
    "calls while a stream keeps the handle",
    "r+",
    async (handle) => {
      const stream = handle.createWriteStream({ start: 0 });
      stream.write("x");
      const closed = handle.close();
      const fd = handle.fd > 0;
      // Both begin before the write has ended: the descriptor goes with the last of the three.
      const [read, { size }] = await Promise.all([handle.read(Buffer.alloc(1), 0, 1, 5), handle.stat()]);
      await closed;
      return { fd, bytesRead: read.bytesRead, size, after: handle.fd };
    },
  ],
  [
    "close() twice, without its object, and once()",
    "r",
    async (handle) => {
      let events = 0;
      handle.once("close", () => events++);
      const { close } = handle;
      await Promise.all([close(), close()]);
      await close();
      return { events, fd: handle.fd };
    },
  ],
  [
    "listeners",
    "r",
    (handle) => [
      handle.listenerCount("close"),
      handle.on("x", () => {}) === handle,
      handle.emit("x"),
      handle.eventNames(),
    ],
  ],
  ["createReadStream after close()", "r", (handle) => closed(handle).then(() => handle.createReadStream())],
  ["createWriteStream after close()", "w", (handle) => closed(handle).then(() => handle.createWriteStream())],
  ["readLines after close()", "r", (handle) => closed(handle).then(() => handle.readLines())],
  ["readableWebStream after close()", "r", (handle) => closed(handle).then(() => handle.readableWebStream())],
  ["readableWebStream while closing", "r", (handle) => [handle.close(), handle.readableWebStream()]],
  [
    "readableWebStream twice",
    "r",
    (handle) => [handle.readableWebStream({ type: "bytes" }), handle.readableWebStream()],
  ],
  ["readableWebStream of a wrong type", "r", (handle) => handle.readableWebStream({ type: 5 }).locked],
  ["createReadStream with functions", "r", (handle) => handle.createReadStream({ fs: {} })],
  ["createReadStream from the end to the start", "r", (handle) => handle.createReadStream({ start: 5, end: 2 })],
  ["createReadStream from halves", "r", (handle) => handle.createReadStream({ start: 0.5 })],
  ["createWriteStream from before the start", "w", (handle) => handle.createWriteStream({ start: -1 })],
  ["createReadStream with an encoding", "r", (handle) => handle.createReadStream("utf8").readableEncoding],
  [
    "readableWebStream: all of it",
    "r",
    async (handle) => {
      const parts = [];
      let kind = "";
      for await (const part of handle.readableWebStream()) {
        kind = part.constructor.name;
        parts.push(Buffer.from(part.buffer ?? part));
      }
      return [kind, Buffer.concat(parts).toString("latin1") === TEXT];
    },
  ],
  [
    "readableWebStream: with memory of the reader's",
    "r",
    async (handle) => {
      const reader = handle.readableWebStream({ type: "bytes" }).getReader({ mode: "byob" });
      const parts = [];
      for (;;) {
        const { done, value } = await reader.read(new Uint8Array(100_000));
        if (done) break;
        parts.push(Buffer.from(value));
      }
      await reader.closed;
      return Buffer.concat(parts).toString("latin1") === TEXT;
    },
  ],
  ...WEB_STREAMS.map(([what, scenario]): [string, string, Scenario] => [
    what,
    "r",
    (handle) => scenario(handle, "bytes"),
  ]),
];

for (const [what, flags, scenario] of SCENARIOS) {
  test(`as FileHandle: ${what}`, { timeout: 180_000 }, async (t) => {
    const [byNode, byPinless] = await onBoth(scratchDirectory(t), flags, scenario);
    assert.deepEqual(byPinless, byNode);
  });
}

// Of Node 20 and 22 itself this kind of stream ends the process when its handle is closed while it reads.
for (const [what, scenario] of WEB_STREAMS) {
  test(`of ArrayBuffers as of bytes: ${what}`, async (t) => {
    const file = path.join(scratchDirectory(t), "file");
    writeFileSync(file, TEXT);
    const outcomes = [];
    for (const type of ["bytes", undefined] as const) outcomes.push(await scenario(await engine.openFile(file), type));
    assert.deepEqual(outcomes[1], outcomes[0]);
  });
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

/** What `writeFile` and `appendFile` are given; made anew for each call. */
const DATA: Readonly<Record<string, () => unknown>> = {
  null: () => null,
  undefined: () => undefined,
  "a number": () => 5,
  "a bigint": () => 5n,
  true: () => true,
  "an object": () => ({}),
  "an object of no class": () => Object.create(null),
  "a function": () => () => "x",
  "a symbol": () => Symbol("x"),
  "a date": () => new Date(0),
  "an ArrayBuffer": () => new ArrayBuffer(3),
  "a SharedArrayBuffer": () => new SharedArrayBuffer(3),
  "an object with a length": () => ({ length: 2, 0: 1, 1: 2 }),
  "an object with toString": () => ({ toString: () => "text" }),
  "no text": () => "",
  text: () => "grüße",
  "a String": () => new String("text"),
  "no bytes": () => bytes(),
  bytes: () => bytes(1, 2, 3),
  words: () => Uint16Array.from([258, 772]),
  doubles: () => Float64Array.from([1.5]),
  "a DataView": () => new DataView(bytes(1, 2, 3).buffer, 1),
  "shared bytes": () => new Uint8Array(new SharedArrayBuffer(4)),
  "an empty array": () => [],
  "an array of ArrayBuffers": () => [new ArrayBuffer(3)],
  "an array of SharedArrayBuffers": () => [new SharedArrayBuffer(3)],
  "an array of numbers": () => [1, 2],
  "an array of objects": () => [{}],
  "an array of booleans": () => [true],
  "an array of null": () => [null],
  "an array of arrays": () => [[1, 2], [3]],
  "an array of texts": () => ["a", "b"],
  "an array of views": () => [bytes(1), Uint16Array.from([2])],
  "texts before what can't be": () => ["a", 5],
  "a Set": () => new Set(["a", "b"]),
  "a Map": () => new Map([["a", "b"]]),
  "a generator": () =>
    (function* () {
      yield "a";
      yield bytes(2);
    })(),
  "an asynchronous generator": () =>
    (async function* () {
      yield "a";
      yield bytes(2);
    })(),
  "a generator that throws": () =>
    (function* () {
      yield "a";
      throw new RangeError("no more");
    })(),
  "an iterator that isn't one": () => ({ [Symbol.iterator]: 5 }),
};

const OPTIONS: Readonly<Record<string, unknown>> = {
  nothing: undefined,
  null: null,
  latin1: "latin1",
  "no encoding": "klingon",
  "an encoding in options": { encoding: "utf16le" },
  "no encoding in options": { encoding: "klingon" },
  "the encoding null": { encoding: null },
  buffer: "buffer",
  "a number": 5,
  true: true,
  "a function": () => {},
  "a signal that isn't one": { signal: 5 },
  "a signal of null": { signal: null },
  "no signal": { signal: undefined },
  "flush that isn't boolean": { flush: 1 },
  flush: { flush: true },
};

test("writeFile and appendFile take what FileHandle's take, and refuse the rest with its codes", async (t) => {
  const directory = scratchDirectory(t);
  const differences: unknown[] = [];
  const compare = async (what: string, scenario: Scenario): Promise<void> => {
    const [byNode, byPinless] = await onBoth(directory, "w+", scenario);
    if (JSON.stringify(byNode) !== JSON.stringify(byPinless)) differences.push([what, byNode, byPinless]);
  };
  for (const [what, make] of Object.entries(DATA)) {
    await compare(`writeFile of ${what}`, (handle) => handle.writeFile(make()));
    await compare(`appendFile of ${what}`, (handle) => handle.appendFile(make()));
    await compare(`writeFile of ${what} with a signal`, (handle) =>
      handle.writeFile(make(), { signal: new AbortController().signal }),
    );
    await compare(`writeFile of ${what}, aborted`, (handle) =>
      handle.writeFile(make(), { signal: AbortSignal.abort(7) }),
    );
  }
  for (const [what, options] of Object.entries(OPTIONS)) {
    await compare(`writeFile with ${what}`, (handle) => handle.writeFile("grüße", options));
    await compare(`writeFile of texts with ${what}`, (handle) => handle.writeFile(["grüße"], options));
    await compare(`readFile with ${what}`, async (handle) => {
      await handle.write("grüße", 0);
      return handle.readFile(options);
    });
    await compare(`readFile of nothing with ${what}`, (handle) => handle.readFile(options));
  }
  assert.deepEqual(differences, []);
});

/** A signal that is aborted when it's looked at for the nth time: between any two steps, whatever the machine's speed. */
function abortedAt(look: number, reason: unknown): AbortSignal {
  const controller = new AbortController();
  let looks = 0;
  return new Proxy(controller.signal, {
    get(signal, key) {
      if (key === "aborted" && ++looks === look) controller.abort(reason);
      const value = Reflect.get(signal, key, signal);
      return typeof value === "function" ? value.bind(signal) : value;
    },
    has: (signal, key) => Reflect.has(signal, key),
  });
}

for (const look of [1, 2, 3, 4]) {
  test(`readFile and writeFile end with an AbortError when look ${look} at the signal finds it aborted`, async (t) => {
    const file = path.join(scratchDirectory(t), "file");
    const reason = new Error("the reason");
    const expected = { name: "AbortError", code: "ABORT_ERR", message: "The operation was aborted", cause: reason };
    const content = Buffer.alloc(3 << 20, 7);
    const handle = await engine.openFile(file, "w+");
    const parts = [content, content, content];
    for (const data of [content, content.toString("latin1"), parts])
      await assert.rejects(handle.writeFile(data, { signal: abortedAt(look, reason) }), expected);
    await assert.rejects(handle.appendFile(content, { signal: abortedAt(look, reason) }), expected);
    writeFileSync(file, content);
    await handle.close();
    const again = await engine.openFile(file);
    await assert.rejects(again.readFile({ signal: abortedAt(look, reason) }), expected);
    await assert.rejects(again.readFile({ signal: abortedAt(look, reason), encoding: "utf8" }), expected);
    await again.close();
  });
}

test("close() under a write stream of a pipe: what it was given is written; a read stream of one ends", async (t) => {
  const fifo = path.join(scratchDirectory(t), "fifo");
  assert.equal(spawnSync("mkfifo", [fifo]).status, 0);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = await engine.openFile(fifo, "w");
  const stream = writer.createWriteStream();
  for (let i = 0; i < 10; i++) stream.write(Buffer.alloc(1000, 65 + i));
  await writer.close();
  const got = Buffer.alloc(20_000);
  assert.equal(readSync(reader, got), 10_000);
  assert.equal(got.indexOf("J"), 9000);
  closeSync(reader);

  const both = await engine.openFile(fifo, "r+");
  const waiting = both.createReadStream();
  waiting.on("data", () => assert.fail("nothing was written"));
  const closed = once(waiting, "close");
  await both.close();
  await closed;
});

test("an engine closes also where a stream waits to write into a full pipe", async (t) => {
  const fifo = path.join(scratchDirectory(t), "fifo");
  assert.equal(spawnSync("mkfifo", [fifo]).status, 0);
  const other = await Engine.open({ depth: 8 });
  const file = await other.openFile(fifo, "r+");
  const stream = file.createWriteStream();
  const failed = once(stream, "close").catch((error) => error.code);
  stream.write(Buffer.alloc(1 << 20));
  void file.close();
  await other.close();
  assert.match(await failed, /^(ECANCELED|EBADF)$/);
});

test("Files that nobody has any more are closed, with this Node's warnings or errors; those that a stream or a call has aren't", (t) => {
  const index = JSON.stringify(new URL("../../dist/index.js", import.meta.url).href);
  const program = `
    import { open } from ${index};
    import assert from "node:assert/strict";
    import { readdirSync } from "node:fs";
    const warnings = [];
    process.on("warning", ({ code, message }) => warnings.push({ code, message }));
    const errors = [];
    process.on("uncaughtException", ({ code, message }) => {
      if (code !== "ERR_INVALID_STATE") process.exit(2);
      errors.push(message);
    });
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    const path = process.argv[1];
    for await (const part of (await open(path)).createReadStream());
    const before = descriptors();
    const stream = (await open(path)).createReadStream({ highWaterMark: 1024 });
    const kept = descriptors();
    await (async () => { for (let i = 0; i < 200; i++) await open(path); })();
    await (async () => { for (let i = 0; i < 50; i++) { const h = await open(path); h.readableWebStream(); } })();
    const collectedTo = async (count) => {
      for (const begin = Date.now(); descriptors() > count && Date.now() - begin < 60_000; await turn()) gc();
      assert.equal(descriptors(), count, "dropped Files stay open");
    };
    await collectedTo(kept);
    let bytes = 0;
    for await (const part of stream) {
      bytes += part.length;
      if (bytes % (32 << 10) === 0) gc();
      await turn();
    }
    assert.equal(bytes, 300000);
    await collectedTo(before);
    const dropped = warnings.filter(({ message }) => /^Closing file descriptor \\d+ on garbage collection$/.test(message));
    const deprecations = warnings.filter(({ code }) => code === "DEP0137").length;
    const found = [dropped.length, deprecations, errors.length];
    assert.deepEqual(found, ${NODE_MAJOR >= 25 ? "[0, 0, 250]" : "[250, 1, 0]"}, JSON.stringify([warnings[0], errors[0]]));
    for (const message of errors) assert.match(message, /closed on garbage collection.* descriptor was \\d+ \\(\\//);
  `;
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, TEXT);
  const args = ["--expose-gc", "--no-warnings", "--input-type=module", "-e", program, file];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 180_000 });
  assert.equal(status, 0, stdout + stderr);
});

test("an I/O error's stack names who awaits the call", async (t) => {
  const directory = scratchDirectory(t);
  const [readable, writable] = [path.join(directory, "r"), path.join(directory, "w")];
  for (const file of [readable, writable]) writeFileSync(file, TEXT);
  const arena = await engine.arena({ bytes: 1 << 20 });
  const aligned = arena.alloc(4096);
  const reader = await engine.openFile(readable, "r");
  const writer = await engine.openFile(writable, "r+");
  const onlyWriter = await engine.openFile(writable, "a");
  const duplicate = await engine.openFile({ fd: reader.fd });
  const calls: Readonly<Record<string, () => Promise<unknown>>> = {
    "read at a position": () => onlyWriter.read(Buffer.alloc(9), 0, 9, 1),
    "read straight": () => onlyWriter.read(aligned, { position: 0 }),
    "read at the own position": () => onlyWriter.read(),
    readv: () => onlyWriter.readv([Buffer.alloc(9)]),
    readFile: () => onlyWriter.readFile(),
    write: () => reader.write("text", 1),
    "write straight": () => reader.write(aligned, { position: 0 }),
    writev: () => reader.writev([Buffer.alloc(9)]),
    writeFile: () => reader.writeFile("text"),
    truncate: () => reader.truncate(5),
    "truncate of a descriptor": () => duplicate.truncate(5),
    openFile: () => engine.openFile(path.join(directory, "none")),
  };
  for (const [what, call] of Object.entries(calls)) {
    const whoAwaits = async (): Promise<unknown> => await call();
    await assert.rejects(whoAwaits(), (error: NodeJS.ErrnoException) => {
      assert.match(String(error.code), /^E[A-Z]+$/, what);
      assert.match(error.stack ?? "", /\bwhoAwaits\b/, what);
      return true;
    });
  }
  for (const file of [reader, writer, onlyWriter, duplicate]) await file.close();
  await arena.close();
});
