/** Files of vectors and indexes for tests. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { crc32 } from "node:zlib";
import type { Engine } from "pinless";
import { buildGraph } from "../src/build.js";
import { writeIndex } from "../src/index-file.js";
import { quantise } from "../src/quantiser.js";
import type { Vectors } from "../src/vectors.js";

/** A folder that goes when the test ends. */
export function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "pinless-vectors-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function written(t: TestContext, bytes: Uint8Array): string {
  const path = join(folderFor(t), "file");
  writeFileSync(path, bytes);
  return path;
}

/** Rows of a .fbin or .ibin, with counts that may be others. */
export function rows(count: number, width: number, values: Float32Array | Int32Array): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(count, 0);
  head.writeUInt32LE(width, 4);
  return Buffer.concat([head, new Uint8Array(values.buffer, values.byteOffset, values.byteLength)]);
}

export async function buildIndex(engine: Engine, path: string, vectors: Vectors, degree = 12, threads = 1) {
  const codes = await quantise(vectors);
  const graph = await buildGraph(vectors, degree, threads);
  await writeIndex(engine, path, graph, codes);
  return { codes, graph };
}

/** A copy of an index with other bytes at some place; `sealed` makes the header's checksum right again. */
export function changed(t: TestContext, index: string, at: number, bytes: Uint8Array, sealed = false): string {
  const copy = readFileSync(index);
  copy.set(bytes, at);
  if (sealed) copy.writeUInt32LE(crc32(copy.subarray(16, 4096)), 12);
  return written(t, copy);
}
