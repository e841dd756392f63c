/** GGUF, versions 2 and 3: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */

import { GGUF_TYPES } from "./element-types.js";
import { ModelError, type ModelErrorCode, quoted } from "./model-error.js";
import { type Beginning, bytesOf, inFileOrder, type ModelHeader, MoreNeeded, type TensorInfo } from "./model-header.js";

/** Value of a model's metadata; of safetensors only strings. Whole numbers beyond 2^53 are bigints. */
export type MetadataValue = string | number | bigint | boolean | MetadataArray;

const NAME_BYTES_MAX = 64;
const KEY_BYTES_MAX = 65535;
const DIMENSIONS_MAX = 4;
/** Fewest bytes of a key with its value, and of a tensor: they refuse a count that the file has no room for. */
const LEAST_PAIR_BYTES = 8 + 1 + 4 + 1;
const LEAST_TENSOR_BYTES = 8 + 4 + 4 + 8;

/** Bytes of a value by its type, `enum gguf_metadata_value_type`: 0 where they vary; and the method that reads it. */
const VALUE_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
const INTEGERS = ["getUint8", "getInt8", "getUint16", "getInt16", "getUint32", "getInt32"] as const;
const OTHERS = ["getFloat32", "getUint8", null, null, "getBigUint64", "getBigInt64", "getFloat64"] as const;
const METHODS = [...INTEGERS, ...OTHERS];
const BOOL = 7;
const STRING = 8;
const ARRAY = 9;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** An array of a GGUF's metadata, which stays encoded: vocabularies have a hundred thousand strings. */
export interface MetadataArray {
  readonly length: number;
  toArray(): MetadataValue[];
}

/** Reads fields one after the other, and refuses those that aren't as the format says. */
class Reader {
  readonly #beginning: Beginning;
  readonly #view: DataView;
  at: number;

  constructor(beginning: Beginning, at: number) {
    const { buffer, byteOffset, byteLength } = beginning.bytes;
    this.#beginning = beginning;
    this.#view = new DataView(buffer, byteOffset, byteLength);
    this.at = at;
  }

