/**
 * The index file: a header, the codebook and the codes, which a search has in memory, and then a block of 4 KiB for
 * each vector: its number, how many neighbours it has, these, and its values. All of it in little-endian.
 */

import { crc32 } from "node:zlib";
import type { Arena, Engine, File } from "pinless";
import type { Graph } from "./graph.js";
import { IndexError, type IndexErrorCode } from "./index-error.js";
import { CENTROIDS, type Codes, partsOf } from "./quantiser.js";
import { DIMENSION_MAX, openRegular, writeWhole } from "./vectors.js";

export const BLOCK_BYTES = 4096;
const MAGIC = "VAMANAIX";
const VERSION = 1;
/** Offset of the part of the header that its checksum is of. */
const CHECKED_FROM = 16;
const PART_BLOCKS = 256;

/** Fields of the header: `degree` is the most neighbours of a vector, `codesSum` the checksum of codebook and codes. */
const FIELDS = ["count", "dimension", "degree", "medoid", "codesSum"] as const;
type IndexHeader = Readonly<Record<(typeof FIELDS)[number], number>>;

/** An open index: what a search has in memory. */
export interface Index extends IndexHeader, Codes {
  readonly path: string;
  /** Offset in the file of the vectors' blocks. */
  readonly nodesAt: number;
  readonly bytes: number;
  readonly file: File;
  readonly arena: Arena;
  close(): Promise<void>;
}

/** Most neighbours that a block has room for beside a vector. */
export const degreeMax = (dimension: number): number => Math.floor((BLOCK_BYTES - 8 - 4 * dimension) / 4);

/** Bytes of codebook and codes, offset in the file of the vectors' blocks, and the file's size. */
function layoutOf({ count, dimension }: Pick<IndexHeader, "count" | "dimension">) {
  const codebookBytes = 4 * CENTROIDS * dimension;
  const codesEnd = codebookBytes + count * partsOf(dimension);
  const nodesAt = BLOCK_BYTES + Math.ceil(codesEnd / BLOCK_BYTES) * BLOCK_BYTES;
  return { codebookBytes, codesEnd, nodesAt, size: nodesAt + count * BLOCK_BYTES };
}

/** Writes an index; there is never half of one. */
export async function writeIndex(engine: Engine, path: string, graph: Graph, codes: Codes, signal?: AbortSignal) {
  const { count, dimension } = graph.vectors;
  const { codebookBytes, codesEnd, nodesAt } = layoutOf(graph.vectors);
  const memory = Buffer.alloc(nodesAt - BLOCK_BYTES);
  memory.set(new Uint8Array(codes.codebook.buffer));
  memory.set(codes.codes, codebookBytes);
  const head = Buffer.alloc(BLOCK_BYTES);
  head.write(MAGIC, "latin1");
  head.writeUInt32LE(VERSION, 8);
  const header = { ...graph, count, dimension, codesSum: crc32(memory.subarray(0, codesEnd)) };
  for (const [i, field] of FIELDS.entries()) head.writeUInt32LE(header[field], CHECKED_FROM + 4 * i);
  head.writeUInt32LE(crc32(head.subarray(CHECKED_FROM)), 12);
  await writeWhole(engine, path, contents(head, memory, graph), signal);
}

/** Contents of an index; its blocks a MiB at a time. */
function* contents(head: Uint8Array, memory: Uint8Array, graph: Graph): Generator<Uint8Array> {
  yield head;
  yield memory;
  const { vectors, degree, links, width } = graph;
  const { count, dimension, values } = vectors;
  for (let first = 0; first < count; first += PART_BLOCKS) {
    const last = Math.min(count, first + PART_BLOCKS);
    const bytes = new Uint8Array((last - first) * BLOCK_BYTES);
    const [ints, floats] = [new Int32Array(bytes.buffer), new Float32Array(bytes.buffer)];
    for (let id = first; id < last; id++) {
      const at = ((id - first) * BLOCK_BYTES) / 4;
      ints[at] = id;
      ints.set(links.subarray(id * width, id * width + 1 + degree), at + 1);
      floats.set(values.subarray(id * dimension, (id + 1) * dimension), at + 2 + degree);
    }
    yield bytes;
  }
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
  const fields = FIELDS.map((field, i) => [field, head.readUInt32LE(CHECKED_FROM + 4 * i)]);
  const header = Object.fromEntries(fields) as IndexHeader;
  const { count, dimension, degree, medoid } = header;
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
  const close = async (): Promise<void> => {
    await file.close();
    await arena?.close();
  };
  try {
    const head = Buffer.alloc(BLOCK_BYTES);
    const { bytesRead } = await file.read(head, { position: 0 });
    const header = parseHeader(path, head.subarray(0, bytesRead), size);
    const { codebookBytes, codesEnd, nodesAt } = layoutOf(header);
    arena = await engine.arena({ bytes: nodesAt });
    const memory = arena.alloc(nodesAt - BLOCK_BYTES);
    await file.read(memory, { position: BLOCK_BYTES });
    if (crc32(memory.subarray(0, codesEnd)) !== header.codesSum)
      throw new IndexError("ERR_INDEX_CORRUPT", path, "the checksum of the codes is wrong");
    const codebook = new Float32Array(memory.buffer, memory.byteOffset, codebookBytes / 4);
    const codes = memory.subarray(codebookBytes, codesEnd);
    return { ...header, path, codebook, codes, nodesAt, bytes: size, file, arena, close };
  } catch (error) {
    await close();
    throw error;
  }
}
