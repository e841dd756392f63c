/** The format safetensors: https://github.com/huggingface/safetensors#format */

import { SAFETENSORS_TYPES } from "./element-types.js";
import { ModelError, type ModelErrorCode, quoted } from "./model-error.js";
import {
  type Beginning,
  bytesOf,
  HEADER_BYTES_MAX,
  inFileOrder,
  type ModelHeader,
  MoreNeeded,
  type TensorInfo,
} from "./model-header.js";

const METADATA = "__metadata__";
const BRACE = 0x7b;

type Fail = (code: ModelErrorCode, what: string, position?: number, tensor?: string) => ModelError;

export function parseSafetensors(beginning: Beginning): ModelHeader {
  const { file, bytes, size } = beginning;
  const fail: Fail = (code, what, position = 8, tensor) => new ModelError(code, file, what, position, tensor);
  if (bytes.byteLength < 9) throw new MoreNeeded(0, 9);
  if (bytes[8] !== BRACE) throw fail("ERR_MODEL_FORMAT", "neither GGUF nor safetensors: no header begins here");
  const length = Number(bytes.readBigUInt64LE());
  if (length > HEADER_BYTES_MAX)
    throw fail("ERR_MODEL_LIMIT", `a header of ${length} bytes, of at most ${HEADER_BYTES_MAX}`, 0);
  const start = 8 + length;
  if (bytes.byteLength < start) throw new MoreNeeded(8, start);
  const header = parseJson(bytes.subarray(8, start), fail);
  const { [METADATA]: metadata = {}, ...entries } = header;
  const infos = Object.entries(entries).map(([name, entry]) => tensorOf(file, name, entry, start, fail));
  const { tensors, end } = inFileOrder(beginning, infos, start, 1);
  if (end < size) throw fail("ERR_MODEL_HOLE", `nothing has the ${size - end} bytes at the file's end`, end);
  return { format: "safetensors", version: null, metadata: metadataOf(metadata, fail), tensors };
}

function parseJson(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (error) {
    throw fail("ERR_MODEL_HEADER", `the header isn't JSON in UTF-8: ${(error as Error).message}`);
  }
  const twice = repeatedKey(text);
  if (twice !== null) throw fail("ERR_MODEL_DUPLICATE", "it's there twice", 8, twice);
  return header as Record<string, unknown>;
}

/** A key that an object of a JSON text has twice, of which JSON.parse keeps the last; null if there is none. */
function repeatedKey(text: string): string | null {
  const objects: (Set<string> | null)[] = [];
  const token = /["[\]{}]/g;
  const colon = /\s*:/y;
  for (let found = token.exec(text); found !== null; found = token.exec(text)) {
    const [character] = found;
    if (character === "{") objects.push(new Set());
    else if (character === "[") objects.push(null);
    else if (character !== '"') objects.pop();
    else {
      const end = endOfString(text, found.index);
      const keys = objects.at(-1) ?? null;
      token.lastIndex = end;
      colon.lastIndex = end;
      if (keys === null || !colon.test(text)) continue;
      const key = JSON.parse(text.slice(found.index, end)) as string;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return null;
}

/** Index after a string that begins at `start`. */
function endOfString(text: string, start: number): number {
  let end = start + 1;
  while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
  return end + 1;
}

function metadataOf(value: unknown, fail: Fail): Map<string, string> {
  const entries = Object.entries(isObject(value) ? value : { "": null });
  for (const [key, each] of entries)
    if (typeof each !== "string")
      throw fail("ERR_MODEL_HEADER", `${METADATA} has ${quoted(key)}, which isn't a string`);
  return new Map(entries as [string, string][]);
}

const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function tensorOf(file: string, tensor: string, value: unknown, start: number, fail: Fail): TensorInfo {
  const refuse = (code: ModelErrorCode, what: string): ModelError => fail(code, what, 8, tensor);
  const { dtype, shape, data_offsets: offsets, ...more } = (isObject(value) ? value : {}) as Record<string, unknown>;
  const [unknown] = Object.keys(more);
  if (unknown !== undefined) throw refuse("ERR_MODEL_HEADER", `it has the unknown field ${quoted(unknown)}`);
  const type = SAFETENSORS_TYPES.get(dtype as string);
  if (type === undefined) throw refuse("ERR_MODEL_TYPE", `its dtype is ${quoted(String(dtype))}`);
  if (!Array.isArray(shape)) throw refuse("ERR_MODEL_SHAPE", "it has no shape");
  const bytes = bytesOf(file, tensor, type, shape as number[]);
  const [begin, end, third] = Array.isArray(offsets) ? (offsets as number[]) : [];
  if (!Number.isSafeInteger(begin) || !Number.isSafeInteger(end) || begin! < 0 || third !== undefined)
    throw refuse("ERR_MODEL_HEADER", "its data_offsets aren't two whole numbers from 0 on");
  if (end! - begin! !== bytes)
    throw refuse("ERR_MODEL_SHAPE", `its shape has ${bytes} bytes, its data_offsets another number`);
  return { name: tensor, type, shape: shape as number[], position: start + begin!, bytes };
}
