/**
 * Runs the comparison: each configuration in a process of its own. Slices alternate between them, so that changes of
 * the machine affect all alike.
 */

import { probe } from "pinless";
import { memoryNodes } from "pinless/internal";
import { isUnavailable } from "./bench-error.js";
import { LOADS, type LoadName, NO_TIME, RowInProgress } from "./collect.js";
import { CONFIGURATIONS, LEASE } from "./configurations.js";
import { hostHugePages } from "./harms/host-huge-pages.js";
import { availableMemoryBytes, describeMachine } from "./machine-facts.js";
import { IN_FLIGHT } from "./meter.js";
import { Progress } from "./progress.js";
import { verdict } from "./report/verdict.js";
import { FORMAT, type HostHuge, isSkipped, type Maybe, type Report } from "./report-schema.js";
import { prepareScratch } from "./scratch.js";
import { FULL, QUICK, type Sizes } from "./sizes.js";
import { BenchWorker } from "./worker.js";
import type { LoadTask, Target, Task, WorkerAnswer } from "./worker-protocol.js";

const MIB = 1 << 20;
const STORM_EVERY_MS = 10;
/** Twice as long as a lease lives without I/O. */
const REST_AFTER_MS = 100;
const REQUEST_BYTES: Record<LoadName, number> = { read4KiB: 4096, read128KiB: 128 << 10, storm4KiB: 4096 };
export interface Options {
  /** File to read instead of a scratch file. */
  readonly file: string | null;
  /** Duration, `MIN_SECONDS` to `MAX_SECONDS`. */
  readonly seconds: number;
  /** As short as possible: everything once, with little memory. */
  readonly quick: boolean;
  /** File for the trace of the leases under a storm; null for none. */
  readonly trace: string | null;
  readonly version: string;
  readonly signal: AbortSignal;
  /** Reports that `part`, from 0 to 1, is done. */
  progress(part: number, doing: string): void;
}

export interface Outcome {
  readonly report: Report;
  /** Parts that should have run and failed. */
  readonly failures: readonly string[];
}

/**
 * Runs all of it. Throws `UsageError` if it can't begin, and the signal's reason if it's aborted; cleans up in any
 * case.
 */
export async function runBench(options: Options): Promise<Outcome> {
  const { signal } = options;
  const sizes = options.quick ? QUICK : FULL;
  const began = performance.now();
  options.progress(0, "a file to read");
  const { swapActive } = await probe("/");
  const scratch = await prepareScratch(options.file, sizes.fileBytes, swapActive, signal);
  let run: BenchRun | null = null;
  try {
    const { filesystem } = await probe(scratch.target.path);
    const machine = await describeMachine(scratch);
    run = new BenchRun(options, sizes, { ...scratch.target, filesystem }, scratch.noSwap, began);
    await run.all();
    const rows = run.rows.map((row) => row.row());
    const report: Report = {
      pinless: options.version,
      format: FORMAT,
      machine,
      settings: {
        file: options.file ?? "scratch",
        fileBytes: scratch.target.bytes,
        filesystem,
        inFlight: IN_FLIGHT,
        sliceMs: sizes.sliceMs,
        rounds: run.rounds,
        stormEveryMs: STORM_EVERY_MS,
        seconds: options.seconds,
        quick: options.quick,
      },
      rows,
      hostHugePages: run.hostHugePages,
      verdict: verdict(rows, run.hostHugePages),
      elapsedSeconds: Math.round(performance.now() - began) / 1000,
    };
    options.progress(1, "done");
    return { report, failures: run.failures() };
  } finally {
    await run?.close();
    await scratch.close();
  }
}

class BenchRun {
  readonly rows = CONFIGURATIONS.map((configuration) => new RowInProgress(configuration, REQUEST_BYTES));
  hostHugePages: Maybe<HostHuge> = NO_TIME;
  rounds = 0;
  /** Messages of failures, with the rows they occurred in. */
  readonly #failures = new Map<string, string[]>();
  readonly #workers = new Map<RowInProgress, BenchWorker>();
  readonly #extra = new Set<BenchWorker>();
  readonly #options: Options;
  readonly #sizes: Sizes;
  readonly #target: Target;
  readonly #noSwap: string | null;
  readonly #began: number;
  readonly #progress: Progress;

