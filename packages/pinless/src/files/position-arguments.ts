/** Parses the positions that FileHandle's calls take. Null stands for the own position. */

import { codedError, invalidType } from "./node-errors.js";
import { NODE_MAJOR } from "./node-runtime.js";

/** A position. Above `Number.MAX_SAFE_INTEGER` it stays a bigint. */
export type Position = number | bigint | null;

/**
 * Parses the position of a read. Node 22 and later refuse an invalid one, and Node 20 takes it for the own position;
 * both take bigints, as documented.
 */
export function readPositionOf(position: unknown, bytes: number): Position {
  if (position === undefined || position === null) return null;
  if (typeof position === "bigint") return exactly(position, bytes);
  if (NODE_MAJOR < 22) return writePositionOf(position);
  if (typeof position !== "number") throw invalidType("position", "of type integer or bigint", position);
  if (!Number.isInteger(position)) throw positionError("an integer", position);
  if (!Number.isSafeInteger(position) || position < -1)
    throw positionError(`>= -1 && <= ${Number.MAX_SAFE_INTEGER}`, position);
  return position === -1 ? null : position;
}

function exactly(position: bigint, bytes: number): Position {
  const max = 2n ** 63n - 1n - BigInt(bytes);
  if (position < -1n || position > max) throw positionError(`>= -1 && <= ${max}`, position);
  if (position === -1n) return null;
  return position > BigInt(Number.MAX_SAFE_INTEGER) ? position : Number(position);
}

/** Parses the position of a write. In every Node, an invalid one means the own position. */
export function writePositionOf(position: unknown): number | null {
  return Number.isSafeInteger(position) && (position as number) >= 0 ? (position as number) : null;
}

function positionError(allowed: string, position: number | bigint): RangeError {
  const shown = typeof position === "bigint" ? `${position}n` : String(position);
  const text = `The value of "position" is out of range. It must be ${allowed}. Received ${shown}`;
  return codedError(new RangeError(text), "ERR_OUT_OF_RANGE");
}
