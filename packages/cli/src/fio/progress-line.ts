/** fio's line about running jobs, on a terminal. */

import type { Invocation } from "./job.js";
import type { JobHandle } from "./job-handle.js";
import { shortText } from "./number-text.js";

const COLUMNS = 80;

/** Writes the line again and again; returns what ends that. */
export function showProgress(invocation: Invocation, handles: () => readonly JobHandle[]): () => void {
  const { eta, etaIntervalMs, etaNewlineMs } = invocation;
  const isTerminal = process.stdout.isTTY === true && process.stderr.isTTY === true;
  const isShown = eta === "always" || (eta === "auto" && isTerminal && invocation.output === null);
  if (!isShown) return () => {};
  let before = new Map<JobHandle, Float64Array>();
  let beforeMs = performance.now();
  const beganMs = beforeMs;
  let newlineMs = beforeMs;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const text = lineOf(handles(), before, nowMs - beforeMs, (nowMs - beganMs) / 1e3);
    const isNewline = etaNewlineMs > 0 && nowMs - newlineMs >= etaNewlineMs;
    if (isNewline) newlineMs = nowMs;
    process.stderr.write(`${text.padEnd(COLUMNS)}${isNewline ? "\n" : "\r"}`);
    before = new Map(handles().map((handle) => [handle, Float64Array.from(handle.control.progress)]));
    beforeMs = nowMs;
  }, etaIntervalMs);
  return () => {
    clearInterval(timer);
    if (isTerminal) process.stderr.write(`${" ".repeat(COLUMNS)}\r`);
  };
}

function lineOf(
  handles: readonly JobHandle[],
  before: ReadonlyMap<JobHandle, Float64Array>,
  spentMs: number,
  elapsedS: number,
): string {
  const running = handles.filter(({ state }) => state === "running");
  const went = (field: number): number =>
    handles.reduce((sum, each) => sum + each.control.progress[field]! - (before.get(each)?.[field] ?? 0), 0);
  const rate = (field: number, unit: string): string => shortText((went(field) * 1000) / spentMs, 4, unit !== "", unit);
  const shares = running.map((handle) => shareDone(handle));
  const share = shares.length === 0 ? 0 : Math.min(...shares);
  const leftS = share > 0 ? Math.ceil((elapsedS * (1 - share)) / share) : null;
  return (
    `Jobs: ${running.length} (f=${running.reduce((sum, { job }) => sum + job.files.length, 0)}): ` +
    `[${handles.map(letterOf).join("")}][${share > 0 ? `${(100 * share).toFixed(1)}%` : "-.-%"}]` +
    `[r=${rate(0, "B/s")},w=${rate(1, "B/s")}][r=${rate(2, "")},w=${rate(3, "")} IOPS]` +
    `[eta ${leftS === null ? "--" : timeLeft(leftS)}]`
  );
}

/** State of a job: waiting, ended, or the kind of its I/O, a small letter for random. */
function letterOf({ state, job }: JobHandle): string {
  if (state !== "running") return state === "waiting" ? "P" : "_";
  const letter = job.directions.length > 1 ? "M" : job.directions[0] === "write" ? "W" : "R";
  return job.isRandom ? letter.toLowerCase() : letter;
}

function shareDone({ job, startedAt, control }: JobHandle): number {
  const time = job.runtimeUs > 0 ? ((Date.now() - startedAt) * 1e3) / (job.rampTimeUs + job.runtimeUs) : 0;
  const bytes = job.ioSize?.bytes ?? job.size?.bytes ?? 0;
  const done = bytes > 0 && !job.timeBased ? (control.progress[0]! + control.progress[1]!) / (bytes * job.loops) : 0;
  return Math.min(1, Math.max(time, done));
}

function timeLeft(seconds: number): string {
  const two = (value: number): string => String(Math.floor(value)).padStart(2, "0");
  const hours = seconds >= 3600 ? `${two(seconds / 3600)}h:` : "";
  return `${hours}${two((seconds % 3600) / 60)}m:${two(seconds % 60)}s`;
}
