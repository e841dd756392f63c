/**
 * The index file: a header, the codebook and the codes, which a search has in memory, and then a block of 4 KiB for
 * each vector: its number, how many neighbours it has, these, and its values. All of it in little-endian.
 */

import { crc32 } from "node:zlib";
import type { Arena, Engine, File } from "pinless";
import type { Graph } from "./graph.js";
import { IndexError, type IndexErrorCode } from "./index-error.js";
import { codebookLength, partsOf } from "./quantiser.js";
import { DIMENSION_MAX, openRegular, writeWhole } from "./vectors.js";

export const BLOCK_BYTES = 4096;
const MAGIC = "VAMANAIX";
const VERSION = 1;
/** Offset of the part of the header that its checksum is of. */
const CHECKED_FROM = 16;
const READ_BYTES = 8 << 20;
const PART_BLOCKS = 256;

export interface IndexHeader {
  readonly count: number;
  readonly dimension: number;
  /** Most neighbours of a vector. */
  readonly degree: number;
  readonly medoid: number;
  /** Checksum of codebook and codes. */
  readonly codesSum: number;
}

/** An open index: what a search has in memory. */
export interface Index extends IndexHeader {
  readonly path: string;
  readonly codebook: Float32Array;
  readonly codes: Uint8Array;
  /** Offset in the file of the vectors' blocks. */
  readonly nodesAt: number;
  readonly bytes: number;
  readonly file: File;
  readonly arena: Arena;
  close(): Promise<void>;
}

/** Most neighbours that a block has room for beside a vector. */
export const degreeMax = (dimension: number): number => Math.floor((BLOCK_BYTES - 8 - 4 * dimension) / 4);

const inBlocks = (bytes: number): number => Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;

function layoutOf({ count, dimension }: IndexHeader) {
  const codebookBytes = 4 * codebookLength(dimension);
  const codesAt = BLOCK_BYTES + inBlocks(codebookBytes);
  const codesBytes = count * partsOf(dimension);
  const nodesAt = codesAt + inBlocks(codesBytes);
  return { codebookBytes, codesAt, codesBytes, nodesAt, size: nodesAt + count * BLOCK_BYTES };
}

/** Writes an index; there is never half of one. */
export async function writeIndex(
  engine: Engine,
  path: string,
  graph: Graph,
  codebook: Float32Array,
  codes: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  const { count, dimension } = graph.vectors;
  const codebookBytes = Buffer.alloc(inBlocks(codebook.byteLength));
  codebookBytes.set(new Uint8Array(codebook.buffer, codebook.byteOffset, codebook.byteLength));
  const head = Buffer.alloc(BLOCK_BYTES);
  head.write(MAGIC, "latin1");
  head.writeUInt32LE(VERSION, 8);
  const codesSum = crc32(codes, crc32(codebookBytes.subarray(0, codebook.byteLength)));
  for (const [i, field] of [count, dimension, graph.degree, graph.medoid, codesSum].entries())
    head.writeUInt32LE(field, CHECKED_FROM + 4 * i);
  head.writeUInt32LE(crc32(head.subarray(CHECKED_FROM)), 12);
  const parts = function* (): Generator<Uint8Array> {
    yield head;
    yield codebookBytes;
    for (let at = 0; at < codes.byteLength; at += READ_BYTES) yield codes.subarray(at, at + READ_BYTES);
    yield Buffer.alloc(inBlocks(codes.byteLength) - codes.byteLength);
    for (let first = 0; first < count; first += PART_BLOCKS) yield nodeBlocks(graph, first);
  };
  await writeWhole(engine, path, parts, signal);
}

