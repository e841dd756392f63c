/** Writes many buffers to their places in a file, several at a time. */

import type { SystemError } from "../protocol/errors.js";
import { throwIfAborted } from "./node-errors.js";
import { rangeError } from "./range-run.js";

interface PlacedBytes {
  readonly position: number;
  readonly bytes: number;
  readonly memory: Uint8Array;
}

/**
 * Resolves to the bytes written. Writes that overlap, directly or through others, are written one after the other, in
 * the order given. `most` limits the writes in flight.
 */
export async function writeEach(
  writes: readonly PlacedBytes[],
  write: (memory: Uint8Array, position: number) => Promise<{ bytesWritten: number }>,
  most: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  const groups = overlapping(writes);
  const written: number[] = [];
  let bytesWritten = 0;
  let error: SystemError | null = null;
  const one = async (index: number): Promise<void> => {
    const { position, bytes, memory } = writes[index]!;
    try {
      const done = await write(memory, position);
      bytesWritten += done.bytesWritten;
      written.push(index);
    } catch (cause) {
      bytesWritten += (cause as SystemError).bytesWritten ?? 0;
      error ??= Object.assign(rangeError(cause as SystemError, position, bytes), { index });
    }
  };
  let next = 0;
  const inTurn = async (): Promise<void> => {
    while (next < groups.length)
      for (const index of groups[next++]!) if (error === null && signal?.aborted !== true) await one(index);
  };
  await Promise.all(Array.from({ length: Math.min(most, groups.length) }, inTurn));
  const done = { bytesWritten, written: written.sort((a, b) => a - b) };
  if (error !== null) throw Object.assign(error, done);
  if (written.length === writes.length) return bytesWritten;
  try {
    throwIfAborted(signal);
  } catch (aborted) {
    throw Object.assign(aborted as Error, done);
  }
  return bytesWritten;
}

/** Groups of the indexes of writes that overlap, each in the order given. */
function overlapping(writes: readonly PlacedBytes[]): number[][] {
  const inOrder = writes.map((_, index) => index).sort((a, b) => writes[a]!.position - writes[b]!.position);
  const groups: number[][] = [];
  let end = -1;
  for (const index of inOrder) {
    const { position, bytes } = writes[index]!;
    if (position < end) groups.at(-1)!.push(index);
    else groups.push([index]);
    end = Math.max(end, position + bytes);
  }
  return groups.map((group) => group.sort((a, b) => a - b));
}
