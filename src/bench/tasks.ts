/** What a worker process does for its configuration. Each task opens what it needs and closes it: pins are those of the task alone. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import type { RecordableHistogram } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { probe } from "../index.js";
import type { Configuration, EngineReads } from "./configurations.js";
import type { LoadFigures, LossesFigures, RestFigures, SpawnFigures } from "./figures.js";
import { measure, readByEngine, readByNode } from "./load.js";
import { losses } from "./losses.js";
import { latencyFigures, Meter, newLatency } from "./meter.js";
import type { LoadTask, LossesTask, Request, RestTask, SpawnTask, Target } from "./protocol.js";
import { newTallies, startStorm, stormFigures } from "./storm.js";
import { ARENA_BYTES, chunksOf, cut, openEngine, openNode, spread } from "./subject.js";

/** Where one takes half a second, a few say enough. */
const MIN_SPAWNS = 3;
const SPAWNS_LAST_MS = 1500;
const LARGE_REQUEST_BYTES = 128 << 10;

/** What grows from slice to slice: percentiles are those of all of them. */
const latencies = new Map<string, RecordableHistogram>();
const tallies = newTallies();

export function perform({ configuration, target, task }: Request): Promise<unknown> {
  switch (task.kind) {
    case "load":
      return load(configuration, target, task);
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

async function load({ reads }: Configuration, target: Target, task: LoadTask): Promise<LoadFigures> {
  const key = `${task.requestBytes} ${task.storm !== null}`;
  const latency = latencies.get(key) ?? newLatency();
  latencies.set(key, latency);
  if (reads.by === "engine") return loadEngine(reads, target, task, latency);
  const subject = await openNode(reads, target, task.requestBytes);
  try {
    const meter = new Meter(target, task.requestBytes, subject.buffers, latency);
    const slice = await measure(readByNode(subject.handle, subject.buffers, meter), meter, task.warmMs, task.ms);
    const { readsChecked, readsLost } = meter;
    return {
      ...slice,
      readsChecked,
      readsLost,
      latency: latencyFigures(latency),
      storm: null,
      ran: await subject.ran(),
    };
  } finally {
    await subject.close();
  }
}

async function loadEngine(
  reads: EngineReads,
  target: Target,
  task: LoadTask,
  latency: RecordableHistogram,
): Promise<LoadFigures> {
  const subject = await openEngine(reads, target);
  try {
    const all = cut(subject.arena, task.requestBytes);
    const chunks = chunksOf(all, ARENA_BYTES);
    // Memory in use has content. Zeros are a special case for the kernel: it shares one page for all of them when it splits a huge page.
    for (const chunk of chunks) chunk.fill(0xa5);
    const buffers = spread(all);
    const meter = new Meter(target, task.requestBytes, buffers, latency);
    const reading = readByEngine(subject.file, buffers, meter);
    const { storm } = task;
    const blowing = storm === null ? null : startStorm(subject.arena, chunks, storm.everyMs, storm.noSwap, tallies);
    const slice = await measure(reading, meter, task.warmMs, task.ms).finally(() => blowing?.stop());
    const { readsChecked, readsLost } = meter;
    return {
      ...slice,
      readsChecked,
      readsLost,
      latency: latencyFigures(latency),
      storm: storm === null ? null : stormFigures(tallies, storm.noSwap),
      ran: await subject.ran(),
    };
  } finally {
    await subject.close();
  }
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
