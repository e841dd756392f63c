/** Files that aren't as their format says: each is refused by a typed error that names the file, tensor and place. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Engine } from "pinless";
import { loadModel } from "../src/load-model.js";
import type { ModelError } from "../src/model-error.js";
import { entry, folderFor, type GgufParts, gguf, pair, safetensors, text, u32, u64, written } from "./model-files.js";

let engine: Engine;
before(async () => {
  engine = await Engine.open();
});
after(() => engine.close());

const f32 = (shape: unknown, data_offsets: unknown, dtype: unknown = "F32") => ({ dtype, shape, data_offsets });
const zeros = (bytes: number) => Buffer.alloc(bytes);
const one = (name: string, value: unknown, data = zeros(16)) => safetensors({ [name]: value }, data);
const raw = (header: string, data = zeros(16)) => safetensors(header, data);
const a = '"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}';

/** A file, the code of its error and a part of the message. */
type Case = [what: string, file: Uint8Array, code: string, message: RegExp];

const SAFETENSORS: Case[] = [
  ["an empty file", zeros(0), "TRUNCATED", /the file at 0$/],
  ["eight bytes", u64(2), "TRUNCATED", /the file at 8$/],
  ["another file", Buffer.from("#!/bin/sh\necho hello\n"), "FORMAT", /byte 8: neither/],
  ["a header beyond the end", safetensors("{}").subarray(0, 9), "TRUNCATED", /the header ends at 10/],
  ["a huge header", Buffer.concat([u64(100_000_001), Buffer.from("{}")]), "LIMIT", /100000001 bytes, of at most/],
  ["a header of 2^64 - 1 bytes", Buffer.concat([u64(2n ** 64n - 1n), Buffer.from("{}")]), "LIMIT", /byte 0/],
  ["no JSON", raw("{x"), "HEADER", /JSON/],
  ["JSON that ends early", raw(`{${a}`), "HEADER", /JSON/],
  ["text after JSON", raw(`{${a}} {}`), "HEADER", /JSON/],
  ["no UTF-8", safetensors(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), "HEADER", /UTF-8/],
  ["JSON of great depth", raw(`{"a":${"[".repeat(200_000)}${"]".repeat(200_000)}}`), "TYPE", /dtype/],
  ["a name twice", raw(`{${a},${a}}`), "DUPLICATE", /tensor "a".*twice/],
  [
    "a name twice, once escaped",
    raw(`{${a},${a.replace('"a"', '"\\u0061"  \n:').replace("::", ":")}}`),
    "DUPLICATE",
    /"a"/,
  ],
  ["a field twice", raw(`{${a.replace("{", '{"shape":[1],')}}`), "DUPLICATE", /"shape"/],
  ["metadata that aren't strings", safetensors({ __metadata__: { a: 1 } }), "HEADER", /"a", which isn't a string/],
  ["metadata without names", safetensors({ __metadata__: "a" }), "HEADER", /__metadata__/],
  ["a tensor that is a number", one("a", 1), "TYPE", /tensor "a"/],
  ["a tensor that is null", one("a", null), "TYPE", /tensor "a"/],
  ["an unknown dtype", one("a", f32([4], [0, 16], "F33")), "TYPE", /"F33"/],
  ["an object's method as dtype", one("a", f32([4], [0, 16], "toString")), "TYPE", /"toString"/],
  ["an unknown field", one("a", { ...f32([4], [0, 16]), more: 1 }), "HEADER", /"more"/],
  ["no shape", one("a", f32(undefined, [0, 16])), "SHAPE", /no shape/],
  ["a negative dimension", one("a", f32([-4], [0, 16])), "SHAPE", /\[-4\] isn't of whole numbers/],
  ["half a dimension", one("a", f32([0.5, 8], [0, 16])), "SHAPE", /whole numbers/],
  ["a dimension that is a text", one("a", f32(["4"], [0, 16])), "SHAPE", /whole numbers/],
  ["a product beyond 2^53", one("a", f32([2 ** 30, 2 ** 30], [0, 16])), "SHAPE", /more elements/],
  [
    "a product that wraps to 4 in 64 bits",
    raw(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}`),
    "SHAPE",
    /more elements/,
  ],
  ["elements that don't fill bytes", one("a", f32([3], [0, 2], "F4"), zeros(2)), "SHAPE", /blocks of 2 elements/],
  ["a shape of fewer bytes", one("a", f32([3], [0, 16])), "SHAPE", /12 bytes/],
  ["offsets that are negative", one("a", f32([4], [-16, 0])), "HEADER", /data_offsets/],
  ["offsets beyond 2^53", one("a", f32([4], [2 ** 60, 2 ** 60 + 16])), "HEADER", /data_offsets/],
  ["offsets that go backwards", one("a", f32([4], [16, 0])), "SHAPE", /data_offsets/],
  ["three offsets", one("a", f32([4], [0, 16, 32])), "HEADER", /data_offsets/],
  ["no offsets", one("a", f32([4], "0,16")), "HEADER", /data_offsets/],
  [
    "overlap",
    safetensors({ a: f32([4], [0, 16]), b: f32([4], [8, 24]) }, zeros(24)),
    "OVERLAP",
    /"b", byte \d+: it overlaps "a"/,
  ],
  [
    "the same bytes twice",
    safetensors({ a: f32([4], [0, 16]), b: f32([4], [0, 16]) }, zeros(16)),
    "OVERLAP",
    /overlaps/,
  ],
  [
    "a hole",
    safetensors({ a: f32([4], [0, 16]), b: f32([4], [20, 36]) }, zeros(36)),
    "HOLE",
    /"b".* 4 bytes before it/,
  ],
  ["a hole at the beginning", safetensors({ a: f32([4], [4, 20]) }, zeros(20)), "HOLE", /4 bytes before it/],
  ["bytes after the last tensor", one("a", f32([4], [0, 16]), zeros(17)), "HOLE", /the 1 bytes at the file's end/],
  ["a truncated tensor", one("a", f32([4], [0, 16]), zeros(15)), "TRUNCATED", /tensor "a"/],
  ["a tensor far beyond the end", one("a", f32([2 ** 48], [0, 2 ** 50])), "TRUNCATED", /tensor "a"/],
];

const parts = (given: GgufParts) => gguf(given);
const F32 = 0;
const deep = Buffer.concat([u32(9), u64(1), u32(9), u64(1)]);

const GGUF: Case[] = [
  ["four bytes", Buffer.from("GGUF"), "TRUNCATED", /the file at 4/],
  ["version 1", parts({ version: 1 }), "VERSION", /byte 4: version 1/],
  ["version 4", parts({ version: 4 }), "VERSION", /version 4/],
  ["version 0", parts({ version: 0 }), "VERSION", /version 0/],
  ["big-endian", parts({ version: 0x03000000 }), "VERSION", /big-endian/],
  ["huge counts", parts({ tensorCount: 2n ** 63n }), "LIMIT", /more than any file has/],
  ["more tensors than fit", parts({ tensorCount: 1e9 }), "LIMIT", /1000000000 tensors don't fit/],
  ["more values than fit", parts({ pairCount: 1e9 }), "LIMIT", /1000000000 values don't fit/],
  ["fewer tensors than counted", parts({ tensorCount: 1, data: zeros(24) }), "TYPE|TRUNCATED|HEADER|SHAPE", /./],
  ["a key beyond the end", parts({ pairCount: 1, infos: [u64(1000), zeros(8)], tensorCount: 0 }), "TRUNCATED", /1032/],
  ["a long key", parts({ pairs: [pair("k".repeat(65536), 0, zeros(1))] }), "LIMIT", /a key of 65536 bytes/],
  [
    "a key that isn't UTF-8",
    parts({ pairs: [Buffer.concat([u64(1), Buffer.from([255]), u32(0), zeros(1)])] }),
    "HEADER",
    /UTF-8/,
  ],
  ["a key twice", parts({ pairs: [pair("k", 0, zeros(1)), pair("k", 0, zeros(1))] }), "DUPLICATE", /the key "k"/],
  ["an unknown type of value", parts({ pairs: [pair("k", 13, zeros(1))] }), "TYPE", /type 13/],
  ["a boolean that is 2", parts({ pairs: [pair("k", 7, Buffer.from([2]))] }), "HEADER", /boolean that is 2/],
  ["arrays in arrays", parts({ pairs: [pair("k", 9, deep)] }), "TYPE", /array of the type 9/],
  [
    "a huge array",
    parts({ pairs: [pair("k", 9, Buffer.concat([u32(4), u64(2 ** 40)]))] }),
    "LIMIT",
    /elements don't fit/,
  ],
  [
    "a huge array of texts",
    parts({ pairs: [pair("k", 9, Buffer.concat([u32(8), u64(2 ** 40)]))] }),
    "LIMIT",
    /elements/,
  ],
  ["a huge text", parts({ pairs: [pair("k", 8, u64(2 ** 50))] }), "TRUNCATED", /the header ends at/],
  ["an alignment of 0", parts({ pairs: [pair("general.alignment", 4, u32(0))] }), "HEADER", /power of two/],
  ["an alignment of 48", parts({ pairs: [pair("general.alignment", 4, u32(48))] }), "HEADER", /power of two/],
  ["an alignment that is a text", parts({ pairs: [pair("general.alignment", 8, text("32"))] }), "HEADER", /alignment/],
  [
    "a long name",
    parts({ infos: [entry("n".repeat(65), [1], F32, 0)], data: zeros(32) }),
    "LIMIT",
    /65 bytes, of at most 64/,
  ],
  [
    "a name twice",
    parts({ infos: [entry("a", [8], F32, 0), entry("a", [8], F32, 32)], data: zeros(64) }),
    "DUPLICATE",
    /"a"/,
  ],
  [
    "five dimensions",
    parts({ infos: [entry("a", [1, 1, 1, 1, 1], F32, 0)], data: zeros(32) }),
    "LIMIT",
    /5 dimensions/,
  ],
  [
    "2^32 - 1 dimensions",
    parts({ infos: [Buffer.concat([text("a"), u32(2 ** 32 - 1), zeros(24)])] }),
    "LIMIT",
    /dimensions/,
  ],
  ["a dimension beyond 2^53", parts({ infos: [entry("a", [2n ** 63n], F32, 0)] }), "LIMIT", /tensor "a"/],
  ["a product beyond 2^53", parts({ infos: [entry("a", [2 ** 32, 2 ** 32], F32, 0)] }), "SHAPE", /more elements/],
  ["an unknown type", parts({ infos: [entry("a", [8], 99, 0)], data: zeros(32) }), "TYPE", /number 99/],
  ["a type that was removed", parts({ infos: [entry("a", [32], 4, 0)], data: zeros(32) }), "TYPE", /number 4/],
  [
    "rows that don't fill blocks",
    parts({ infos: [entry("a", [16, 2], 8, 0)], data: zeros(64) }),
    "SHAPE",
    /blocks of 32 elements that Q8_0/,
  ],
  [
    "an offset that isn't aligned",
    parts({ infos: [entry("a", [8], F32, 8)], data: zeros(64) }),
    "HEADER",
    /multiple of 32/,
  ],
  [
    "overlap",
    parts({ infos: [entry("a", [16], F32, 0), entry("b", [8], F32, 32)], data: zeros(64) }),
    "OVERLAP",
    /"b".*overlaps "a"/,
  ],
  ["a hole", parts({ infos: [entry("a", [8], F32, 0), entry("b", [8], F32, 64)], data: zeros(96) }), "HOLE", /"b"/],
  ["a truncated tensor", parts({ infos: [entry("a", [8], F32, 0)], data: zeros(31) }), "TRUNCATED", /tensor "a"/],
  ["a tensor far beyond the end", parts({ infos: [entry("a", [8], F32, 2 ** 50)], data: zeros(32) }), "HOLE", /"a"/],
];

for (const [format, cases] of Object.entries({ safetensors: SAFETENSORS, GGUF }))
  for (const [what, bytes, code, message] of cases)
    test(`${format}: ${what} is refused`, async (t) => {
      const path = written(t, "model", bytes);
      await assert.rejects(loadModel(engine, path), (error: ModelError) => {
        assert.match(error.code, new RegExp(`^ERR_MODEL_(${code})$`), error.message);
        assert.match(error.message, message);
        assert.equal(error.file, path);
        assert.ok(error.message.startsWith(path));
        return true;
      });
    });

test("a header of more than 100 MB is refused before it's read", async (t) => {
  const path = written(t, "model", Buffer.alloc(0));
  const fd = openSync(path, "r+");
  writeSync(fd, Buffer.concat([u64(100_000_001), Buffer.from("{")]));
  closeSync(fd);
  truncateSync(path, 2 ** 40);
  await assert.rejects(loadModel(engine, path), { code: "ERR_MODEL_LIMIT" });
  const huge = gguf({ pairs: [pair("k", 8, u64(200_000_000))] });
  const other = written(t, "model.gguf", huge);
  truncateSync(other, 2 ** 40);
  await assert.rejects(loadModel(engine, other), { code: "ERR_MODEL_LIMIT" });
});

test("a sparse file whose tensor is larger than memory is refused without memory for it", async (t) => {
  const elements = 2 ** 38;
  const path = written(t, "model", safetensors({ a: f32([elements], [0, 4 * elements]) }));
  const header = readFileSync(path).byteLength;
  truncateSync(path, header + 4 * elements);
  await assert.rejects(loadModel(engine, path), { code: "ERR_MODEL_LIMIT", tensor: "a" });
});

test("what isn't a regular file is refused, and a pipe isn't waited for", async (t) => {
  const folder = folderFor(t);
  mkdirSync(join(folder, "folder"));
  execFileSync("mkfifo", [join(folder, "pipe")]);
  for (const name of ["folder", "pipe"])
    await assert.rejects(loadModel(engine, join(folder, name)), { code: "ERR_MODEL_FORMAT" });
  await assert.rejects(loadModel(engine, join(folder, "none")), { code: "ENOENT" });
});
