/** Streams and whole files, against node:fs on the same bytes. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { after, test } from "node:test";
import { Engine } from "../../dist/index.js";
import { Random } from "../support/random.js";

const folder = mkdtempSync(join(tmpdir(), "pinless-streams-"));
const engine = await Engine.open({ depth: 16 });
after(async () => {
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Neither a whole number of blocks nor of stream buffers. */
const CONTENT = Buffer.from(new Random(7).bytes(3_000_001));

async function scratch(name: string, content: Uint8Array = CONTENT): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

test("File.readFile returns the rest of the file, as bytes or as text", async () => {
  const file = await engine.openFile(await scratch("whole"));
  assert.ok(CONTENT.equals((await file.readFile()) as Buffer));
  assert.equal(((await file.readFile()) as Buffer).byteLength, 0);
  await file.close();
  const text = await engine.openFile(await scratch("text", Buffer.from("grüße\n")));
  assert.equal(await text.readFile("utf8"), "grüße\n");
  await text.close();
});

test("File.readFile and File.writeFile reject when their signal is aborted", async () => {
  const file = await engine.openFile(await scratch("aborted"), "r+");
  const signal = AbortSignal.abort();
  await assert.rejects(file.readFile({ signal }), { name: "AbortError" });
  await assert.rejects(file.writeFile("x", { signal }), { name: "AbortError" });
  await file.close();
});

test("File.writeFile and File.appendFile take bytes, text and iterables", async () => {
  const path = await scratch("written", new Uint8Array(0));
  const file = await engine.openFile(path, "w");
  await file.writeFile(CONTENT);
  await file.writeFile("text");
  await file.appendFile([Buffer.from("a"), "b"]);
  await file.close();
  assert.ok((await readFile(path)).equals(Buffer.concat([CONTENT, Buffer.from("textab")])));
});

test("File.createReadStream reads from start to end, both included", async () => {
  const file = await engine.openFile(await scratch("range"));
  const parts: Buffer[] = [];
  for await (const part of file.createReadStream({ start: 5, end: 1_000_004 })) parts.push(part as Buffer);
  assert.ok(Buffer.concat(parts).equals(CONTENT.subarray(5, 1_000_005)));
  assert.equal(file.fd, -1, "autoClose");
});

test("File.createReadStream into File.createWriteStream copies a file", async () => {
  const target = join(folder, "copy");
  const source = await engine.openFile(await scratch("source"));
  const copy = await engine.openFile(target, "w");
  await pipeline(source.createReadStream(), copy.createWriteStream());
  assert.ok((await readFile(target)).equals(CONTENT));
});

test("File.readLines returns the lines, File.readableWebStream the bytes", async () => {
  const lines: string[] = [];
  const file = await engine.openFile(await scratch("lines", Buffer.from("one\ntwo\r\nthree")));
  for await (const line of file.readLines()) lines.push(line);
  assert.deepEqual(lines, ["one", "two", "three"]);
  const web = await engine.openFile(await scratch("web"));
  const parts: Uint8Array[] = [];
  for await (const part of web.readableWebStream({ type: "bytes" })) parts.push(part as Uint8Array);
  assert.ok(Buffer.concat(parts).equals(CONTENT));
  await web.close();
});

test("File streams of a closed file throw as FileHandle's do", async () => {
  const file = await engine.openFile(await scratch("closed"));
  await file.close();
  assert.throws(() => file.createReadStream(), { code: "ERR_OUT_OF_RANGE" });
  assert.throws(() => file.readableWebStream(), { code: "ERR_INVALID_STATE" });
  await assert.rejects(file.readFile(), { code: "EBADF" });
});
