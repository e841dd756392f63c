/** Cost of buffers when starting a child process. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { probe } from "pinless";
import type { Configuration } from "../configurations.js";
import type { SpawnFigures } from "../report-schema.js";
import { cut, openEngine, spread } from "../subject.js";
import type { SpawnTask, Target } from "../worker-protocol.js";

/** Minimum number of samples, for machines where one takes half a second. */
const MIN_SPAWNS = 3;
const SPAWNS_LAST_MS = 1500;
const REQUEST_BYTES = 128 << 10;

/**
 * Time that starting a child process stops the event loop, with buffers of this size that were read into just before.
 */
export async function timeSpawn(configuration: Configuration, target: Target, task: SpawnTask): Promise<SpawnFigures> {
  const { reads } = configuration;
  if (reads.by === "node:fs") {
    const PIECE_BYTES = 64 << 20;
    const kept = Array.from({ length: task.bytes / PIECE_BYTES }, () => Buffer.alloc(PIECE_BYTES, 1));
    const samplesMs = await spawnTimes(task.times, async () => {});
    const bufferBytes = kept.reduce((sum, { byteLength }) => sum + byteLength, 0);
    return { ...spawnFigures(samplesMs), bufferBytes, pinnedBytes: 0, degraded: [] };
  }
  const subject = await openEngine(reads, target, { bytes: task.bytes });
  try {
    const buffers = cut(subject.arena, REQUEST_BYTES);
    let pinnedBytes = 0;
    const samplesMs = await spawnTimes(task.times, async (turn) => {
      // Each turn uses another part of the arena, twice, because a chunk gets its lease on its second use.
      const some = spread(buffers.slice(turn).concat(buffers.slice(0, turn)), 256);
      for (let i = 0; i < 2; i++)
        await Promise.all(some.map((buffer, n) => subject.file.read(buffer, { position: n * REQUEST_BYTES })));
      pinnedBytes = Math.max(pinnedBytes, (await probe()).pinnedBytes);
    });
    const { degraded } = subject.engine.stats();
    return { ...spawnFigures(samplesMs), bufferBytes: task.bytes, pinnedBytes, degraded };
  } finally {
    await subject.close();
  }
}

async function spawnTimes(times: number, before: (turn: number) => Promise<void>): Promise<readonly number[]> {
  const samplesMs: number[] = [];
  const began = performance.now();
  for (let turn = 0; turn <= times; turn++) {
    if (turn > MIN_SPAWNS && performance.now() - began > SPAWNS_LAST_MS) break;
    await before(turn);
    const spawned = performance.now();
    const child = spawn("true", { stdio: "ignore" });
    const ms = performance.now() - spawned;
    await once(child, "exit");
    // The first start is left out, because it loads modules of Node's.
    if (turn > 0) samplesMs.push(Math.round(ms * 1000) / 1000);
  }
  return samplesMs;
}

function spawnFigures(samplesMs: readonly number[]): Pick<SpawnFigures, "medianMs" | "samplesMs"> {
  const sorted = [...samplesMs].sort((a, b) => a - b);
  return { medianMs: sorted[Math.floor(sorted.length / 2)]!, samplesMs };
}
