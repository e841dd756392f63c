/** Set-up for tests of an arena's memory. */

import type { Arena } from "../../dist/engine/arena.js";
import type { PortableEngine } from "../../dist/engine/engine.js";
import type { File } from "../../dist/index.js";
import { numberedBlocks } from "../support/blocks.js";
import { type Ground, withEngine } from "./ground.js";

export const MIB = 1 << 20;
export const CHUNK = 64 * 1024;
/** Leases that no clock ends: on a busy machine a second may pass between two reads of a test. */
export const LEASES = { chunk: CHUNK, idle: 3_600_000, max: 3_600_000 };
/** Number of blocks in the file. */
export const BLOCKS = 64;

export interface Bed {
  readonly engine: PortableEngine;
  readonly arena: Arena;
  /** The first bytes of the arena. */
  readonly memory: Uint8Array;
  /** Numbered blocks. */
  readonly file: File;
}

/** Runs `body` with `bytes` of an arena's memory and a file of numbered blocks. */
export async function withArena(
  ground: Ground,
  makeArena: (engine: PortableEngine) => Promise<Arena>,
  bytes: number,
  body: (bed: Bed) => Promise<void>,
): Promise<void> {
  const path = await ground.file(numberedBlocks(BLOCKS));
  await withEngine(ground, { depth: 8, lease: LEASES }, async (engine) => {
    const arena = await makeArena(engine);
    await body({ engine, arena, memory: arena.alloc(bytes), file: await engine.openFile(path, "r+") });
  });
}
