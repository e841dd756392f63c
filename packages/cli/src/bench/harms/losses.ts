/** Lost reads: data that a read reported as transferred and that isn't in memory. */

import { open } from "node:fs/promises";
import type { Arena, Engine, File } from "pinless";
import { MIN_FILE_BYTES } from "../../command/scratch-space.js";
import { BLOCK_BYTES } from "../numbered.js";
import type { LossesFigures, LossFigures, Maybe } from "../report-schema.js";
import type { LossesTask, Target } from "../worker-protocol.js";
import { isNoSwap } from "./storm.js";

const REQUEST_BYTES = 128 << 10;
const REGION_BYTES = MIN_FILE_BYTES / 3;
/** Uses of the region before the test: a chunk gets its lease on its second use. */
const TIMES = 3;

/** A piece of memory, with the requests that fill it from a file. */
interface Region {
  readonly bytes: Uint8Array;
  readonly buffers: readonly Uint8Array[];
}

export async function losses(
  engine: Engine,
  arena: Arena,
  file: File,
  target: Target,
  task: LossesTask,
): Promise<LossesFigures> {
  return {
    afterDiscard: await lostAfterDiscard(arena, file, target),
    afterReclaim: task.noSwap === null ? await lostAfterReclaim(engine, arena, file, target) : { skipped: task.noSwap },
  };
}

/** Uses memory, discards it, and reads into it again, as programs that recycle memory do. */
async function lostAfterDiscard(arena: Arena, file: File, target: Target): Promise<Maybe<LossFigures>> {
  const region = allocate(arena);
  for (let i = 0; i < TIMES; i++) await fill(region, file, 0);
  await arena.discard(region.bytes);
  await fill(region, file, REGION_BYTES);
  return compare(region, await expected(target, REGION_BYTES));
}

/**
 * Has a device write clean pages, which lose the data on reclaim unless they're marked dirty. MADV_FREE makes them
 * clean. Nothing may store to or load from them until the end, because that could mark them dirty.
 */
async function lostAfterReclaim(engine: Engine, arena: Arena, file: File, target: Target): Promise<Maybe<LossFigures>> {
  const region = allocate(arena);
  for (let i = 0; i < TIMES; i++) await fill(region, file, 0);
  await arena.discard(region.bytes, { lazily: true });
  for (let i = 0; i < TIMES; i++) await fill(region, file, 2 * REGION_BYTES);
  await engine.releasePins();
  const busy = await arena.pageOut(region.bytes).then(
    (report) => report.busy,
    (error: Error) => (isNoSwap(error) ? error.message : Promise.reject(error)),
  );
  if (typeof busy === "string") return { skipped: busy };
  if (busy * BLOCK_BYTES > REGION_BYTES / 2)
    return { skipped: `the kernel kept ${busy} of ${REGION_BYTES / BLOCK_BYTES} pages: nothing was reclaimed` };
  return compare(region, await expected(target, 2 * REGION_BYTES));
}

function allocate(arena: Arena): Region {
  const buffers = Array.from({ length: REGION_BYTES / REQUEST_BYTES }, () => arena.alloc(REQUEST_BYTES)).sort(
    (a, b) => a.byteOffset - b.byteOffset,
  );
  const first = buffers[0]!;
  const last = buffers.at(-1)!;
  if (last.byteOffset - first.byteOffset !== REGION_BYTES - REQUEST_BYTES)
    throw new Error("the arena had no region in one piece");
  return { bytes: new Uint8Array(first.buffer, first.byteOffset, REGION_BYTES), buffers };
}

async function fill({ buffers }: Region, file: File, position: number): Promise<void> {
  await Promise.all(buffers.map((buffer, i) => file.read(buffer, { position: position + i * REQUEST_BYTES })));
}

/** Contents of the file, read in another way. */
async function expected(target: Target, position: number): Promise<Buffer> {
  const handle = await open(target.path);
  try {
    const bytes = Buffer.alloc(REGION_BYTES);
    await handle.read(bytes, 0, REGION_BYTES, position);
    return bytes;
  } finally {
    await handle.close();
  }
}

/** Compares blocks that aren't zeros: memory that lost data reads as zeros. */
function compare(region: Region, file: Buffer): Maybe<LossFigures> {
  const zeros = Buffer.alloc(BLOCK_BYTES);
  let blocksRead = 0;
  let blocksLost = 0;
  for (let at = 0; at < REGION_BYTES; at += BLOCK_BYTES) {
    const want = file.subarray(at, at + BLOCK_BYTES);
    if (want.equals(zeros)) continue;
    blocksRead++;
    if (!want.equals(region.bytes.subarray(at, at + BLOCK_BYTES))) blocksLost++;
  }
  if (blocksRead === 0) return { skipped: "the file's first blocks are zeros, as is memory that lost something" };
  return { blocksRead, blocksLost, bytesLost: blocksLost * BLOCK_BYTES };
}
