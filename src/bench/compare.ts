/** The comparison: every configuration in a process of its own, their slices in turn, so that what changes on the machine changes for all. */

import { probe } from "../index.js";
import { type LoadName, RowInProgress } from "./collect.js";
import { CONFIGURATIONS } from "./configurations.js";
import type { Report } from "./figures.js";
import { availableMemoryBytes, describeMachine } from "./machine.js";
import { IN_FLIGHT } from "./meter.js";
import type { LoadTask } from "./protocol.js";
import { prepareScratch, type Scratch } from "./scratch.js";
import { verdict } from "./verdict.js";
import { Worker } from "./worker.js";

const MIB = 1 << 20;
const STORM_EVERY_MS = 10;
/** Twice what a lease is kept without I/O. */
const REST_AFTER_MS = 100;
const REQUEST_BYTES: Record<LoadName, number> = { read4KiB: 4096, read128KiB: 128 << 10, storm4KiB: 4096 };
/** However slow the machine is, nothing begins or goes on after that. */
const LAST_SECOND = 57;

export interface Options {
  /** A file to read instead of a scratch file. */
  readonly file: string | null;
  /** How long it should take; at most `MAX_SECONDS`. */
  readonly seconds: number;
  /** As short as can be: everything once, with little memory. */
  readonly quick: boolean;
  readonly version: string;
  readonly signal: AbortSignal;
  /** `part` of 1 is done. */
  progress(part: number, doing: string): void;
}

export const MAX_SECONDS = 55;
export const MIN_SECONDS = 30;
export const DEFAULT_SECONDS = 45;

interface Sizes {
  readonly fileBytes: number;
  readonly warmMs: number;
  readonly sliceMs: number;
  readonly minRounds: number;
  readonly maxRounds: number;
  readonly restMs: number;
  readonly spawnBytes: number;
  readonly spawnTimes: number;
}

const FULL: Sizes = {
  fileBytes: 256 * MIB,
  warmMs: 20,
  // Short, so that there are many rounds: what disturbs the machine for a second then disturbs all alike.
  sliceMs: 60,
  minRounds: 1,
  maxRounds: 40,
  // Longer than the second that a lease lasts at most.
  restMs: 1300,
  spawnBytes: 1024 * MIB,
  spawnTimes: 11,
};

const QUICK: Sizes = {
  fileBytes: 32 * MIB,
  warmMs: 20,
  sliceMs: 120,
  minRounds: 1,
  maxRounds: 1,
  restMs: 200,
  spawnBytes: 64 * MIB,
  spawnTimes: 1,
};

/** As the progress bar expects it. */
const QUICK_SECONDS = 8;

export interface Outcome {
  readonly report: Report;
  /** What should have run and didn't. */
  readonly failures: readonly string[];
}

/** Runs all of it. Throws `BenchError` where it can't begin, the signal's reason when it's aborted; leaves nothing behind either way. */
export async function compare(options: Options): Promise<Outcome> {
  const { signal } = options;
  const sizes = options.quick ? QUICK : FULL;
  const began = performance.now();
  options.progress(0, "a file to read");
  const { swapActive } = await probe("/");
  const scratch = await prepareScratch(options.file, sizes.fileBytes, swapActive, signal);
  const run = new Run(options, sizes, scratch, began);
  try {
    const machine = await describeMachine(scratch);
    await run.all();
    const rows = run.rows.map((row) => row.row());
    const report: Report = {
      pinless: options.version,
      machine,
      settings: {
        file: options.file ?? "scratch",
        fileBytes: scratch.target.bytes,
        filesystem: (await probe(scratch.target.path)).filesystem,
        inFlight: IN_FLIGHT,
        sliceMs: sizes.sliceMs,
        rounds: run.rounds,
        stormEveryMs: STORM_EVERY_MS,
        seconds: options.seconds,
      },
      rows,
      verdict: verdict(rows),
      elapsedSeconds: Math.round(performance.now() - began) / 1000,
    };
    options.progress(1, "done");
    return { report, failures: run.failures };
  } finally {
    await run.close();
    await scratch.close();
  }
}

class Run {
  readonly rows = CONFIGURATIONS.map((configuration) => new RowInProgress(configuration, REQUEST_BYTES));
  readonly failures: string[] = [];
  rounds = 0;
  readonly #workers = new Map<RowInProgress, Worker>();
  readonly #extra = new Set<Worker>();
  readonly #options: Options;
  readonly #sizes: Sizes;
  readonly #scratch: Scratch;
  readonly #began: number;

  constructor(options: Options, sizes: Sizes, scratch: Scratch, began: number) {
    this.#options = options;
    this.#sizes = sizes;
    this.#scratch = scratch;
    this.#began = began;
    for (const row of this.rows) this.#workers.set(row, new Worker(row.configuration, scratch.target));
    // An abort ends whatever a worker is at: the next step sees the signal.
    options.signal.addEventListener("abort", () => void this.close(), { once: true });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#workers.values(), ...this.#extra].map((worker) => worker.close()));
  }

