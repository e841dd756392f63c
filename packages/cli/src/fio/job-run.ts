/** The run of one job on its thread: issues its requests, as many at a time as `iodepth` says, and measures them. */

import { Accesses } from "./accesses.js";
import { IoBuffers } from "./io-buffers.js";
import type { IoPort } from "./io-ports.js";
import type { Access, Direction, FileExtent, Job } from "./job.js";
import {
  addBatch,
  addDepth,
  addLatency,
  addLatencyClass,
  emptyStatistics,
  type JobStatistics,
} from "./job-statistics.js";
import type { JobLogs } from "./log-files.js";
import { Pacing } from "./pacing.js";
import type { JobControl } from "./run-messages.js";
import { addSample } from "./samples.js";
import { Verifier } from "./verify.js";

const EIO = 5;
const EILSEQ = 84;
const ETIMEDOUT = 110;
/** Longest time that requests without a wait in between keep the event loop from its timers. */
const UNBROKEN_MS = 10;

type Phase = "io" | "verify";

export class JobRun {
  statistics: JobStatistics = emptyStatistics();
  /** Errno for which the job fails, positive; 0 for none. */
  error = 0;
  readonly #job: Job;
  readonly #control: JobControl;
  readonly #logs: JobLogs | null;
  readonly #report: (line: string) => void;
  readonly #port: IoPort;
  readonly #extents: readonly FileExtent[];
  readonly #accesses: Accesses;
  /** The same accesses once more, for reading back what was written; it stays one pass behind. */
  readonly #replay: Accesses | null;
  readonly #buffers: IoBuffers;
  readonly #verifier: Verifier | null;
  readonly #pacing: Pacing | null;
  /** Number of free slots that it takes for new requests to be issued (iodepth_low, iodepth_batch and its kind). */
  readonly #refillAt: number;
  readonly #beganMs: number;
  readonly #deadlineMs: number;
  readonly #measuresSlat: boolean;
  readonly #measuresClat: boolean;
  readonly #measuresLat: boolean;
  #rampEndMs: number;
  #phase: Phase = "io";
  #phaseBeganMs = 0;
  // Slots
  readonly #free: Int32Array;
  #freeCount: number;
  readonly #startMs: Float64Array;
  readonly #issueMs: Float64Array;
  readonly #slotAccess: readonly Access[];
  // Progress
  readonly #access: Access = { direction: "read", file: 0, offset: 0, bytes: 0 };
  #hasNext = false;
  #inFlight = 0;
  #isFilling = false;
  #isResting = false;
  #ended = true;
  #resolve = (): void => {};
  #issued = 0;
  #writesOfPass = 0;
  #writesSinceSync = 0;
  #syncDue = false;
  #thinkDue = false;
  #completedSince = 0;
  #mustStop = false;

  constructor(
    job: Job,
    extents: readonly FileExtent[],
    port: IoPort,
    control: JobControl,
    logs: JobLogs | null,
    beganMs: number,
    report: (line: string) => void,
  ) {
    this.#job = job;
    this.#port = port;
    this.#control = control;
    this.#logs = logs;
    this.#report = report;
    this.#extents = extents;
    this.#accesses = new Accesses(job, extents);
    const writes = job.directions.includes("write");
    this.#replay = writes && job.verify !== null && job.doVerify ? new Accesses(job, extents) : null;
    this.#buffers = new IoBuffers(job);
    this.#verifier = job.verify === null ? null : new Verifier(job);
    const pacing = new Pacing(job);
    this.#pacing = pacing.isNeeded ? pacing : null;
    const { depth } = port;
    const { ioDepthBatch, ioDepthBatchCompleteMin, ioDepthLow } = job;
    this.#refillAt = Math.min(depth, Math.max(1, ioDepthBatch, ioDepthBatchCompleteMin, depth - ioDepthLow));
    this.#beganMs = beganMs;
    this.#rampEndMs = job.rampTimeUs > 0 ? beganMs + job.rampTimeUs / 1e3 : 0;
    this.#deadlineMs = job.runtimeUs > 0 ? beganMs + (job.rampTimeUs + job.runtimeUs) / 1e3 : Number.POSITIVE_INFINITY;
    this.#measuresSlat = !job.disableSlat && !job.gtodReduce && !port.isSynchronous;
    this.#measuresClat = !job.disableClat && !job.gtodReduce;
    this.#measuresLat = !job.disableLat && !job.gtodReduce;
    this.#free = Int32Array.from({ length: depth }, (_, slot) => depth - 1 - slot);
    this.#freeCount = depth;
    this.#startMs = new Float64Array(depth);
    this.#issueMs = new Float64Array(depth);
    this.#slotAccess = Array.from({ length: depth }, () => ({ direction: "read", file: 0, offset: 0, bytes: 0 }));
  }

