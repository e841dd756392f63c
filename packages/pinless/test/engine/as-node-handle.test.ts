/** Streams and close() of a File as of a FileHandle; stacks of errors. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, openSync, readSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, test } from "node:test";
import { Engine } from "../../dist/index.js";
import { scratchDirectory } from "../support/undo.js";
import { type Handle, onBoth, type Scenario, TEXT } from "./on-both.js";

const engine = await Engine.open({ depth: 8 });
after(() => engine.close());

async function closed(handle: Handle): Promise<void> {
  await handle.close();
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
    const [byNode, byPinless] = await onBoth(engine, scratchDirectory(t), flags, scenario);
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

test("close() with an open write stream of a pipe: its data is written; a read stream ends", async (t) => {
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

test("an engine closes even if a stream waits to write into a full pipe", async (t) => {
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

test("an I/O error's stack names the function that awaits the call", async (t) => {
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
