/** A plan of a load: the memory that each tensor is read into, and how. */

import { ModelError } from "./model-error.js";
import type { TensorInfo } from "./model-header.js";

/** Alignment of each tensor's memory, as wide as the widest vector instruction. */
export const SIMD_BYTES = 64;
/** Tensors of this size are read straight into their place, smaller ones together with their neighbours. */
const LARGE_BYTES = 256 << 10;
const PAGE_BYTES = 4096;
/** Memory is made in pieces, each while the one before is read into; the first is small, so that reads begin soon. */
const FIRST_PIECE_BYTES = 16 << 20;
const LARGEST_PIECE_BYTES = 256 << 20;
/** Limit of an arena's contiguous memory. */
const TENSOR_BYTES_MAX = 4 * 2 ** 30 - (32 << 20);

/** A tensor and its place in a piece. */
export interface Place {
  readonly tensor: TensorInfo;
  /** Offset of its bytes in the piece, once it's loaded: a multiple of 64. */
  readonly offset: number;
  /** Bytes in the file before a large tensor that are read too, to read whole blocks; null for a small tensor. */
  readonly lead: number | null;
}

/** Contiguous memory, and the tensors in it, in the file's order. */
export interface Piece {
  bytes: number;
  readonly places: Place[];
}

/** Plans the load of tensors of a file whose direct I/O is by blocks of `alignment` bytes. */
export function planLoad(file: string, tensors: readonly TensorInfo[], alignment: number): Piece[] {
  const pieces: Piece[] = [];
  let limit = FIRST_PIECE_BYTES;
  for (const tensor of tensors) {
    const { name, bytes, position } = tensor;
    if (bytes > TENSOR_BYTES_MAX)
      throw new ModelError("ERR_MODEL_LIMIT", file, `a tensor may have ${TENSOR_BYTES_MAX} bytes here`, position, name);
    const lead = bytes >= LARGE_BYTES ? position % alignment : null;
    const [startsAt, endsAt] = lead === null ? [SIMD_BYTES, 1] : [PAGE_BYTES, alignment];
    const span = roundUp((lead ?? 0) + bytes, endsAt);
    let piece = pieces.at(-1);
    if (piece === undefined || piece.bytes + startsAt + span > limit) {
      if (piece !== undefined) limit = Math.min(2 * limit, LARGEST_PIECE_BYTES);
      piece = { bytes: 0, places: [] };
      pieces.push(piece);
    }
    const start = roundUp(piece.bytes, startsAt);
    piece.places.push({ tensor, offset: start + roundUp((lead ?? 0) - SIMD_BYTES + 1, SIMD_BYTES), lead });
    piece.bytes = start + span;
  }
  return pieces;
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;
