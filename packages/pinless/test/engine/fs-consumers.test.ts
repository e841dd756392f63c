/**
 * Libraries on `pinless/fs`. The chunk store's contract tests run on files of random-access-file, which imports
 * node:fs itself, so that it's given this module instead. The others take a stream or a FileHandle.
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import fs from "../../dist/fs.js";
import { scratchDirectory } from "../support/undo.js";

// Without their types: what needs these packages is this test, and not the build of all tests.
const require = createRequire(import.meta.url);
const { RecordBatchReader, tableFromArrays, tableToIPC } = require("apache-arrow");
const { FileTokenizer, fromStream } = require("strtok3");

type Callback = (error: Error | null) => void;
type Store = new (chunkBytes: number, options?: { path: string }) => object;

/** Calls of node:fs by random-access-file, by name. */
const calls = new Map<string | symbol, number>();
let ChunkStore: Store;

before(async () => {
  const counting = new Proxy(fs, {
    get(target, name) {
      calls.set(name, (calls.get(name) ?? 0) + 1);
      return Reflect.get(target, name);
    },
  });
  const loader = Module as unknown as { _load(request: string, parent?: { filename: string }): unknown };
  const load = loader._load;
  loader._load = function (request, parent, ...rest) {
    const isTheirs = request === "fs" && parent?.filename.includes("random-access-file");
    return isTheirs ? counting : Reflect.apply(load, this, [request, parent, ...rest]);
  };
  require("random-access-file");
  loader._load = load;
  // @ts-expect-error: it has no types.
  ChunkStore = (await import("fs-chunk-store")).default;
});

/** Contract tests of abstract-chunk-store, which expect a test function as tape's. */
const contract: (test: unknown, store: Store) => void = require("abstract-chunk-store/tests");
const asTape = (name: string, run: (t: object) => void): void => {
  test(`abstract-chunk-store: ${name}`, (_, done) =>
    run({
      ok: assert.ok,
      equal: assert.equal,
      deepEqual: (actual: Uint8Array, expected: Uint8Array) => assert.deepEqual([...actual], [...expected]),
      error: assert.ifError,
      end: done as Callback,
    }));
};
/** A folder of this process: by default the stores of all users share one. */
const stores = mkdtempSync(path.join(tmpdir(), "pinless-stores-"));
after(() => rmSync(stores, { recursive: true, force: true }));
let made = 0;
const construct = (_: unknown, [chunkBytes]: [number]): object =>
  new ChunkStore(chunkBytes, { path: path.join(stores, `${made++}`) });
contract(asTape, new Proxy<Store>(class {} as Store, { construct }));

test("the chunk store has read and written by this module", () => {
  for (const name of ["open", "read", "write", "close"]) assert.ok(calls.get(name)! > 0, name);
});

const TEXT = "0123456789".repeat(50_000);

test("strtok3 reads a stream, and a file in the place of a FileHandle", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  await fs.promises.writeFile(name, TEXT);
  const file = await fs.promises.open(name);
  const fileInfo = { size: (await file.stat()).size };
  for (const tokenizer of [await fromStream(fs.createReadStream(name)), new FileTokenizer(file, { fileInfo })]) {
    const bytes = new Uint8Array(100_000);
    await tokenizer.ignore(7);
    await tokenizer.peekBuffer(bytes);
    await tokenizer.readBuffer(bytes);
    assert.equal(Buffer.from(bytes).toString(), TEXT.slice(7, 100_007));
    await tokenizer.ignore(TEXT.length - 100_010);
    await assert.rejects(tokenizer.readBuffer(bytes.subarray(0, 10)), { message: "End-Of-Stream" });
    await tokenizer.close();
  }
});

test("apache-arrow reads a stream, and a file in the place of a FileHandle", async (t) => {
  const name = path.join(scratchDirectory(t), "table");
  const columns = { id: Int32Array.from({ length: 100_000 }, (_, i) => i), half: new Float64Array(100_000).fill(0.5) };
  const table = tableFromArrays(columns);
  for (const [format, open] of [
    ["file", () => fs.promises.open(name)],
    ["stream", async () => fs.createReadStream(name)],
  ] as const) {
    await new Promise((done) =>
      fs
        .createWriteStream(name)
        .end(tableToIPC(table, format))
        .on("close", () => done(null)),
    );
    const opened = await open();
    const ids: number[] = [];
    for await (const batch of await RecordBatchReader.from(opened)) ids.push(...batch.getChild("id").toArray());
    assert.deepEqual(ids, [...columns.id]);
    if ("stat" in opened) await opened.close();
  }
});