  constructor(options: Options, sizes: Sizes, target: Target, noSwap: string | null, began: number) {
    this.#options = options;
    this.#sizes = sizes;
    this.#target = target;
    this.#noSwap = noSwap;
    this.#began = began;
    this.#progress = new Progress(sizes, options.seconds, this.rows, memoryNodes().length);
    for (const row of this.rows) this.#workers.set(row, new BenchWorker(row.configuration, target));
    // Closing on abort ends whatever a worker is doing; the next step then sees the signal.
    options.signal.addEventListener("abort", () => void this.close(), { once: true });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#workers.values(), ...this.#extra].map((worker) => worker.close()));
  }

  /** The failures, a line each. */
  failures(): readonly string[] {
    return [...this.#failures].map(([reason, where]) => `${where.join("; ")}: ${reason}`);
  }

  /** Runs first what is done once, then rounds for the remaining time. */
  async all(): Promise<void> {
    for (const row of this.rows) await this.#losses(row);
    for (const row of this.rows) await this.#rest(row);
    for (const row of this.rows) await this.#spawn(row);
    await this.#hostHugePages();
    for (const row of this.rows) await this.#revalidation(row);
    for (const row of this.rows) await this.#migration(row);
    let nextMs = 0;
    while (this.rounds < this.#sizes.maxRounds) {
      const began = performance.now();
      const fits = began - this.#began + nextMs < this.#options.seconds * 1000;
      if (this.rounds >= this.#sizes.minRounds && !fits) break;
      await this.#round();
      // The first round takes about twice as long, because it warms up.
      nextMs = (performance.now() - began) * (this.rounds === 0 ? 0.5 : 1);
      this.rounds++;
    }
  }

  /** Reports progress; throws if the run was aborted, and returns false if no time is left for another step. */
  #step(doing: string): boolean {
    this.#options.signal.throwIfAborted();
    const elapsedMs = performance.now() - this.#began;
    this.#options.progress(this.#progress.step(elapsedMs), doing);
    return this.#leftMs() > 1000;
  }

  #leftMs(): number {
    return this.#sizes.lastSecond * 1000 - (performance.now() - this.#began);
  }