  /** Runs all passes of the job. What failed is in `statistics`. */
  async run(): Promise<void> {
    const { loops, timeBased, runtimeUs, endFsync, fsyncOnClose } = this.#job;
    const isEndless = timeBased && runtimeUs > 0;
    for (let pass = 0; (isEndless || pass < loops) && !this.#mustEnd(performance.now()); pass++) {
      if (pass > 0) this.#accesses.restart();
      this.#writesOfPass = 0;
      const before = this.#issued;
      await this.#run("io");
      if (this.#issued === before) break;
      if (this.#writesOfPass > 0 && (endFsync || fsyncOnClose)) await this.#syncAll();
      if (this.#replay === null || this.#mustEnd(performance.now())) continue;
      if (pass > 0) this.#replay.restart();
      await this.#run("verify");
    }
  }

  /** True once no request may be issued any more. */
  #mustEnd(nowMs: number): boolean {
    return nowMs >= this.#deadlineMs || this.#mustStop || Atomics.load(this.#control.stop, 0) !== 0;
  }

  async #run(phase: Phase): Promise<void> {
    this.#phase = phase;
    this.#phaseBeganMs = performance.now();
    this.#ended = false;
    this.#hasNext = false;
    const { read, write } = this.statistics;
    const [readIos, writeIos] = [read.ios, write.ios];
    await new Promise<void>((resolve) => {
      this.#resolve = resolve;
      this.#refill();
    });
    const elapsedMs = Math.max(1, Math.ceil(performance.now() - this.#phaseBeganMs));
    if (this.statistics.read.ios !== readIos) this.statistics.read.runtimeMs += elapsedMs;
    if (this.statistics.write.ios !== writeIos) this.statistics.write.runtimeMs += elapsedMs;
  }

  /** Issues requests until the queue is full, or something is to be waited for. */
  readonly #refill = (): void => {
    if (this.#isFilling || this.#isResting) return;
    this.#isFilling = true;
    const until = this.#port.isSynchronous ? performance.now() + UNBROKEN_MS : 0;
    let submitted = 0;
    while (this.#freeCount > 0 && this.#issue()) {
      submitted++;
      if (until > 0 && this.#issueMs[0]! > until) {
        this.#rest((resume) => setImmediate(resume));
        break;
      }
    }
    this.#isFilling = false;
    if (submitted > 0) this.#countBatches(submitted);
    if (this.#inFlight > 0 || this.#isResting) return;
    if (this.#ended) this.#resolve();
    else if (this.#syncDue) this.#rest((resume) => void this.#sync(resume));
    else if (this.#thinkDue) this.#rest((resume) => setTimeout(resume, this.#pacing?.think()));
  };

  /** Issues nothing until `resume` is called. */
  #rest(start: (resume: () => void) => void): void {
    this.#isResting = true;
    start(() => {
      this.#isResting = false;
      this.#syncDue = false;
      this.#thinkDue = false;
      this.#refill();
    });
  }

  #countBatches(submitted: number): void {
    const { statistics } = this;
    statistics.submitCalls++;
    addBatch(statistics.submits, submitted);
    if (this.#completedSince === 0) return;
    statistics.completeCalls++;
    addBatch(statistics.completes, this.#completedSince);
    this.#completedSince = 0;
  }

  /** Issues the next request; false if there is none, or if it has to wait. */
  #issue(): boolean {
    if (this.#ended || this.#syncDue || this.#thinkDue) return false;
    const nowMs = performance.now();
    if (this.#mustEnd(nowMs) || (!this.#hasNext && !this.#next())) {
      this.#ended = true;
      return false;
    }
    const access = this.#access;
    if (this.#pacing !== null && this.#phase === "io") {
      const waitMs = this.#pacing.waitMs(access, nowMs - this.#beganMs);
      this.#hasNext = waitMs > 0;
      if (waitMs > 0) {
        this.#rest((resume) => setTimeout(resume, Math.min(waitMs, Math.max(0, this.#deadlineMs - nowMs))));
        return false;
      }
      this.#thinkDue = this.#pacing.issued(access);
    }
    this.#hasNext = false;
    const slot = this.#free[--this.#freeCount]!;
    const kept = this.#slotAccess[slot]!;
    kept.direction = access.direction;
    kept.file = access.file;
    kept.offset = access.offset;
    kept.bytes = access.bytes;
    const isWrite = access.direction === "write";
    if (isWrite) this.#prepareWrite(slot, kept);
    this.#issued++;
    this.#inFlight++;
    addDepth(this.statistics, this.#inFlight);
    this.#startMs[slot] = nowMs;
    this.#issueMs[slot] = nowMs;
    this.#port.submit(isWrite, slot, kept.file, kept.offset, kept.bytes);
    // A synchronous port has completed it by now.
    if (this.#measuresSlat) this.#issueMs[slot] = performance.now();
    return true;
  }

  #prepareWrite(slot: number, access: Access): void {
    const { fsync, fdatasync } = this.#job;
    this.#writesOfPass++;
    this.#buffers.fill(this.#port.view(slot, access.bytes), access);
    if (fsync === 0 && fdatasync === 0) return;
    this.#writesSinceSync++;
    const every = fsync > 0 ? fsync : fdatasync;
    if (this.#writesSinceSync % every === 0) this.#syncDue = true;
  }

  /** Advances to the next access. */
  #next(): boolean {
    const { numberIos, loops, timeBased, runtimeUs } = this.#job;
    if (this.#phase === "verify") return this.#nextToVerify();
    if (numberIos > 0 && this.#issued >= numberIos * loops) return false;
    if (this.#accesses.next(this.#access)) return true;
    if (!timeBased || runtimeUs === 0 || this.#replay !== null) return false;
    this.#accesses.restart();
    return this.#accesses.next(this.#access);
  }

  #nextToVerify(): boolean {
    while (this.#writesOfPass > 0 && this.#replay?.next(this.#access) === true) {
      if (this.#access.direction !== "write") continue;
      this.#writesOfPass--;
      this.#access.direction = "read";
      return true;
    }
    return false;
  }

  /** Ends a request. */
  readonly completed = (slot: number, errno: number, bytes: number): void => {
    const nowMs = performance.now();
    const access = this.#slotAccess[slot]!;
    this.#inFlight--;
    this.#completedSince++;
    if (errno !== 0) this.#failed(access, -errno);
    else this.#count(slot, access, bytes, nowMs);
    if (errno === 0 && access.direction === "read" && this.#verifier !== null) this.#check(slot, access);
    this.#free[this.#freeCount++] = slot;
    if (this.#freeCount >= this.#refillAt || this.#inFlight === 0 || this.#ended) this.#refill();
  };

  #count(slot: number, { direction, offset, bytes: wanted }: Access, bytes: number, nowMs: number): void {
    if (this.#rampEndMs > 0) this.#endRamp(nowMs);
    const { statistics } = this;
    const of = statistics[direction];
    of.bytes += bytes;
    of.ios++;
    if (bytes !== wanted) this.#short(direction, bytes);
    const { progress } = this.#control;
    progress[direction === "read" ? 0 : 1]! += bytes;
    progress[direction === "read" ? 2 : 3]!++;
    const start = this.#startMs[slot]!;
    const issue = this.#issueMs[slot]!;
    const lat = Math.round((nowMs - start) * 1e6);
    if (this.#measuresSlat) addLatency(of.slat, Math.round((issue - start) * 1e6));
    if (this.#measuresClat) addLatency(of.clat, Math.round((nowMs - issue) * 1e6));
    if (this.#measuresLat) addLatency(of.lat, lat);
    if (this.#measuresLat || this.#measuresClat) addLatencyClass(statistics, lat);
    const { maxLatencyNs } = this.#job;
    if (maxLatencyNs > 0 && lat > maxLatencyNs)
      this.#fail(direction, ETIMEDOUT, `latency of ${lat} nsec exceeds max_latency (${maxLatencyNs} nsec)`);
    if (this.#logs !== null) this.#log(direction, offset, bytes, nowMs, start, issue);
  }

  #log(direction: Direction, offset: number, bytes: number, nowMs: number, start: number, issue: number): void {
    const logs = this.#logs!;
    if (this.#measuresSlat) logs.slat?.add(direction, nowMs, Math.round((issue - start) * 1e6), bytes, offset);
    logs.clat?.add(direction, nowMs, Math.round((nowMs - issue) * 1e6), bytes, offset);
    logs.lat?.add(direction, nowMs, Math.round((nowMs - start) * 1e6), bytes, offset);
    if (this.#job.logAvgMs > 0) return;
    logs.bw?.add(direction, nowMs, Math.round((bytes * 1000) / 1024 / Math.max(1e-3, nowMs - start)), bytes, offset);
    logs.iops?.add(direction, nowMs, 1, bytes, offset);
  }

  /** Adds a sample of the bandwidth or of the IOPS since the one before. */
  sample(direction: Direction, figure: "bw" | "iops", before: number, spentMs: number): number {
    const of = this.statistics[direction];
    const now = figure === "bw" ? of.bytes : of.ios;
    // The end of the ramp has begun new figures.
    if (now <= before || spentMs <= 0 || this.#rampEndMs > 0) return now;
    const rate = ((now - before) * 1000) / spentMs;
    const value = Math.floor(figure === "bw" ? rate / 1024 : rate);
    addSample(of[figure], value);
    const { min, max } = this.#job.blockSize[direction];
    if (this.#job.logAvgMs > 0)
      this.#logs?.[figure]?.add(direction, performance.now(), value, min === max ? min : 0, 0);
    return now;
  }

  /** Fails the job if it has done less than rate_min and rate_iops_min ask for, since figures of a while ago. */
  checkMinimum(direction: Direction, before: { bytes: number; ios: number }, spentMs: number): void {
    const { bytes, ios } = this.statistics[direction];
    const { rateMin, rateIopsMin } = this.#job;
    const isSlow = ((bytes - before.bytes) * 1000) / spentMs < rateMin[direction];
    const isRare = ((ios - before.ios) * 1000) / spentMs < rateIopsMin[direction];
    if ((isSlow || isRare) && this.#rampEndMs === 0 && !this.#ended)
      this.#fail(direction, EIO, `the ${direction} rate is below the minimum of the job`);
  }

  #endRamp(nowMs: number): void {
    if (nowMs < this.#rampEndMs) return;
    this.#rampEndMs = 0;
    this.#phaseBeganMs = nowMs;
    this.statistics = emptyStatistics();
  }

  #short(direction: Direction, bytes: number): void {
    this.statistics[direction].short++;
    // As in fio, a request that moved nothing has failed: the file is shorter than the job takes it to be.
    if (bytes === 0) this.#fail(direction, EIO, "a request at the file's end moved no bytes");
  }

  #failed({ direction, file, offset, bytes }: Access, errno: number): void {
    const path = this.#extents[file]!.path;
    this.#fail(direction, errno, `io_u error on file ${path}: ${direction} offset=${offset}, buflen=${bytes}`);
  }

  #check(slot: number, access: Access): void {
    if (this.#phase === "io" && this.#job.directions.includes("write")) return;
    const miss = this.#verifier!.check(this.#port.view(slot, access.bytes), access);
    if (miss !== null) this.#fail("verify", EILSEQ, miss);
  }

  #fail(kind: Direction | "verify", errno: number, text: string): void {
    const { continueOnError, verifyFatal } = this.#job;
    const isTolerated =
      continueOnError === "all" || continueOnError === kind || (continueOnError === "io" && kind !== "verify");
    if (!isTolerated && this.error === 0) this.error = errno;
    // Without verify_fatal everything is checked, and the job fails at the end.
    if (!isTolerated && (kind !== "verify" || verifyFatal)) this.#mustStop = true;
    this.statistics.errors++;
    if (this.statistics.firstError === 0) this.statistics.firstError = errno;
    this.#report(text);
  }

  async #sync(resume: () => void): Promise<void> {
    const all = this.#job.fsync > 0;
    await this.#timedSync(this.#access.file, all);
    resume();
  }

  async #syncAll(): Promise<void> {
    for (const file of this.#extents.keys()) await this.#timedSync(file, true);
  }

  async #timedSync(file: number, all: boolean): Promise<void> {
    const start = performance.now();
    try {
      await this.#port.sync(file, all);
    } catch (error) {
      this.#fail("write", -((error as NodeJS.ErrnoException).errno ?? -EIO), (error as Error).message);
    }
    this.statistics.sync.ios++;
    addLatency(this.statistics.sync.lat, Math.round((performance.now() - start) * 1e6));
  }
}
