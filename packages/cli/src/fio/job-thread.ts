/** The thread of one job: opens its files, says that it's ready, and runs it once it's told to. */

import { parentPort, workerData } from "node:worker_threads";
import { type IoPort, openPort } from "./io-ports.js";
import type { Direction, Job } from "./job.js";
import { JobRun } from "./job-run.js";
import { JobLogs } from "./log-files.js";
import type { FromJob, JobOrder, JobOutcome, MemoryEventCounts, ToJob } from "./run-messages.js";
import { addUsage, threadUsage } from "./thread-usage.js";
import { startMemoryEvents } from "./timed-memory-events.js";

const { job, extents, control } = workerData as JobOrder;

function post(message: FromJob): void {
  parentPort!.postMessage(message);
}

/** Takes a sample of each figure every so often; returns what ends that. */
function startSampling(run: JobRun, { bwAvgTimeMs, iopsAvgTimeMs, disableBw, directions, logAvgMs }: Job): () => void {
  const isLogged = job.writeBwLog !== null || job.writeIopsLog !== null;
  const atMostMs = isLogged && logAvgMs > 0 ? logAvgMs : Number.POSITIVE_INFINITY;
  const sampling = (figure: "bw" | "iops", everyMs: number): NodeJS.Timeout => {
    const before: Record<Direction, number> = { read: 0, write: 0, trim: 0 };
    let beforeMs = performance.now();
    return setInterval(() => {
      const nowMs = performance.now();
      for (const direction of new Set<Direction>([...directions, "read"]))
        before[direction] = run.sample(direction, figure, before[direction], nowMs - beforeMs);
      beforeMs = nowMs;
    }, everyMs);
  };
  const timers = disableBw
    ? []
    : [sampling("bw", Math.min(bwAvgTimeMs, atMostMs)), sampling("iops", Math.min(iopsAvgTimeMs, atMostMs))];
  const hasMinimum = (direction: Direction): boolean => job.rateMin[direction] + job.rateIopsMin[direction] > 0;
  for (const direction of directions.filter(hasMinimum)) timers.push(watchMinimum(run, direction));
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
}

function watchMinimum(run: JobRun, direction: Direction): NodeJS.Timeout {
  let before = { bytes: 0, ios: 0 };
  let beforeMs = performance.now();
  return setInterval(() => {
    const nowMs = performance.now();
    run.checkMinimum(direction, before, nowMs - beforeMs);
    const { bytes, ios } = run.statistics[direction];
    before = { bytes, ios };
    beforeMs = nowMs;
  }, job.rateCycleMs);
}

async function begin(port: IoPort, made: (run: JobRun) => void): Promise<void> {
  const beganMs = performance.now();
  const before = threadUsage();
  const wantsLogs = job.writeLatLog !== null || job.writeBwLog !== null || job.writeIopsLog !== null;
  const logs = wantsLogs ? new JobLogs(job, beganMs) : null;
  const run = new JobRun(job, extents, port, control, logs, beganMs, (line) => post({ kind: "line", line }));
  made(run);
  const memory = startMemoryEvents(job, port.arena);
  const outcome = (counts: readonly MemoryEventCounts[]): JobOutcome => {
    const statistics = structuredClone(run.statistics);
    addUsage(statistics, before);
    statistics.totalMs = Math.floor(performance.now() - beganMs);
    return { statistics, error: run.error, way: port.way, engine: port.stats(), memoryEvents: counts };
  };
  parentPort!.on("message", (message: ToJob) => {
    if (message === "status") post({ kind: "status", outcome: outcome(memory.counts) });
  });
  const endSampling = startSampling(run, job);
  await run.run();
  endSampling();
  await memory.end();
  logs?.close(performance.now());
  const last = outcome(memory.counts);
  await port.close();
  post({ kind: "outcome", outcome: last });
}

async function main(): Promise<void> {
  let run: JobRun | null = null;
  const port = await openPort(job, extents, (slot, errno, bytes) => run!.completed(slot, errno, bytes));
  parentPort!.once("message", () => {
    begin(port, (made) => {
      run = made;
    }).then(() => parentPort!.close(), refuse);
  });
  post({ kind: "ready" });
}

function refuse(error: unknown): void {
  post({ kind: "refused", reason: error instanceof Error ? error.message : String(error) });
  parentPort!.close();
}

main().catch(refuse);
