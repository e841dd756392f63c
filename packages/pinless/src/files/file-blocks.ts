/** `file.blocks()`: a part of a file as an iterator of large blocks, which are read ahead and not copied. */

import type { EventEmitter } from "node:events";
import { READ } from "../protocol/direction.js";
import type { BlocksRange } from "./block-options.js";
import type { FileCalls } from "./file-calls.js";
import type { FileLifetime } from "./file-lifetime.js";
import { fileClosed, naming, throwIfAborted } from "./node-errors.js";
import type { ReadAhead } from "./read-ahead.js";

/** The file as `readBlocks` sees it. */
interface BlocksHost {
  /** Emits "close". */
  readonly events: EventEmitter;
  readonly lifetime: FileLifetime;
  readonly calls: FileCalls;
}

/** Size of reads of a file that can't be read ahead. */
const SINGLE_BYTES = 64 << 10;

/** Yields the range's bytes; `ahead` is null if they are to be read one transfer at a time. */
export async function* readBlocks(
  { events, lifetime, calls }: BlocksHost,
  ahead: ReadAhead | null,
  { start, bytes, signal }: BlocksRange,
): AsyncGenerator<Uint8Array, void, undefined> {
  throwIfAborted(signal);
  if (!lifetime.isOpen || lifetime.isClosing) throw fileClosed("read");
  let over: Promise<void> | null = null;
  const end = async (): Promise<void> => {
    await ahead?.end();
    lifetime.leave();
  };
  /** Gives all memory back: at the end, or when the file is closed before. */
  const close = (): Promise<void> => {
    over ??= end();
    return over;
  };
  lifetime.keep();
  events.once("close", close);
  let single: Uint8Array | null = null;
  try {
    for (let done = 0; done < bytes; ) {
      let block = (await ahead?.at(start + done)) ?? null;
      if (over === null && block === null) {
        single ??= new Uint8Array(SINGLE_BYTES);
        const part = single.subarray(0, bytes - done);
        const count = await naming(calls.positioned(READ, [part], start + done));
        if (count === 0) return;
        block = part.subarray(0, count);
      }
      throwIfAborted(signal);
      if (over !== null || block === null) throw fileClosed("read");
      block = block.subarray(0, bytes - done);
      done += block.byteLength;
      yield block;
      throwIfAborted(signal);
      if (over !== null) throw fileClosed("read");
    }
  } finally {
    events.off("close", close);
    await close();
  }
}
