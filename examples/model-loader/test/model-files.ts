/** Model files for tests, good and bad. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** A folder on a disk, which goes when the test ends. */
export function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "pinless-model-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function written(t: TestContext, name: string, bytes: Uint8Array): string {
  const path = join(folderFor(t), name);
  writeFileSync(path, bytes);
  return path;
}

export interface TestTensor {
  readonly name: string;
  /** Name of the type, and its number in GGUF. */
  readonly type: string;
  readonly number?: number;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

export const u64 = (value: number | bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};

export const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

/** A safetensors file of a header, as an object or as its very text, and bytes. */
export function safetensors(header: object | string | Uint8Array, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes =
    header instanceof Uint8Array ? header : Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  return Buffer.concat([u64(bytes.byteLength), bytes, data]);
}

export function safetensorsOf(tensors: readonly TestTensor[]): Buffer {
  let end = 0;
  const entries = tensors.map(({ name, type, shape, bytes }) => {
    const begin = end;
    end += bytes.byteLength;
    return [name, { dtype: type, shape, data_offsets: [begin, end] }] as const;
  });
  return safetensors(Object.fromEntries(entries), Buffer.concat(tensors.map(({ bytes }) => bytes)));
}

export interface GgufParts {
  readonly version?: number;
  readonly tensorCount?: number | bigint;
  readonly pairCount?: number | bigint;
  /** Keys and values, encoded. */
  readonly pairs?: readonly Uint8Array[];
  /** Tensors' entries, encoded. */
  readonly infos?: readonly Uint8Array[];
  readonly alignment?: number;
  readonly data?: Uint8Array;
}

/** A GGUF file of its parts. */
export function gguf({ version = 3, pairs = [], infos = [], alignment = 32, ...rest }: GgufParts): Buffer {
  const { tensorCount = infos.length, pairCount = pairs.length, data = Buffer.alloc(0) } = rest;
  const counts = [u32(version), u64(tensorCount), u64(pairCount)];
  const header = Buffer.concat([Buffer.from("GGUF"), ...counts, ...pairs, ...infos]);
  return Buffer.concat([padded(header, alignment), data]);
}

export const padded = (bytes: Uint8Array, alignment: number): Buffer =>
  Buffer.concat([bytes, Buffer.alloc((alignment - (bytes.byteLength % alignment)) % alignment)]);

export const pair = (key: string, type: number, value: Uint8Array): Buffer =>
  Buffer.concat([text(key), u32(type), value]);

export const entry = (
  name: string,
  shape: readonly (number | bigint)[],
  type: number,
  offset: number | bigint,
): Buffer => Buffer.concat([text(name), u32(shape.length), ...shape.map(u64), u32(type), u64(offset)]);

export function ggufOf(tensors: readonly TestTensor[], alignment: number, version = 3): Buffer {
  let end = 0;
  const infos = tensors.map(({ name, shape, number, bytes }) => {
    const begin = end;
    end += padded(bytes, alignment).byteLength;
    return entry(name, shape, number!, begin);
  });
  const data = Buffer.concat(tensors.map(({ bytes }) => padded(bytes, alignment)));
  return gguf({ version, pairs: [pair("general.alignment", 4, u32(alignment))], infos, alignment, data });
}

/** Pseudorandom whole numbers below a limit: the same ones for the same seed. */
export function randomOf(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

export function randomBytes(length: number, random: (limit: number) => number): Buffer {
  const bytes = Buffer.alloc(length);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, length >>> 2);
  for (let i = 0; i < words.length; i++) words[i] = random(2 ** 32);
  return bytes;
}
