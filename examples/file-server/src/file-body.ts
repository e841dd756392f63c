/** Bytes of a file on their way to a client: read ahead into blocks of the pool, and sent from there without a copy. */

import type { ServerResponse } from "node:http";
import type { BlockPool } from "./block-pool.js";
import type { ByteRange } from "./ranges.js";
import { BLOCK_BYTES, type OpenFile } from "./readers.js";

/** Reads of a response in flight while a block is being sent, if there is memory for them. */
const AHEAD = 2;
/** Alignment that reads around the page cache need, at most. */
const ALIGNMENT = 4096;

/** The client has left, or takes too long. */
export class ClientLeft extends Error {}

interface Read {
  readonly block: Uint8Array;
  /** Position of its first byte, before the first one that was asked for if that isn't aligned. */
  readonly position: number;
  readonly done: Promise<{ bytesRead: number }>;
}

/** Yields a range in blocks, each valid until the next step. Leaving the loop waits for reads in flight. */
export async function* readRange(
  file: OpenFile,
  pool: BlockPool,
  { start, end }: ByteRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reads: Read[] = [];
  let next = start - (start % ALIGNMENT);
  let current: Uint8Array | null = null;
  try {
    for (let at = start; at <= end; ) {
      while (next <= end && reads.length <= AHEAD) {
        const block = reads.length === 0 ? await pool.take(signal) : pool.takeSpare();
        if (block === null) break;
        const wanted = Math.min(BLOCK_BYTES, end + 1 - next);
        const aligned = Math.ceil(wanted / ALIGNMENT) * ALIGNMENT;
        const done = file.read(block.subarray(0, aligned), { position: next });
        // An error of a read that isn't waited for any more has no effect.
        done.catch(() => {});
        reads.push({ block, position: next, done });
        next += BLOCK_BYTES;
      }
      const { block, position, done } = reads.shift()!;
      current = block;
      const { bytesRead } = await done;
      const from = at - position;
      const to = Math.min(BLOCK_BYTES, end + 1 - position);
      if (bytesRead < to)
        throw new Error(`it shrank while it was served: it ends at ${position + bytesRead} now, before ${end + 1}`);
      at = position + to;
      yield block.subarray(from, to);
      pool.give(block);
      current = null;
    }
  } finally {
    if (current !== null) pool.give(current);
    for (const { block, done } of reads) {
      await done.catch(() => {});
      pool.give(block);
    }
  }
}

/**
 * Waits until a client has taken something. It's cut off if that takes longer than `stallMs`. `ask` calls its argument
 * then. `signal` is aborted after the socket's "close", when nothing reads the response's memory any more.
 */
export function taken(
  response: ServerResponse,
  signal: AbortSignal,
  stallMs: number,
  ask: (taken: (error?: Error | null) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const stalled = setTimeout(() => response.destroy(), stallMs);
    const ended = (error?: Error | null): void => {
      clearTimeout(stalled);
      signal.removeEventListener("abort", left);
      if (error) reject(new ClientLeft("the client left"));
      else resolve();
    };
    const left = (): void => ended(new ClientLeft());
    signal.addEventListener("abort", left);
    if (signal.aborted || response.destroyed) left();
    else ask(ended);
  });
}