  fail(code: ModelErrorCode, what: string, position = this.at, tensor?: string): ModelError {
    return new ModelError(code, this.#beginning.file, what, position, tensor);
  }

  /** Steps over bytes; returns the offset of the first. */
  #skip(bytes: number): number {
    const from = this.at;
    if (from + bytes > this.#view.byteLength) throw new MoreNeeded(from, from + bytes);
    this.at += bytes;
    return from;
  }

  u32(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }

  /** A count, size or offset. */
  u64(tensor?: string): number {
    const at = this.#skip(8);
    const value = this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
    if (value > Number.MAX_SAFE_INTEGER)
      throw this.fail("ERR_MODEL_LIMIT", `${value} is more than any file has`, at, tensor);
    return value;
  }

  /** A count of things that have at least `least` bytes each. */
  count(what: string, least: number): number {
    const { at } = this;
    const count = this.u64();
    const { size } = this.#beginning;
    if (count * least > size - this.at)
      throw this.fail("ERR_MODEL_LIMIT", `${count} ${what} don't fit into the file's ${size} bytes`, at);
    return count;
  }

  string(): Buffer {
    const length = this.u64();
    const at = this.#skip(length);
    return this.#beginning.bytes.subarray(at, at + length);
  }

  text(what: string, most: number): string {
    const { at } = this;
    const bytes = this.string();
    if (bytes.byteLength > most)
      throw this.fail("ERR_MODEL_LIMIT", `${what} of ${bytes.byteLength} bytes, of at most ${most}`, at);
    try {
      return utf8.decode(bytes);
    } catch {
      throw this.fail("ERR_MODEL_HEADER", `${what} that isn't UTF-8`, at);
    }
  }

  value(type: number): MetadataValue {
    const { at } = this;
    if (type === STRING) return this.string().toString();
    if (type === ARRAY) return this.#array();
    const method = METHODS[type] ?? null;
    if (method === null) throw this.fail("ERR_MODEL_TYPE", `a value of the unknown type ${type}`, at);
    const value = this.#view[method](this.#skip(VALUE_BYTES[type]!), true);
    if (type === BOOL && value > 1) throw this.fail("ERR_MODEL_HEADER", `a boolean that is ${value}`, at);
    if (type === BOOL) return value === 1;
    return typeof value === "bigint" && BigInt.asIntN(54, value) === value ? Number(value) : value;
  }

  /** Steps over an array. No known file has arrays in arrays, and ggml refuses them too. */
  #array(): MetadataArray {
    const { at } = this;
    const type = this.u32();
    const bytes = type === STRING ? 8 : (VALUE_BYTES[type] ?? 0);
    if (bytes === 0) throw this.fail("ERR_MODEL_TYPE", `an array of the type ${type}`, at);
    const length = this.count("elements", bytes);
    const { at: start } = this;
    if (type === STRING) for (let i = 0; i < length; i++) this.#skip(this.u64());
    else this.#skip(length * bytes);
    const toArray = (): MetadataValue[] => {
      const reader = new Reader(this.#beginning, start);
      return Array.from({ length }, () => reader.value(type));
    };
    return { length, toArray };
  }
}

export function parseGguf(beginning: Beginning): ModelHeader {
  const reader = new Reader(beginning, 4);
  const version = reader.u32();
  if (version !== 2 && version !== 3) {
    const what = version !== 0 && (version & 0xffff) === 0 ? "big-endian" : `version ${version}`;
    throw reader.fail("ERR_MODEL_VERSION", `${what}: versions 2 and 3 of GGUF are read, in little-endian`, 4);
  }
  const tensorCount = reader.count("tensors", LEAST_TENSOR_BYTES);
  const metadata = readMetadata(reader);
  const alignment = metadata.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || !(alignment >= 8) || !Number.isInteger(Math.log2(alignment)))
    throw reader.fail("ERR_MODEL_HEADER", "general.alignment isn't a power of two from 8 on");
  const names = new Set<string>();
  const infos = Array.from({ length: tensorCount }, () => readTensor(reader, beginning.file, names, alignment));
  const start = Math.ceil(reader.at / alignment) * alignment;
  const placed = infos.map((info) => ({ ...info, position: start + info.position }));
  return { format: "GGUF", version, metadata, tensors: inFileOrder(beginning, placed, start, alignment).tensors };
}

function readMetadata(reader: Reader): Map<string, MetadataValue> {
  const metadata = new Map<string, MetadataValue>();
  for (let left = reader.count("values", LEAST_PAIR_BYTES); left > 0; left--) {
    const { at } = reader;
    const key = reader.text("a key", KEY_BYTES_MAX);
    if (metadata.has(key)) throw reader.fail("ERR_MODEL_DUPLICATE", `the key ${quoted(key)} is there twice`, at);
    metadata.set(key, reader.value(reader.u32()));
  }
  return metadata;
}

/** Reads a tensor's entry. Its position is counted from the beginning of the data. */
function readTensor(reader: Reader, file: string, names: Set<string>, alignment: number): TensorInfo {
  const { at } = reader;
  const name = reader.text("a tensor's name", NAME_BYTES_MAX);
  const fail = (code: ModelErrorCode, what: string): ModelError => reader.fail(code, what, at, name);
  if (names.has(name)) throw fail("ERR_MODEL_DUPLICATE", "it's there twice");
  names.add(name);
  const dimensions = reader.u32();
  if (dimensions > DIMENSIONS_MAX)
    throw fail("ERR_MODEL_LIMIT", `${dimensions} dimensions, of at most ${DIMENSIONS_MAX}`);
  const shape = Array.from({ length: dimensions }, () => reader.u64(name));
  const number = reader.u32();
  const type = GGUF_TYPES.get(number);
  if (type === undefined) throw fail("ERR_MODEL_TYPE", `its type is the unknown number ${number}`);
  const position = reader.u64(name);
  if (position % alignment !== 0)
    throw fail("ERR_MODEL_HEADER", `its offset ${position} isn't a multiple of ${alignment}`);
  return { name, type, shape, position, bytes: bytesOf(file, name, type, shape, shape[0]) };
}