  /** True while there is time for what is done once: the rest is reserved for loads. */
  #hasShareLeft(): boolean {
    return performance.now() - this.#began < this.#sizes.onceShare * this.#options.seconds * 1000;
  }

  /** Runs a task in a row's process; returns its result, or the reason why there is none. */
  async #task<T extends Task>(row: RowInProgress, what: string, task: T): Promise<Maybe<WorkerAnswer<T>>> {
    if (!this.#step(what)) return NO_TIME;
    try {
      return await this.#workers.get(row)!.run(task, this.#leftMs());
    } catch (error) {
      return this.#notDone(row, what, error);
    }
  }

  /** Records why a part of a row wasn't done: it's not available, or it failed. An abort is rethrown. */
  #notDone({ configuration }: RowInProgress, what: string, error: unknown): { skipped: string } {
    if (!isUnavailable(error)) return this.#failed(`${configuration.name}, ${what}`, error);
    this.#options.signal.throwIfAborted();
    return { skipped: (error as Error).message };
  }

  #failed(where: string, error: unknown): { skipped: string } {
    this.#options.signal.throwIfAborted();
    const skipped = error instanceof Error ? error.message : String(error);
    this.#failures.set(skipped, [...(this.#failures.get(skipped) ?? []), where]);
    return { skipped };
  }

  async #losses(row: RowInProgress): Promise<void> {
    if (row.configuration.reads.by === "node:fs") return;
    const found = await this.#task(row, "lost reads", { kind: "losses", noSwap: this.#noSwap });
    row.lostAfterDiscard = isSkipped(found) ? found : found.afterDiscard;
    row.lostAfterReclaim = isSkipped(found) ? found : found.afterReclaim;
  }

  async #rest(row: RowInProgress): Promise<void> {
    const { reads } = row.configuration;
    if (reads.by === "node:fs") return;
    // Only with leases is it worth waiting for the limit of their residency.
    const ms = reads.pin === "lease" ? this.#sizes.restMs : Math.min(200, this.#sizes.restMs);
    row.rest = await this.#task(row, "pins at rest", { kind: "rest", ms, afterMs: REST_AFTER_MS });
  }

  async #revalidation(row: RowInProgress): Promise<void> {
    const { reads } = row.configuration;
    if (reads.by === "node:fs" || reads.scheme !== "io_uring" || !this.#hasShareLeft()) return;
    const { revalidationPairs: pairs, revalidationRounds: rounds, revalidationSliceMs: sliceMs } = this.#sizes;
    row.revalidation = await this.#task(row, "leases taken again", { kind: "revalidation", pairs, rounds, sliceMs });
  }

  async #migration(row: RowInProgress): Promise<void> {
    if (row.configuration.reads.by === "node:fs") return;
    const nodes = memoryNodes();
    if (nodes.length < 2) row.migration = { skipped: "one NUMA node: pages have nowhere to migrate to" };
    else if (this.#hasShareLeft())
      row.migration = await this.#task(row, "migration", { kind: "migration", ms: this.#sizes.migrationMs, nodes });
  }

  /** Times child processes, in a new process: memory that was freed in the row's own would still count. */
  async #spawn(row: RowInProgress): Promise<void> {
    const { reads } = row.configuration;
    if (reads.by === "node:fs" && reads.direct) return;
    if (!this.#hasShareLeft() || !this.#step("starting child processes")) return;
    const PIECE_BYTES = 64 * MIB;
    const roomBytes = Math.floor(availableMemoryBytes() / 4 / PIECE_BYTES) * PIECE_BYTES;
    const bytes = Math.min(this.#sizes.spawnBytes, roomBytes);
    if (bytes === 0) {
      row.spawn = { skipped: "there is too little free memory" };
      return;
    }
    const worker = new BenchWorker(row.configuration, this.#target);
    this.#extra.add(worker);
    try {
      row.spawn = await worker.run({ kind: "spawn", bytes, times: this.#sizes.spawnTimes }, this.#leftMs());
    } catch (error) {
      row.spawn = this.#notDone(row, "spawn", error);
    } finally {
      await worker.close();
      this.#extra.delete(worker);
    }
  }

  async #hostHugePages(): Promise<void> {
    this.#options.signal.throwIfAborted();
    this.hostHugePages = await hostHugePages({
      target: this.#target,
      quick: this.#options.quick,
      signal: this.#options.signal,
      step: () => this.#step("huge pages of the host") && this.#hasShareLeft(),
      leftMs: () => this.#leftMs(),
      failed: (where, error) => this.#failed(where, error),
    });
  }

  /** Runs each load for each configuration, in an order that rotates from round to round. */
  async #round(): Promise<void> {
    const first = this.rounds % this.rows.length;
    const inTurn = [...this.rows.slice(first), ...this.rows.slice(0, first)];
    for (const load of LOADS) {
      for (const row of inTurn) if (row.wants(load)) await this.#slice(row, load);
    }
  }

  async #slice(row: RowInProgress, load: LoadName): Promise<void> {
    if (!this.#step(load === "storm4KiB" ? "reads under a storm" : "reads")) return;
    const { warmMs, firstWarmMs, sliceMs } = this.#sizes;
    const trace = row.configuration === LEASE ? this.#options.trace : null;
    const storm = load === "storm4KiB" ? { everyMs: STORM_EVERY_MS, noSwap: this.#noSwap, trace } : null;
    // A storm needs time for several operations of each kind.
    const ms = storm === null ? sliceMs : 2 * sliceMs;
    const task: LoadTask = { kind: "load", requestBytes: REQUEST_BYTES[load], warmMs, firstWarmMs, ms, storm };
    try {
      row.add(load, await this.#workers.get(row)!.run(task, this.#leftMs()));
    } catch (error) {
      row.skip(load, this.#notDone(row, load, error).skipped);
    }
  }
}
