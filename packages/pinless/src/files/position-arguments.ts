/** Positions as FileHandle's calls take them. Null: the file's own. */

import { codedError, invalidType, NODE_MAJOR } from "./node-errors.js";

/** Beyond what a number can say exactly it stays a bigint. */
export type Position = number | bigint | null;

/** What isn't a position is refused from Node 22 on; Node 20 takes it for the file's own. Bigints are positions on both, as it's documented. */
export function readPositionOf(position: unknown, bytes: number): Position {
  if (position === undefined || position === null) return null;
  if (typeof position === "bigint") return exactly(position, bytes);
  if (NODE_MAJOR < 22) return writePositionOf(position);
  if (typeof position !== "number") throw invalidType("position", "of type integer or bigint", position);
  if (!Number.isInteger(position)) throw outOfRange("an integer", position);
  if (!Number.isSafeInteger(position) || position < -1)
    throw outOfRange(`>= -1 && <= ${Number.MAX_SAFE_INTEGER}`, position);
  return position === -1 ? null : position;
}

function exactly(position: bigint, bytes: number): Position {
  const max = 2n ** 63n - 1n - BigInt(bytes);
  if (position < -1n || position > max) throw outOfRange(`>= -1 && <= ${max}`, position);
  if (position === -1n) return null;
  return position > BigInt(Number.MAX_SAFE_INTEGER) ? position : Number(position);
}

/** Of numbers. Whatever isn't a position is the file's own, in every Node. */
export function writePositionOf(position: unknown): number | null {
  return Number.isSafeInteger(position) && (position as number) >= 0 ? (position as number) : null;
}

function outOfRange(allowed: string, position: number | bigint): RangeError {
  const shown = typeof position === "bigint" ? `${position}n` : String(position);
  const text = `The value of "position" is out of range. It must be ${allowed}. Received ${shown}`;
  return codedError(new RangeError(text), "ERR_OUT_OF_RANGE");
}
