/** What a worker process does for its configuration. What isn't a load opens what it needs and closes it: its pins are its own. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { probe } from "../index.js";
import type { Configuration, EngineReads } from "./configurations.js";
import type { LossesFigures, RestFigures, SpawnFigures } from "./figures.js";
import { readByEngine } from "./load.js";
import { losses } from "./losses.js";
import { Meter, newLatency } from "./meter.js";
import type { LossesTask, Request, RestTask, SpawnTask, Target } from "./protocol.js";
import { slice } from "./slices.js";
import { cut, openEngine, spread } from "./subject.js";

/** Where one takes half a second, a few say enough. */
const MIN_SPAWNS = 3;
const SPAWNS_LAST_MS = 1500;
const LARGE_REQUEST_BYTES = 128 << 10;

export function perform({ configuration, target, task }: Request): Promise<unknown> {
  switch (task.kind) {
    case "load":
      return slice(configuration.reads, target, task);
    case "losses":
      return findLosses(engineOf(configuration), target, task);
    case "rest":
      return rest(engineOf(configuration), target, task);
    case "spawn":
      return timeSpawn(configuration, target, task);
  }
}

function engineOf({ name, reads }: Configuration): EngineReads {
  if (reads.by !== "engine") throw new Error(`${name} has no engine`);
  return reads;
}

async function findLosses(reads: EngineReads, target: Target, task: LossesTask): Promise<LossesFigures> {
  const subject = await openEngine(reads, target);
  try {
    return await losses(subject.engine, subject.arena, subject.file, target, task);
  } finally {
    await subject.close();
  }
}

/** Pins while reads are on their way, and some time after the last one. */
async function rest(reads: EngineReads, target: Target, task: RestTask): Promise<RestFigures> {
  const subject = await openEngine(reads, target);
  try {
    const buffers = spread(cut(subject.arena, LARGE_REQUEST_BYTES));
    const meter = new Meter(target, LARGE_REQUEST_BYTES, buffers, newLatency());
    const reading = readByEngine(subject.file, buffers, meter);
    await sleep(task.ms);
    const pinnedBytesUnderLoad = (await probe()).pinnedBytes;
    await reading.stop();
    await sleep(task.afterMs);
    const pinnedBytesAtRest = (await probe()).pinnedBytes;
    const { pin } = subject.engine;
    const residencyMaxMs =
      pin === "lease" ? subject.engine.stats().leases.residencyMax : pinnedBytesAtRest > 0 ? null : 0;
    return { pinnedBytesUnderLoad, pinnedBytesAtRest, afterMs: task.afterMs, residencyMaxMs };
  } finally {
    await subject.close();
  }
}

/** How long starting a child process stops the event loop when there are so many buffers, which were read into just before. */
async function timeSpawn(configuration: Configuration, target: Target, task: SpawnTask): Promise<SpawnFigures> {
  const { reads } = configuration;
  if (reads.by === "node:fs") {
    const PIECE_BYTES = 64 << 20;
    const kept = Array.from({ length: task.bytes / PIECE_BYTES }, () => Buffer.alloc(PIECE_BYTES, 1));
    const samplesMs = await spawnTimes(task.times, async () => {});
    const bufferBytes = kept.reduce((sum, { byteLength }) => sum + byteLength, 0);
    return { ...spawnFigures(samplesMs), bufferBytes, pinnedBytes: 0, degraded: [] };
  }
  const subject = await openEngine(reads, target, task.bytes);
  try {
    const buffers = cut(subject.arena, LARGE_REQUEST_BYTES);
    let pinnedBytes = 0;
    const samplesMs = await spawnTimes(task.times, async (turn) => {
      // Another part of the arena each time; twice, since a chunk gets its lease with the second use.
      const some = spread(buffers.slice(turn).concat(buffers.slice(0, turn)), 256);
      for (let i = 0; i < 2; i++)
        await Promise.all(some.map((buffer, n) => subject.file.read(buffer, { position: n * LARGE_REQUEST_BYTES })));
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
    // The first one loads what Node needs for it.
    if (turn > 0) samplesMs.push(Math.round(ms * 1000) / 1000);
  }
  return samplesMs;
}

function spawnFigures(samplesMs: readonly number[]): Pick<SpawnFigures, "medianMs" | "samplesMs"> {
  const sorted = [...samplesMs].sort((a, b) => a - b);
  return { medianMs: sorted[Math.floor(sorted.length / 2)]!, samplesMs };
}
