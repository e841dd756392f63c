/** Vectors: the formats .fbin and .ibin, distances, and a clustered set that is the same each time. */

import { rename, rm, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import type { Engine, File } from "pinless";
import { IndexError, type IndexErrorCode } from "./index-error.js";

/** Vectors in memory that threads share, one after the other. */
export interface Vectors {
  readonly count: number;
  readonly dimension: number;
  readonly values: Float32Array;
}

type Values = Float32Array | Int32Array;

export const DIMENSION_MAX = 960;
const NEVER = new AbortController().signal;
/** Clusters of a sample, and independent values of its vectors. */
const CENTRES = 200;
const FREEDOM = 16;

export function squaredDistance(a: Float32Array, at: number, b: Float32Array, from: number, dimension: number): number {
  let sum = 0;
  for (let i = 0; i < dimension; i++) sum += (a[at + i]! - b[from + i]!) ** 2;
  return sum;
}

/** Opens a regular file. */
export async function openRegular(engine: Engine, path: string): Promise<{ file: File; size: number }> {
  // To open a pipe would wait for its writer.
  const stats = await stat(path);
  if (!stats.isFile()) throw new IndexError("ERR_INDEX_FORMAT", path, "it isn't a regular file");
  return { file: await engine.openFile(path, "r"), size: stats.size };
}

/** Reads a file of rows of four-byte values, after a count of rows and one of values in each. */
async function readRows(engine: Engine, path: string): Promise<{ count: number; width: number; bytes: Uint8Array }> {
  const { file, size } = await openRegular(engine, path);
  const fail = (code: IndexErrorCode, what: string) => new IndexError(code, path, what);
  try {
    const head = Buffer.alloc(8);
    const { bytesRead } = await file.read(head, { position: 0 });
    if (bytesRead < 8) throw fail("ERR_INDEX_FORMAT", `${size} bytes, of at least 8`);
    const [count, width] = [head.readUInt32LE(0), head.readUInt32LE(4)];
    const expected = 8 + 4 * count * width;
    if (width === 0 || expected !== size)
      throw fail("ERR_INDEX_SIZE", `${count} rows of ${width} have ${expected} bytes, the file ${size}`);
    const bytes = new Uint8Array(new SharedArrayBuffer(size - 8));
    let had = 0;
    if (size > 8)
      for await (const block of file.blocks({ start: 8, end: size - 1 })) {
        bytes.set(block, had);
        had += block.byteLength;
      }
    if (had < size - 8) throw fail("ERR_INDEX_SIZE", "it became shorter while it was read");
    return { count, width, bytes };
  } finally {
    await file.close();
  }
}

/** Reads .fbin; refuses values that aren't finite, and another dimension than `expected` if that is given. */
export async function readVectors(engine: Engine, path: string, expected?: number): Promise<Vectors> {
  const { count, width: dimension, bytes } = await readRows(engine, path);
  if (dimension > DIMENSION_MAX || (expected ?? dimension) !== dimension) {
    const needed = expected === undefined ? `at most ${DIMENSION_MAX}` : `${expected}`;
    throw new IndexError("ERR_INDEX_DIMENSION", path, `vectors of dimension ${dimension}, which is to be ${needed}`);
  }
  const values = new Float32Array(bytes.buffer);
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0)
    throw new IndexError("ERR_INDEX_VALUE", path, `vector ${Math.floor(bad / dimension)} has the value ${values[bad]}`);
  return { count, dimension, values };
}

/** Reads .ibin: rows of numbers of vectors. */
export async function readNumbers(engine: Engine, path: string): Promise<{ width: number; values: Int32Array }> {
  const { width, bytes } = await readRows(engine, path);
  return { width, values: new Int32Array(bytes.buffer) };
}

/** Writes .fbin or .ibin. */
export async function writeRows(engine: Engine, path: string, width: number, values: Values, signal?: AbortSignal) {
  const head = new Uint8Array(new Uint32Array([values.length / width, width]).buffer);
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  await writeWhole(engine, path, [head, bytes], signal);
}

/** Writes a file under another name until it's whole and on the disk: a full disk, or an abort, leaves nothing. */
export async function writeWhole(engine: Engine, path: string, parts: Iterable<Uint8Array>, signal = NEVER) {
  const unfinished = `${path}.${process.pid}.unfinished`;
  try {
    const file = await engine.openFile(unfinished, "wx");
    await pipeline(parts, file.createWriteStream({ flush: true }), { signal });
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

/** Pseudorandom numbers from 0 to 1 (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Vectors around common centres, of 16 independent values: embeddings have many dimensions and few degrees of freedom
 * too. Sets with different seeds have the same centres and directions, so that one of them can be the queries.
 */
export function clustered(count: number, dimension: number, seed: number): Vectors {
  const bellOf = (random: () => number) => () =>
    Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const common = bellOf(randomOf(1));
  const centres = Float32Array.from({ length: CENTRES * FREEDOM }, common);
  const directions = Float32Array.from({ length: FREEDOM * dimension }, common);
  const random = randomOf(seed);
  const bell = bellOf(random);
  const values = new Float32Array(new SharedArrayBuffer(4 * count * dimension));
  for (let at = 0; at < values.length; at += dimension) {
    const centre = Math.floor(random() * CENTRES) * FREEDOM;
    for (let f = 0; f < FREEDOM; f++) {
      const length = centres[centre + f]! + 0.6 * bell();
      for (let d = 0; d < dimension; d++) values[at + d]! += length * directions[f * dimension + d]!;
    }
    for (let d = 0; d < dimension; d++) values[at + d]! += 0.2 * bell();
  }
  return { count, dimension, values };
}
