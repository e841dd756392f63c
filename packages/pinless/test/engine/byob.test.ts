/** Byte streams of the web that read into memory of their readers. */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { openSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import type { ReadableStreamBYOBReader } from "node:stream/web";
import { type TestContext, test } from "node:test";
import { Engine, type File } from "../../dist/index.js";
import { namedPipe, scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

const CONTENT = randomBytes(3_000_005);

async function opened(t: TestContext, name: string, flags = "r"): Promise<File> {
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const file = await engine.openFile(name, flags);
  undoing(t, () => file.close());
  return file;
}

async function readerOf(
  t: TestContext,
  content: Uint8Array,
): Promise<{ file: File; reader: ReadableStreamBYOBReader }> {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, content);
  const file = await opened(t, name);
  return { file, reader: file.readableWebStream({ type: "bytes", autoClose: true }).getReader({ mode: "byob" }) };
}

/** A pipe with its reader, and a function that writes to it. */
async function pipe(t: TestContext): Promise<{ file: File; write: (text: string) => void }> {
  const name = namedPipe(t);
  const fd = openSync(name, "r+");
  const file = await opened(t, name);
  return { file, write: (text) => void writeSync(fd, text) };
}

const bytesOf = (view: ArrayBufferView): Buffer => Buffer.from(view.buffer, view.byteOffset, view.byteLength);
const text = ({ value }: { value?: ArrayBufferView | undefined }): string => bytesOf(value!).toString();

test("views of every kind, size and place get the file's bytes in order", async (t) => {
  const { reader } = await readerOf(t, CONTENT);
  const memory = (bytes: number): ArrayBuffer => new Uint8Array(bytes).fill(255).buffer as ArrayBuffer;
  const kinds: (() => ArrayBufferView)[] = [
    () => new Uint8Array(memory(20), 3, 7),
    () => new Uint16Array(memory(20), 2, 5),
    () => new DataView(memory(20), 5, 13),
    () => new BigUint64Array(memory(40), 16, 2),
    () => new Float32Array(memory(400_000), 4, 99_991),
    () => new Uint8Array(memory(4096)),
    () => new Uint8Array(memory(600_001), 1),
  ];
  const parts: Buffer[] = [];
  let bytes = 0;
  for (let i = 0; bytes < CONTENT.length; i++) {
    // Only views of bytes can end anywhere.
    const isNearEnd = CONTENT.length - bytes < 1_000_000;
    const view = isNearEnd ? new Uint8Array(memory(9999), 99) : kinds[i % kinds.length]!();
    const { buffer, byteOffset, byteLength } = view;
    const total = buffer.byteLength;
    const { done, value } = await reader.read(view as Uint8Array);
    assert.equal(done, false);
    assert.equal(buffer.byteLength, 0, "the reader's memory was transferred");
    assert.equal(value!.constructor, view.constructor);
    assert.deepEqual([value!.byteOffset, value!.buffer.byteLength], [byteOffset, total]);
    assert.ok(value!.byteLength > 0 && value!.byteLength <= byteLength);
    // Nothing beside the view was written.
    const around = new Uint8Array(value!.buffer).filter((_, at) => at < byteOffset || at >= byteOffset + byteLength);
    assert.ok(around.every((byte) => byte === 255));
    parts.push(bytesOf(value!));
    bytes += value!.byteLength;
  }
  assert.ok(Buffer.concat(parts).equals(CONTENT));
  const { done, value } = await reader.read(new Uint8Array(10));
  assert.deepEqual([done, value!.byteLength, value!.buffer.byteLength], [true, 0, 10]);
  await reader.closed;
});

test("the end in the midst of a view: what there is, and then the memory back", async (t) => {
  const { file, reader } = await readerOf(t, Buffer.from("hello"));
  assert.equal(text(await reader.read(new Uint8Array(100))), "hello");
  const { done, value } = await reader.read(new Uint8Array(100));
  assert.deepEqual([done, value!.byteLength, value!.buffer.byteLength], [true, 0, 100]);
  await reader.closed;
  await file.close();
});

test("the end in the midst of an element is the stream's error, and the file closes", async (t) => {
  const { file, reader } = await readerOf(t, Buffer.from("hello"));
  assert.equal(text(await reader.read(new Uint16Array(10) as never)), "hell");
  const closed = assert.rejects(reader.closed, TypeError);
  await assert.rejects(reader.read(new Uint16Array(10) as never), TypeError);
  await closed;
  if (Number.parseInt(process.versions.node, 10) >= 24) await until("autoClose", () => file.fd === -1);
  await file.close();
});

test("a file that is closed in the midst of an element closes: the error is the stream's", async (t) => {
  const file = await opened(t, "/proc/version");
  let reads = 0;
  const held = new Promise<void>((resolve) => file.once("close", resolve));
  file.read = (async (memory: Uint8Array) => {
    reads++;
    if (reads > 1) await held;
    return { bytesRead: reads === 1 ? 1 : 0, buffer: memory };
  }) as never;
  const reader = file.readableWebStream({ type: "bytes" }).getReader({ mode: "byob" });
  const ended = [reader.closed, reader.read(new Uint16Array(10) as never)].map((end) => assert.rejects(end, TypeError));
  await until("a second read", () => reads === 2);
  await file.close();
  await Promise.all(ended);
});

test("a cancelled read ends, and leaves its bytes to the next reader of the pipe", async (t) => {
  const { file, write } = await pipe(t);
  const stream = file.readableWebStream({ type: "bytes" });
  const reader = stream.getReader({ mode: "byob" });
  const read = reader.read(new Uint8Array(10));
  await reader.cancel("enough");
  assert.deepEqual(await read, { done: true, value: undefined });
  write("later");
  const { bytesRead, buffer } = await file.read(Buffer.alloc(10));
  assert.equal(buffer.toString("utf8", 0, bytesRead), "later");
  await file.close();
});

test("a reader that lets go of the stream leaves what its read gets to the next", async (t) => {
  const { file, write } = await pipe(t);
  const stream = file.readableWebStream({ type: "bytes" });
  const first = stream.getReader({ mode: "byob" });
  // Of a stream that hasn't started yet, Node's streams never read again.
  await new Promise(setImmediate);
  const left = assert.rejects(first.read(new Uint8Array(10)), TypeError);
  first.releaseLock();
  await left;
  write("bytes");
  const second = stream.getReader({ mode: "byob" });
  assert.equal(text(await second.read(new Uint8Array(3))), "byt");
  assert.equal(text(await second.read(new Uint8Array(3))), "es");
  await second.cancel();
});

test("an error is the read's and the stream's, and the file closes", async (t) => {
  for (const [name, flags, code] of [
    [scratchDirectory(t), "r", "EISDIR"],
    [path.join(scratchDirectory(t), "file"), "w", "EBADF"],
    ["/proc/self/mem", "r", "EIO"],
  ] as const) {
    const file = await opened(t, name, flags);
    const reader = file.readableWebStream({ type: "bytes" }).getReader({ mode: "byob" });
    const closed = assert.rejects(reader.closed, { code });
    await assert.rejects(reader.read(new Uint8Array(10)), { code, syscall: "read" });
    await closed;
    await file.close();
  }
});
