/** Options of streams and of `file.blocks()` that are about blocks, and their checks. */

import { badOption, checkOptions } from "../ports/option-checks.js";

/** Options of reading ahead and of writing behind, in blocks. */
export interface BlockOptions {
  /**
   * Bytes of a block, which is one transfer: a multiple of 4096, up to 16 MiB.
   *
   * @defaultValue 512 KiB
   */
  blockBytes?: number | undefined;
}

/** Options of reading ahead. */
export interface ReadAheadOptions extends BlockOptions {
  /**
   * Blocks that are read while the one before them is used, up to 64; 0 for none. At most `readAhead + 1` blocks of
   * memory are used. It begins with one block, and doubles.
   *
   * @defaultValue 4
   */
  readAhead?: number | undefined;
}

/** Options of writing behind. */
export interface WriteBehindOptions extends BlockOptions {
  /**
   * Blocks that are written while another one is filled, up to 64; 0 for none. At most `writeBehind + 1` blocks of
   * memory are used.
   *
   * @defaultValue 4
   */
  writeBehind?: number | undefined;
}

/** Options of {@link File.blocks}. */
export interface BlocksOptions extends ReadAheadOptions {
  /**
   * Offset in the file to begin at, in bytes.
   *
   * @defaultValue 0
   */
  start?: number | undefined;
  /**
   * Offset in the file of the last byte, in bytes.
   *
   * @defaultValue the file's end
   */
  end?: number | undefined;
  /** Ends the iteration with an AbortError when it is aborted. */
  signal?: AbortSignal | null | undefined;
}

/** The part of a file that `blocks` reads. */
export interface BlocksRange {
  readonly start: number;
  readonly bytes: number;
  readonly signal: AbortSignal | null | undefined;
}

const MAX_BLOCK_BYTES = 16 << 20;
const DEFAULT_BLOCK_BYTES = 512 << 10;
const MAX_DEPTH = 64;
const DEFAULT_DEPTH = 4;

/** Size and number of blocks. */
export interface Blocks {
  readonly blockBytes: number;
  readonly depth: number;
}

/** Checks the options of reading ahead or of writing behind; `name` is that of the number of blocks. */
export function blocksOf(
  name: "readAhead" | "writeBehind",
  depth = DEFAULT_DEPTH,
  blockBytes = DEFAULT_BLOCK_BYTES,
): Blocks {
  if (!Number.isInteger(blockBytes / 4096) || blockBytes < 4096 || blockBytes > MAX_BLOCK_BYTES)
    throw badOption("blockBytes", blockBytes, `a multiple of 4096 from 4096 to ${MAX_BLOCK_BYTES}`);
  if (!Number.isInteger(depth) || depth < 0 || depth > MAX_DEPTH)
    throw badOption(name, depth, `a whole number from 0 to ${MAX_DEPTH}`);
  return { blockBytes, depth };
}

export function blocksRange(options: BlocksOptions): BlocksRange {
  checkOptions("file.blocks", options, ["start", "end", "blockBytes", "readAhead", "signal"]);
  const { start = 0, end = Number.POSITIVE_INFINITY, signal } = options;
  if (!Number.isSafeInteger(start) || start < 0) throw badOption("start", start, "a whole number from 0 on");
  const isEnd = end === Number.POSITIVE_INFINITY || Number.isSafeInteger(end);
  if (!isEnd || end < start) throw badOption("end", end, "a whole number, at least start");
  return { start, bytes: end - start + 1, signal };
}
