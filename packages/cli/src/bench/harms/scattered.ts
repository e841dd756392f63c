/**
 * Buffers scattered over memory, as in a process that has been running for long, with free memory around them: the
 * preparation for harms/host-huge-pages.ts. Small pages first fill all broken areas of memory (the ballast), then whole
 * areas of 2 MiB (the filler). A hole in each of these areas is freed, and the buffers' pages are allocated there,
 * because nothing smaller is free. Then ballast and filler are freed. (If the ballast stayed, it would hide the harm:
 * the kernel moves such pages into areas that pins have broken anyway.)
 */

import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type Arena, Engine, probe } from "pinless";
import { PAGE_BYTES } from "pinless/internal";
import type { EngineReads } from "../configurations.js";
import { allowHugePages, blocksOf, forbidHugePages, stayOnOneProcessor } from "../scattered-memory.js";
import { cut, type EngineSubject, openEngine } from "../subject.js";
import type { Scattered, ScatterTask, Target } from "../worker-protocol.js";

const BLOCK_BYTES = 2 << 20;
/** Size of the hole in each area of 2 MiB: a thirty-second of it is in use. */
const HOLE_BYTES = 64 << 10;
/** Three times as long as a lease lives without I/O. */
const REST_MS = 150;
/** Areas touched between two checks that the bench is still alive. */
const TOUCHED_AT_A_TIME = 32;

interface Ground {
  readonly ballast: Arena | null;
  readonly filler: Arena;
  readonly ballastBlocks: readonly Uint8Array[];
  readonly blocks: readonly Uint8Array[];
}

let ground: Promise<Ground> | null = null;
let buffers: { readonly subject: EngineSubject; readonly all: Uint8Array } | null = null;

export async function scatter(target: Target, task: ScatterTask): Promise<Scattered> {
  const first = ground === null;
  ground ??= lay(task);
  const { ballast, filler, ballastBlocks, blocks } = await ground;
  if (!first) {
    await fill(ballastBlocks);
    await fill(blocks);
  }
  await Promise.all(blocks.map((block) => filler.discard(block.subarray(0, HOLE_BYTES))));
  const { reads } = task;
  const made = reads === null ? null : await inHoles(reads, target, blocks.length * HOLE_BYTES);
  buffers = made;
  await Promise.all([ballast?.discard(), filler.discard()]);
  return {
    pin: made?.subject.engine.pin ?? null,
    bufferBytes: made?.all.byteLength ?? 0,
    pinnedBytes: (await probe()).pinnedBytes,
    blocks: made === null ? 0 : blocksOf(made.all),
    hugeShare: made?.subject.ran().hugeShare ?? null,
  };
}

export async function unscatter(): Promise<{ readonly blocks: number }> {
  if (buffers === null) return { blocks: 0 };
  const { subject, all } = buffers;
  const blocks = blocksOf(all);
  buffers = null;
  await subject.close();
  return { blocks };
}

async function lay({ ballastBytes, regionBytes }: ScatterTask): Promise<Ground> {
  // If memory becomes short after all, the OOM killer should choose this process.
  writeFileSync("/proc/self/oom_score_adj", "1000");
  await stayOnOneProcessor();
  await forbidHugePages();
  const engine = await Engine.open({ scheme: "direct", pin: "per-io" });
  const ballast = ballastBytes > 0 ? await engine.arena({ bytes: ballastBytes, hugePages: false }) : null;
  const filler = await engine.arena({ bytes: regionBytes, hugePages: false });
  return {
    ballast,
    filler,
    ballastBlocks: ballast === null ? [] : cut(ballast, BLOCK_BYTES),
    blocks: cut(filler, BLOCK_BYTES),
  };
}

async function fill(blocks: readonly Uint8Array[]): Promise<void> {
  for (const [i, block] of blocks.entries()) {
    for (let at = 0; at < block.byteLength; at += PAGE_BYTES) block[at] = 1;
    if (i % TOUCHED_AT_A_TIME === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Buffers that were read into a moment ago and are idle now. */
async function inHoles(reads: EngineReads, target: Target, bytes: number): Promise<NonNullable<typeof buffers>> {
  if (reads.pages === "huge") await allowHugePages();
  const subject = await openEngine(reads, target, { bytes });
  await forbidHugePages();
  const pieces = cut(subject.arena, HOLE_BYTES);
  // Twice, because a chunk gets its lease on its second use.
  for (let i = 0; i < 2; i++)
    await Promise.all(
      pieces.map((piece, n) =>
        subject.file.read(piece, {
          position: (n * HOLE_BYTES) % (target.bytes - HOLE_BYTES - (target.bytes % HOLE_BYTES)),
        }),
      ),
    );
  await sleep(REST_MS);
  const first = pieces[0]!;
  return { subject, all: new Uint8Array(first.buffer, first.byteOffset, bytes) };
}