  /** What is done once comes first: the rounds take the time that is left. */
  async all(): Promise<void> {
    for (const row of this.rows) await this.#losses(row);
    for (const row of this.rows) await this.#rest(row);
    for (const row of this.rows) await this.#spawn(row);
    let nextMs = 0;
    while (this.rounds < this.#sizes.maxRounds) {
      const began = performance.now();
      const fits = began - this.#began + nextMs < this.#options.seconds * 1000;
      if (this.rounds >= this.#sizes.minRounds && !fits) break;
      await this.#round();
      // The first one warms everything up, which is half of it.
      nextMs = (performance.now() - began) * (this.rounds === 0 ? 0.5 : 1);
      this.rounds++;
    }
  }

  /** Reports progress, and stops when it should. False: no time is left for one more step. */
  #step(doing: string): boolean {
    this.#options.signal.throwIfAborted();
    const elapsedMs = performance.now() - this.#began;
    const seconds = this.#options.quick ? QUICK_SECONDS : this.#options.seconds;
    this.#options.progress(Math.min(0.99, elapsedMs / 1000 / seconds), doing);
    return this.#leftMs() > 1000;
  }

  #leftMs(): number {
    return LAST_SECOND * 1000 - (performance.now() - this.#began);
  }

  /** What went wrong, for the row that it concerns. An abort goes on up. */
  #failed(row: RowInProgress, what: string, error: unknown): { skipped: string } {
    this.#options.signal.throwIfAborted();
    const skipped = error instanceof Error ? error.message : String(error);
    this.failures.push(`${row.configuration.name}, ${what}: ${skipped}`);
    return { skipped };
  }

  async #losses(row: RowInProgress): Promise<void> {
    if (row.configuration.reads.by === "node:fs" || !this.#step("lost reads")) return;
    try {
      const { noSwap } = this.#scratch;
      const found = await this.#workers.get(row)!.run({ kind: "losses", noSwap }, this.#leftMs());
      row.lostAfterDiscard = found.afterDiscard;
      row.lostAfterReclaim = found.afterReclaim;
    } catch (error) {
      row.lostAfterDiscard = row.lostAfterReclaim = this.#failed(row, "lost reads", error);
    }
  }

  async #rest(row: RowInProgress): Promise<void> {
    const { reads } = row.configuration;
    if (reads.by === "node:fs" || !this.#step("pins at rest")) return;
    // Only a lease's time has a bound that is worth waiting for.
    const ms = reads.pin === "lease" ? this.#sizes.restMs : Math.min(200, this.#sizes.restMs);
    const task = { kind: "rest", ms, afterMs: REST_AFTER_MS } as const;
    try {
      row.rest = await this.#workers.get(row)!.run(task, this.#leftMs());
    } catch (error) {
      row.rest = this.#failed(row, "pins at rest", error);
    }
  }

  /** In a process that has nothing else: what was freed there would still be counted. */
  async #spawn(row: RowInProgress): Promise<void> {
    const { reads } = row.configuration;
    if ((reads.by === "node:fs" && reads.direct) || !this.#step("starting child processes")) return;
    const PIECE_BYTES = 64 * MIB;
    const roomBytes = Math.floor(availableMemoryBytes() / 4 / PIECE_BYTES) * PIECE_BYTES;
    const bytes = Math.min(this.#sizes.spawnBytes, roomBytes);
    if (bytes === 0) {
      row.spawn = { skipped: "there is too little free memory" };
      return;
    }
    const worker = new Worker(row.configuration, this.#scratch.target);
    this.#extra.add(worker);
    try {
      row.spawn = await worker.run({ kind: "spawn", bytes, times: this.#sizes.spawnTimes }, this.#leftMs());
    } catch (error) {
      row.spawn = this.#failed(row, "spawn", error);
    } finally {
      await worker.close();
      this.#extra.delete(worker);
    }
  }

  /** Each load for each configuration; who comes first changes from round to round. */
  async #round(): Promise<void> {
    const first = this.rounds % this.rows.length;
    const inTurn = [...this.rows.slice(first), ...this.rows.slice(0, first)];
    for (const load of ["read4KiB", "read128KiB", "storm4KiB"] as const) {
      for (const row of inTurn) if (row.wants(load)) await this.#slice(row, load);
    }
  }

  async #slice(row: RowInProgress, load: LoadName): Promise<void> {
    if (!this.#step(load === "storm4KiB" ? "reads under a storm" : "reads")) return;
    const { warmMs, sliceMs } = this.#sizes;
    const storm = load === "storm4KiB" ? { everyMs: STORM_EVERY_MS, noSwap: this.#scratch.noSwap } : null;
    // A storm needs the time for several operations of each kind.
    const ms = storm === null ? sliceMs : 2 * sliceMs;
    const task: LoadTask = { kind: "load", requestBytes: REQUEST_BYTES[load], warmMs, ms, storm };
    try {
      row.add(load, await this.#workers.get(row)!.run(task, this.#leftMs()));
    } catch (error) {
      row.skip(load, this.#failed(row, load, error).skipped);
    }
  }
}
