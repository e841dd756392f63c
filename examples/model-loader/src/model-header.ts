/** A model file's header, and the checks that both formats have in common. */

import type { ElementType } from "./element-types.js";
import type { MetadataValue } from "./gguf.js";
import { ModelError, quoted } from "./model-error.js";

export interface TensorInfo {
  readonly name: string;
  readonly type: ElementType;
  /** Dimensions as they are in the file: of safetensors the slowest first, of GGUF the fastest. */
  readonly shape: readonly number[];
  /** Offset in the file, in bytes. */
  readonly position: number;
  readonly bytes: number;
}

export interface ModelHeader {
  readonly format: "safetensors" | "GGUF";
  /** Null for safetensors, which has none. */
  readonly version: number | null;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  /** Tensors in the file's order. */
  readonly tensors: readonly TensorInfo[];
}

/** First bytes of a file, with its header or a part of it. */
export interface Beginning {
  readonly file: string;
  readonly bytes: Buffer;
  /** Size of the whole file. */
  readonly size: number;
}

/** Thrown by a parser for a header that goes on, to byte `end` at least, after the bytes that there are. */
export class MoreNeeded {
  readonly position: number;
  readonly end: number;

  constructor(position: number, end: number) {
    this.position = position;
    this.end = end;
  }
}

/** Limit of safetensors; GGUF has none, so this is this program's. */
export const HEADER_BYTES_MAX = 100_000_000;

/**
 * Bytes of a tensor, from its shape. Elements must fill whole blocks: those of each row, if its length `row` is given,
 * or else all elements together.
 */
export function bytesOf(
  file: string,
  tensor: string,
  type: ElementType,
  shape: readonly number[],
  row?: number,
): number {
  const fail = (what: string) =>
    new ModelError("ERR_MODEL_SHAPE", file, `its shape [${shape.slice(0, 8)}] ${what}`, undefined, tensor);
  if (!shape.every((each) => Number.isSafeInteger(each) && each >= 0)) throw fail("isn't of whole numbers from 0 on");
  const elements = shape.reduce((product, each) => product * each, 1);
  const bytes = (elements / type.blockElements) * type.blockBytes;
  if (!Number.isSafeInteger(elements) || bytes > Number.MAX_SAFE_INTEGER) throw fail("has more elements than can be");
  if ((row ?? elements) % type.blockElements !== 0)
    throw fail(`doesn't fill the blocks of ${type.blockElements} elements that ${type.name} has`);
  return bytes;
}

/** Sorts tensors by position, and checks that each begins at the first multiple of `alignment` after the one before. */
export function inFileOrder(
  { file, size }: Beginning,
  tensors: readonly TensorInfo[],
  start: number,
  alignment: number,
): { tensors: readonly TensorInfo[]; end: number } {
  const sorted = [...tensors].sort((a, b) => a.position - b.position || a.bytes - b.bytes);
  let end = start;
  for (const [i, { name, position, bytes }] of sorted.entries()) {
    const expected = start + Math.ceil((end - start) / alignment) * alignment;
    if (position < end)
      throw new ModelError("ERR_MODEL_OVERLAP", file, `it overlaps ${quoted(sorted[i - 1]!.name)}`, position, name);
    if (position > expected)
      throw new ModelError(
        "ERR_MODEL_HOLE",
        file,
        `nothing has ${position - expected} bytes before it`,
        position,
        name,
      );
    end = position + bytes;
    if (end > size)
      throw new ModelError("ERR_MODEL_TRUNCATED", file, `it ends at ${end}, and the file at ${size}`, position, name);
  }
  return { tensors: sorted, end };
}