/** Blocks of some vectors, from `first` on. */
function nodeBlocks({ vectors, degree, links, width }: Graph, first: number): Uint8Array {
  const { count, dimension, values } = vectors;
  const last = Math.min(count, first + PART_BLOCKS);
  const bytes = new Uint8Array((last - first) * BLOCK_BYTES);
  const [ints, floats] = [new Int32Array(bytes.buffer), new Float32Array(bytes.buffer)];
  for (let id = first; id < last; id++) {
    const at = ((id - first) * BLOCK_BYTES) / 4;
    ints[at] = id;
    ints.set(links.subarray(id * width, id * width + 1 + degree), at + 1);
    floats.set(values.subarray(id * dimension, (id + 1) * dimension), at + 2 + degree);
  }
  return bytes;
}

/** Reads and checks a header; nothing else has been read then. */
function parseHeader(path: string, head: Buffer, size: number): IndexHeader {
  const fail = (code: IndexErrorCode, what: string) => new IndexError(code, path, what);
  if (head.toString("latin1", 0, 8) !== MAGIC) throw fail("ERR_INDEX_FORMAT", "it isn't an index");
  if (head.byteLength < BLOCK_BYTES) throw fail("ERR_INDEX_SIZE", `a header of ${head.byteLength} bytes: truncated`);
  const version = head.readUInt32LE(8);
  if (version !== VERSION) throw fail("ERR_INDEX_VERSION", `version ${version}: version ${VERSION} is read`);
  if (head.readUInt32LE(12) !== crc32(head.subarray(CHECKED_FROM)))
    throw fail("ERR_INDEX_CORRUPT", "the header's checksum is wrong");
  const fields = Array.from({ length: 5 }, (_, i) => head.readUInt32LE(CHECKED_FROM + 4 * i));
  const [count = 0, dimension = 0, degree = 0, medoid = 0, codesSum = 0] = fields;
  const header = { count, dimension, degree, medoid, codesSum };
  const possible = count < 2 ** 31 && medoid < count && dimension > 0 && dimension <= DIMENSION_MAX;
  if (!possible || degree === 0 || degree > degreeMax(dimension))
    throw fail("ERR_INDEX_CORRUPT", `${count} vectors of dimension ${dimension}, degree ${degree}, medoid ${medoid}`);
  const expected = layoutOf(header).size;
  if (expected !== size) throw fail("ERR_INDEX_SIZE", `${count} vectors have ${expected} bytes, the file has ${size}`);
  return header;
}

/** Opens an index and reads codebook and codes into an arena. */
export async function openIndex(engine: Engine, path: string): Promise<Index> {
  const { file, size } = await openRegular(engine, path);
  let arena: Arena | null = null;
  try {
    const head = Buffer.alloc(BLOCK_BYTES);
    const { bytesRead } = await file.read(head, { position: 0 });
    const header = parseHeader(path, head.subarray(0, bytesRead), size);
    const { codebookBytes, codesAt, codesBytes, nodesAt } = layoutOf(header);
    arena = await engine.arena({ bytes: nodesAt });
    const memory = arena.alloc(nodesAt - BLOCK_BYTES);
    for (let at = 0; at < memory.byteLength; at += READ_BYTES) {
      const part = memory.subarray(at, at + READ_BYTES);
      const { bytesRead } = await file.read(part, { position: BLOCK_BYTES + at });
      if (bytesRead < part.byteLength) throw new IndexError("ERR_INDEX_SIZE", path, "it became shorter");
    }
    const codebook = new Float32Array(memory.buffer, memory.byteOffset, codebookBytes / 4);
    const codes = memory.subarray(codesAt - BLOCK_BYTES, codesAt - BLOCK_BYTES + codesBytes);
    if (crc32(codes, crc32(memory.subarray(0, codebookBytes))) !== header.codesSum)
      throw new IndexError("ERR_INDEX_CORRUPT", path, "the checksum of the codes is wrong");
    const close = async (): Promise<void> => {
      await file.close();
      await arena?.close();
    };
    return { ...header, path, codebook, codes, nodesAt, bytes: size, file, arena, close };
  } catch (error) {
    await file.close();
    await arena?.close();
    throw error;
  }
}
