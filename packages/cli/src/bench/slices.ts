/**
 * Runs the slices of a load. Engines and files stay open between slices, because opening takes as long as a slice, and
 * a program that has just opened its files isn't what should be measured. Storms use an engine of their own, because
 * they leave broken registrations behind.
 */

import type { RecordableHistogram } from "node:perf_hooks";
import { measure, readByEngine, readByNode } from "./bench-load.js";
import type { Configuration, EngineReads, NodeReads } from "./configurations.js";
import { newTallies, startStorm, stormFigures } from "./harms/storm.js";
import { latencyFigures, Meter, newLatency } from "./meter.js";
import type { LoadFigures } from "./report-schema.js";
import { type BenchLayout, type EngineSubject, layOut, type NodeSubject, openEngine, openNode } from "./subject.js";
import type { LoadTask, StormTask, Target } from "./worker-protocol.js";

/** An open engine or file with an arena laid out for it. */
interface Opened {
  readonly subject: EngineSubject;
  readonly layout: BenchLayout;
}

const engines = new Map<"quiet" | "storm", Promise<Opened>>();
const nodes = new Map<number, Promise<NodeSubject>>();
const latencies = new Map<string, RecordableHistogram>();
const tallies = newTallies();

export async function slice(reads: Configuration["reads"], target: Target, task: LoadTask): Promise<LoadFigures> {
  const key = `${task.requestBytes} ${task.storm !== null}`;
  const first = !latencies.has(key);
  const latency = latencies.get(key) ?? newLatency();
  latencies.set(key, latency);
  const warmMs = first ? task.firstWarmMs : task.warmMs;
  const warmed = { ...task, warmMs };
  return reads.by === "engine"
    ? sliceByEngine(reads, target, warmed, latency)
    : sliceByNode(reads, target, warmed, latency);
}

async function sliceByEngine(
  reads: EngineReads,
  target: Target,
  { requestBytes, warmMs, ms, storm }: LoadTask,
  latency: RecordableHistogram,
): Promise<LoadFigures> {
  const { subject, layout } = await openedEngine(reads, target, storm);
  const { arena, file } = subject;
  const buffers = layout.buffers.get(requestBytes);
  if (buffers === undefined) throw new Error(`there are no buffers of ${requestBytes} bytes`);
  const meter = new Meter(target, requestBytes, buffers, latency);
  const reading = readByEngine(subject.engine, file, buffers, meter);
  const blowing = storm === null ? null : startStorm(arena, layout.chunks, storm.everyMs, storm.noSwap, tallies);
  const measured = await measure(reading, meter, warmMs, ms).finally(() => blowing?.stop());
  return {
    ...measured,
    readsChecked: meter.readsChecked,
    readsLost: meter.readsLost,
    latency: latencyFigures(latency),
    storm: storm === null ? null : stormFigures(tallies, storm.noSwap),
    waits: storm === null ? null : tallies.waits.figures(),
    ran: subject.ran(),
  };
}

function openedEngine(reads: EngineReads, target: Target, storm: StormTask | null): Promise<Opened> {
  const forWhat = storm === null ? "quiet" : "storm";
  const opened = engines.get(forWhat) ?? openLaidOut(reads, target, storm?.trace ?? null);
  engines.set(forWhat, opened);
  return opened;
}

async function openLaidOut(reads: EngineReads, target: Target, trace: string | null): Promise<Opened> {
  const subject = await openEngine(reads, target, { trace });
  return { subject, layout: layOut(subject.arena) };
}

async function sliceByNode(
  reads: NodeReads,
  target: Target,
  { requestBytes, warmMs, ms }: LoadTask,
  latency: RecordableHistogram,
): Promise<LoadFigures> {
  const opening = nodes.get(requestBytes) ?? openNode(reads, target, requestBytes);
  nodes.set(requestBytes, opening);
  const subject = await opening;
  const meter = new Meter(target, requestBytes, subject.buffers, latency);
  const measured = await measure(readByNode(subject.handle, subject.buffers, meter), meter, warmMs, ms);
  return {
    ...measured,
    readsChecked: meter.readsChecked,
    readsLost: meter.readsLost,
    latency: latencyFigures(latency),
    storm: null,
    waits: null,
    ran: subject.ran(),
  };
}
