/** Runs jobs: in stages that a stonewall ends, each job on a thread of its own. */

import { setTimeout as sleep } from "node:timers/promises";
import { DiskWatch } from "./disk-use.js";
import { errnoText } from "./io-ports.js";
import type { FileExtent, Invocation, Job } from "./job.js";
import { shownPlace } from "./job-error.js";
import { JobHandle } from "./job-handle.js";
import { type ReportedRun, reportOf } from "./jobs-report.js";
import { layFiles, planFiles, preRead, removeFiles } from "./lay-files.js";

export interface RunHooks {
  /** Told what goes on. */
  info(line: string): void;
  /** Told what's wrong. */
  complain(line: string): void;
  /** Told when the jobs begin, with those of the run, in order. */
  began(handles: readonly JobHandle[]): void;
  /** Figures so far, every `--status-interval`. */
  status(report: ReportedRun): void;
}

export async function runJobs(invocation: Invocation, signal: AbortSignal, hooks: RunHooks): Promise<ReportedRun> {
  const plan = planFiles(invocation.jobs, invocation.allowMountedWrite);
  const made: string[] = [];
  for (const job of invocation.jobs) {
    made.push(...(await lay(job, plan.get(job)!, signal, hooks)));
    await preRead(job, plan.get(job)!);
  }
  const jobs = invocation.jobs.filter(({ createOnly }) => !createOnly);
  const disks = new DiskWatch([...plan.values()].flat().map(({ path }) => path));
  const began = performance.now();
  const handles: JobHandle[] = [];
  const report = (): ReportedRun => reportOf(handles, disks.use(), invocation, (performance.now() - began) / 1e3);
  const stop = (): void => {
    for (const handle of handles) handle.stop();
  };
  signal.addEventListener("abort", stop, { once: true });
  const status = startStatus(invocation.statusIntervalMs, handles, () => hooks.status(report()));
  try {
    for (const stage of stagesOf(jobs)) {
      if (signal.aborted) break;
      const added = stage.map((job) => new JobHandle(job, plan.get(job)!, hooks.complain));
      handles.push(...added);
      if (signal.aborted) stop();
      hooks.began(handles);
      await Promise.all(added.map((handle) => runOne(handle, handles, added, began, signal)));
    }
  } finally {
    clearInterval(status);
    signal.removeEventListener("abort", stop);
  }
  await clean(handles, plan, made);
  tellFailures(handles, hooks);
  return report();
}

/** Removes files as `unlink` says, and what was made for jobs if none of them could begin. */
async function clean(
  handles: readonly JobHandle[],
  plan: ReadonlyMap<Job, readonly FileExtent[]>,
  made: readonly string[],
): Promise<void> {
  for (const { job } of handles) if (job.unlink) await removeFiles(plan.get(job)!.map(({ path }) => path));
  if (handles.length > 0 && handles.every(({ refused }) => refused !== null)) await removeFiles(made);
}

function tellFailures(handles: readonly JobHandle[], { complain }: RunHooks): void {
  for (const { job, outcome, refused } of handles) {
    const error = outcome?.error ?? 0;
    if (refused !== null) complain(`${shownPlace(job.place)}: ${job.name}: ${refused}`);
    else if (error !== 0) complain(`${job.name}: err=${error}, error=${errnoText(error)}`);
  }
}

async function lay(
  job: Job,
  extents: readonly FileExtent[],
  signal: AbortSignal,
  hooks: RunHooks,
): Promise<readonly string[]> {
  const { made, files, bytes } = await layFiles(job, extents, signal);
  const plural = files === 1 ? "file" : "files";
  const total = files > 1 ? " total" : "";
  if (files > 0)
    hooks.info(`${job.name}: Laying out IO ${plural} (${files} ${plural} /${total} ${Math.floor(bytes / 2 ** 20)}MiB)`);
  return made;
}

/** Jobs that run side by side. A stonewall is of the first thread of a job, and waits for all before it. */
function stagesOf(jobs: readonly Job[]): Job[][] {
  const stages: Job[][] = [];
  for (const job of jobs) {
    if (stages.length === 0 || (job.stonewall && job.subjobNumber === 0)) stages.push([]);
    stages.at(-1)!.push(job);
  }
  return stages;
}

async function runOne(
  handle: JobHandle,
  all: readonly JobHandle[],
  stage: readonly JobHandle[],
  began: number,
  signal: AbortSignal,
): Promise<void> {
  const { job } = handle;
  await Promise.all(stage.map(({ ready }) => ready));
  const { min, max } = job.startDelayUs;
  const delayMs = (min + Math.random() * (max - min)) / 1e3 - (performance.now() - began);
  if (max > 0 && delayMs > 0) await sleep(delayMs, undefined, { signal }).catch(() => {});
  if (job.waitFor !== null)
    await Promise.all(all.filter((other) => other.job.name === job.waitFor).map(({ ended }) => ended));
  if (handle.state === "waiting") handle.go();
  await handle.ended;
  const hasFailed = handle.refused !== null || (handle.outcome?.error ?? 0) !== 0;
  if (!job.exitAll && !(job.exitAllOnError && hasFailed)) return;
  for (const other of all) if (other.job.groupId === job.groupId) other.stop();
}

function startStatus(everyMs: number, handles: readonly JobHandle[], tell: () => void): NodeJS.Timeout | undefined {
  if (everyMs === 0) return undefined;
  return setInterval(() => {
    void Promise.all(handles.map((handle) => handle.refresh())).then(tell);
  }, everyMs);
}
