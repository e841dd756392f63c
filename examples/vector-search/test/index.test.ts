/** Indexes: what they find, what they keep, and files that aren't as they should be. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Engine } from "pinless";
import { arenaReader } from "../src/block-reader.js";
import { buildGraph } from "../src/build.js";
import { bruteForce, recallOf } from "../src/exact-search.js";
import { degreeMax, openIndex, writeIndex } from "../src/index-file.js";
import { quantise } from "../src/quantiser.js";
import { searchAll } from "../src/search.js";
import { clustered, readNumbers, readVectors, squaredDistance, type Vectors, writeRows } from "../src/vectors.js";
import { buildIndex, changed, folderFor, rows, written } from "./vector-files.js";

const DIMENSION = 18;
const COUNT = 1500;
const OPTIONS = { k: 10, list: 60, beam: 4, atOnce: 8 };

let engine: Engine;
let folder: string;
let path: string;
const base = clustered(COUNT, DIMENSION, 10);
const queries = clustered(50, DIMENSION, 11);

before(async () => {
  engine = await Engine.open({ depth: 32 });
  folder = mkdtempSync(join(tmpdir(), "pinless-index-"));
  path = join(folder, "index");
  await buildIndex(engine, path, base);
});
after(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

const vectorsOf = (dimension: number, list: number[]): Vectors => {
  const values = new Float32Array(new SharedArrayBuffer(4 * list.length));
  values.set(list);
  return { count: list.length / dimension, dimension, values };
};

async function found(of: string, from: Vectors, options = OPTIONS): Promise<Int32Array> {
  const index = await openIndex(engine, of);
  try {
    return (await searchAll(index, arenaReader(engine, index), from, options)).ids;
  } finally {
    await index.close();
  }
}

test("a search finds nearly all of the true neighbours, the nearest first", async () => {
  const ids = await found(path, queries);
  assert.ok(recallOf(ids, 10, bruteForce(base, queries, 10), 10) >= 0.95);
  const distance = (query: number, id: number) =>
    squaredDistance(queries.values, query * DIMENSION, base.values, id * DIMENSION, DIMENSION);
  for (let query = 0; query < queries.count; query++) {
    const nearest = [...ids.subarray(query * 10, query * 10 + 10)].map((id) => distance(query, id));
    assert.deepEqual(
      nearest,
      nearest.toSorted((a, b) => a - b),
    );
    assert.equal(new Set(ids.subarray(query * 10, query * 10 + 10)).size, 10);
  }
});

test("each vector finds itself, and what was written is in the blocks", async () => {
  const ids = await found(path, base, { ...OPTIONS, k: 1 });
  const itself = ids.filter((id, i) => id === i).length;
  assert.ok(itself >= 0.95 * COUNT, `${itself}`);
  const { graph } = await buildIndex(engine, join(folder, "other"), base);
  const bytes = readFileSync(join(folder, "other"));
  const nodesAt = bytes.byteLength - 4096 * COUNT;
  for (let id = 0; id < COUNT; id++) {
    const at = nodesAt + id * 4096;
    assert.equal(bytes.readUInt32LE(at), id);
    const degree = bytes.readUInt32LE(at + 4);
    assert.ok(degree >= 1 && degree <= 12);
    const links = Array.from({ length: degree }, (_, i) => bytes.readUInt32LE(at + 8 + 4 * i));
    assert.deepEqual(links, [...graph.links.subarray(id * graph.width + 1, id * graph.width + 1 + degree)]);
    assert.ok(
      new Set([...links, id]).size === degree + 1,
      "no neighbour is there twice, and none is the vector itself",
    );
    const vector = Buffer.from(base.values.buffer, 4 * id * DIMENSION, 4 * DIMENSION);
    assert.deepEqual(bytes.subarray(at + 8 + 48, at + 8 + 48 + 4 * DIMENSION), vector);
  }
});

test("an index is the same each time, with any number of threads", async () => {
  for (const threads of [1, 3]) await buildIndex(engine, join(folder, `by ${threads}`), base, 12, threads);
  const bytes = [path, join(folder, "by 1"), join(folder, "by 3")].map((each) => readFileSync(each));
  assert.ok(bytes[0]!.equals(bytes[1]!) && bytes[0]!.equals(bytes[2]!));
});

test("results don't depend on the number of queries and reads at a time, nor on blocks that are kept", async () => {
  const one = await found(path, queries, { ...OPTIONS, atOnce: 1 });
  assert.deepEqual(await found(path, queries, { ...OPTIONS, atOnce: 50 }), one);
  const index = await openIndex(engine, path);
  for (const bytes of [1 << 12, 1 << 20]) {
    const reader = arenaReader(engine, index, bytes);
    for (let i = 0; i < 2; i++) assert.deepEqual((await searchAll(index, reader, queries, OPTIONS)).ids, one);
  }
  await index.close();
  // More reads at a time than the engine takes: they wait for each other.
  assert.equal((await found(path, queries, { ...OPTIONS, beam: 40, atOnce: 50 })).length, one.length);
});

test("sets of one vector, of the same vectors, and of fewer than are asked for", async () => {
  const [one, same] = [join(folder, "one"), join(folder, "same")];
  await buildIndex(engine, one, vectorsOf(2, [1, 2]), 4);
  assert.deepEqual([...(await found(one, vectorsOf(2, [0, 0]), { ...OPTIONS, k: 3 }))], [0, -1, -1]);
  await buildIndex(engine, same, vectorsOf(1, Array(40).fill(7)), 4);
  assert.equal((await found(same, vectorsOf(1, [7]), { ...OPTIONS, k: 1 })).length, 1);
  assert.deepEqual([...(await found(one, vectorsOf(2, [])))], []);
});

test("the largest degree fits a block", async () => {
  const degree = degreeMax(DIMENSION);
  const full = join(folder, "full");
  await buildIndex(engine, full, clustered(1200, DIMENSION, 10), degree);
  const index = await openIndex(engine, full);
  assert.equal(index.degree, degree);
  await index.close();
});

const u32 = (value: number): Buffer => Buffer.from(new Uint32Array([value]).buffer);
/** Bytes that are changed in an index, if the header's checksum is right again, and the error. */
const CHANGES: [what: string, at: number, bytes: Buffer, sealed: boolean, code: string, message: RegExp][] = [
  ["another magic", 0, Buffer.from("VAMANAIY"), false, "FORMAT", /isn't an index/],
  ["another version", 8, u32(2), false, "VERSION", /version 2: version 1 is read/],
  ["another checksum", 12, u32(0), false, "CORRUPT", /the header's checksum/],
  ["a changed header", 100, u32(1), false, "CORRUPT", /the header's checksum/],
  ["a huge count", 16, u32(2 ** 32 - 1), true, "CORRUPT", /4294967295 vectors/],
  ["a large count", 16, u32(1e9), true, "SIZE", /1000000000 vectors have/],
  ["no vectors", 16, u32(0), true, "CORRUPT", /0 vectors/],
  ["no dimension", 20, u32(0), true, "CORRUPT", /dimension 0/],
  ["a huge dimension", 20, u32(2 ** 31), true, "CORRUPT", /dimension 2147483648/],
  ["another dimension", 20, u32(25), true, "SIZE", /the file has/],
  ["no neighbours", 24, u32(0), true, "CORRUPT", /degree 0/],
  ["more neighbours than fit", 24, u32(5000), true, "CORRUPT", /degree 5000/],
  ["a medoid that isn't there", 28, u32(COUNT), true, "CORRUPT", /medoid 1500/],
  ["another checksum of the codes", 32, u32(1), true, "CORRUPT", /checksum of the codes/],
  ["a changed codebook", 4096, u32(1), false, "CORRUPT", /checksum of the codes/],
];
for (const [what, at, bytes, sealed, code, message] of CHANGES)
  test(`an index with ${what} is refused`, async (t) => {
    const bad = changed(t, path, at, bytes, sealed);
    const refused = { name: "IndexError", code: `ERR_INDEX_${code}`, file: bad, message };
    await assert.rejects(openIndex(engine, bad), refused);
  });

for (const [what, from, bytes] of [
  ["another vector's number", 0, u32(2 ** 31)],
  ["more neighbours than its index", 4, u32(13)],
  ["a neighbour that isn't there", 8, u32(COUNT)],
  ["a neighbour below 0", 8, u32(2 ** 32 - 1)],
  ["NaN", 8 + 48, u32(0x7fc00000)],
] as const)
  test(`a block with ${what} is refused`, async (t) => {
    const { medoid, nodesAt, close } = await openIndex(engine, path);
    await close();
    const bad = changed(t, path, nodesAt + 4096 * medoid + from, bytes);
    await assert.rejects(found(bad, queries), { code: "ERR_INDEX_CORRUPT", message: /the block of vector/ });
  });

test("indexes that are truncated, too long, empty, or no files are refused", async (t) => {
  for (const length of [0, 100, 4096, readFileSync(path).byteLength - 1]) {
    const bad = written(t, readFileSync(path).subarray(0, length));
    await assert.rejects(openIndex(engine, bad), { code: length < 8 ? "ERR_INDEX_FORMAT" : "ERR_INDEX_SIZE" });
  }
  const long = written(t, Buffer.concat([readFileSync(path), Buffer.alloc(1)]));
  await assert.rejects(openIndex(engine, long), { code: "ERR_INDEX_SIZE" });
  const other = folderFor(t);
  execFileSync("mkfifo", [join(other, "pipe")]);
  for (const bad of [other, join(other, "pipe")])
    await assert.rejects(openIndex(engine, bad), { code: "ERR_INDEX_FORMAT" });
});

test("an index that becomes shorter while it's searched is refused", async (t) => {
  const copy = written(t, readFileSync(path));
  const index = await openIndex(engine, copy);
  t.after(() => index.close());
  truncateSync(copy, index.nodesAt);
  await assert.rejects(searchAll(index, arenaReader(engine, index), queries, OPTIONS), { code: "ERR_INDEX_SIZE" });
});

const values = (...list: number[]) => new Float32Array(list);
const FILES: [what: string, bytes: Buffer, code: string, message: RegExp][] = [
  ["no counts", Buffer.alloc(7), "FORMAT", /7 bytes/],
  ["fewer rows than counted", rows(2, 2, values(1, 2, 3)), "SIZE", /2 rows of 2 have 24 bytes, the file 20/],
  ["more rows than counted", rows(1, 2, values(1, 2, 3)), "SIZE", /the file 20/],
  ["huge counts", rows(2 ** 32 - 1, 2 ** 32 - 1, values()), "SIZE", /4294967295 rows of 4294967295/],
  ["rows of nothing", rows(5, 0, values()), "SIZE", /5 rows of 0/],
  ["a dimension that no block has room for", rows(1, 961, new Float32Array(961)), "DIMENSION", /961/],
  ["another dimension", rows(1, 3, values(1, 2, 3)), "DIMENSION", /dimension 3, which is to be 2/],
  ["NaN", rows(2, 2, values(1, 2, 3, Number.NaN)), "VALUE", /vector 1 has the value NaN/],
  ["an infinity", rows(1, 2, values(Number.NEGATIVE_INFINITY, 1)), "VALUE", /vector 0 has the value -Infinity/],
];
for (const [what, bytes, code, message] of FILES)
  test(`vectors with ${what} are refused`, async (t) => {
    const bad = written(t, bytes);
    const expected = what.startsWith("a dimension") ? undefined : 2;
    await assert.rejects(readVectors(engine, bad, expected), { code: `ERR_INDEX_${code}`, message });
  });

test("vectors and numbers are read as they were written", async (t) => {
  const file = join(folderFor(t), "file");
  await writeRows(engine, file, DIMENSION, base.values);
  const read = await readVectors(engine, file);
  assert.deepEqual([read.count, read.dimension], [COUNT, DIMENSION]);
  assert.deepEqual(Buffer.from(read.values.buffer), Buffer.from(base.values.buffer));
  await writeRows(engine, file, 3, new Int32Array([1, 2, 3, -4, 5, 6]));
  assert.deepEqual(await readNumbers(engine, file), {
    width: 3,
    values: new Int32Array(new Int32Array([1, 2, 3, -4, 5, 6])),
  });
});

test("a full disk leaves nothing half built, and an abort neither", async (t) => {
  const codes = await quantise(base);
  const graph = await buildGraph(base, 12, 1);
  const other = folderFor(t);
  const aborted = writeIndex(engine, join(other, "index"), graph, codes, AbortSignal.abort());
  await assert.rejects(aborted, { name: "AbortError" });
  const building = buildGraph(base, 12, 1, AbortSignal.abort(new Error("enough")));
  await assert.rejects(building, /enough/);
  assert.deepEqual(readdirSync(other), []);
  if (process.getuid?.() !== 0) return t.skip("needs root");
  const disk = join(other, "disk");
  mkdirSync(disk);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]);
  try {
    await assert.rejects(writeIndex(engine, join(disk, "index"), graph, codes), { code: "ENOSPC" });
    assert.deepEqual([existsSync(join(disk, "index")), readdirSync(disk)], [false, []]);
  } finally {
    execFileSync("umount", [disk]);
  }
});
