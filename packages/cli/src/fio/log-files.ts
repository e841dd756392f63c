/** fio's logs of latency, bandwidth and IOPS: a line for each request, or for a window of `log_avg_msec`. */

import { closeSync, openSync, writeSync } from "node:fs";
import { DIRECTIONS, type Direction, type Job } from "./job.js";
import { addSample, emptySpread, type Spread } from "./samples.js";

/** Text that is kept in memory before it's written. */
const KEPT_CHARACTERS = 64 << 10;

/** One log. It keeps no more than a window of each direction, and text for one write. */
export class LogFile {
  readonly #job: Job;
  readonly #fd: number;
  readonly #beganMs: number;
  readonly #windows: Readonly<Record<Direction, Spread>> = {
    read: emptySpread(),
    write: emptySpread(),
    trim: emptySpread(),
  };
  readonly #windowMs: Record<Direction, number> = { read: 0, write: 0, trim: 0 };
  #text = "";

  /** Opens `<prefix>_<kind>.<number>.log`; null if the job has no prefix for it. */
  static of(job: Job, prefix: string | null, kind: string, beganMs: number): LogFile | null {
    if (prefix === null) return null;
    const number = job.perJobLogs ? `.${job.threadNumber + 1}` : "";
    return new LogFile(job, `${prefix}_${kind}${number}.log`, beganMs);
  }

  private constructor(job: Job, path: string, beganMs: number) {
    this.#job = job;
    this.#beganMs = beganMs;
    this.#fd = openSync(path, job.perJobLogs ? "w" : "a");
  }

  add(direction: Direction, nowMs: number, value: number, bytes: number, offset: number): void {
    const sinceMs = Math.floor(nowMs - this.#beganMs);
    const { logAvgMs } = this.#job;
    if (logAvgMs === 0) {
      this.#line(direction, sinceMs, value, bytes, offset);
      return;
    }
    addSample(this.#windows[direction], value);
    if (sinceMs - this.#windowMs[direction] < logAvgMs) return;
    this.#endWindow(direction, sinceMs);
    this.#windowMs[direction] = sinceMs - (sinceMs % logAvgMs);
  }

  #endWindow(direction: Direction, sinceMs: number): void {
    const window = this.#windows[direction];
    if (window.samples === 0) return;
    this.#line(direction, sinceMs, this.#job.logMaxValue ? window.max : Math.floor(window.mean + 0.5), 0, 0);
    Object.assign(window, emptySpread());
  }

  #line(direction: Direction, sinceMs: number, value: number, bytes: number, offset: number): void {
    const timeMs = this.#job.logUnixEpoch ? Math.floor(performance.timeOrigin + this.#beganMs + sinceMs) : sinceMs;
    const place = this.#job.logOffset ? `, ${offset}` : "";
    this.#text += `${timeMs}, ${value}, ${DIRECTIONS.indexOf(direction)}, ${bytes}${place}, 0\n`;
    if (this.#text.length >= KEPT_CHARACTERS) this.#write();
  }

  #write(): void {
    writeSync(this.#fd, this.#text);
    this.#text = "";
  }

  close(nowMs: number): void {
    for (const direction of DIRECTIONS) this.#endWindow(direction, Math.floor(nowMs - this.#beganMs));
    this.#write();
    closeSync(this.#fd);
  }
}

/** The logs that a job asks for. */
export class JobLogs {
  readonly slat: LogFile | null;
  readonly clat: LogFile | null;
  readonly lat: LogFile | null;
  readonly bw: LogFile | null;
  readonly iops: LogFile | null;

  constructor(job: Job, beganMs: number) {
    this.slat = job.disableSlat ? null : LogFile.of(job, job.writeLatLog, "slat", beganMs);
    this.clat = job.disableClat ? null : LogFile.of(job, job.writeLatLog, "clat", beganMs);
    this.lat = job.disableLat ? null : LogFile.of(job, job.writeLatLog, "lat", beganMs);
    this.bw = LogFile.of(job, job.writeBwLog, "bw", beganMs);
    this.iops = LogFile.of(job, job.writeIopsLog, "iops", beganMs);
  }

  close(nowMs: number): void {
    for (const log of [this.slat, this.clat, this.lat, this.bw, this.iops]) log?.close(nowMs);
  }
}
