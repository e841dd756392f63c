/** Runs a whole what-if: every design at every point of the sweep. */

import { COSTS } from "./costs.js";
import { DESIGNS } from "./designs.js";
import type { Point, Study } from "./plan.js";
import { simulateDesign } from "./run-design.js";
import type { Figures } from "./what-if-figures.js";

export const WHAT_IF_FORMAT = "pinless-what-if-1";

/** Limits of the model, part of every report. */
export const NOT_MODELLED: readonly string[] = [
  "time is the sum of elementary steps that were measured on one machine (Linux 6.18, x86-64, 2 cores); caches, " +
    "TLBs, locks and interrupts have no cost of their own",
  "memory is areas of 2 MiB with a number of pages of each kind; the page that an operation meets is drawn; free " +
    "lists and the LRU have no order",
  "the kernel's threads have processors of their own and do one operation at a time (compaction and reclaim: a " +
    "thread for each node); a refused operation isn't retried",
  "aio and direct take the processor time of the engine's schemes, all of it on the submitting thread (direct " +
    "uses libuv's pool)",
  "NUMA nodes have no distance: moving a page costs time and gains nothing; nor does a huge page's smaller TLB " +
    "footprint",
  "compaction never gives up; the huge pages that could be had are those of one pass of its two scanners",
  "swap is as fast as the device; a range is swapped out and in as a whole",
  "pinless gives leases back because of its clocks, its budget and announced operations; the engine also does " +
    "when memory is short",
  "pinless's leases are of 2 MiB, 512 MiB at most, and beyond that it evicts the least recently used one, at most " +
    "one every millisecond; the engine's are larger in large arenas, 8 GiB at most, are taken and evicted beyond " +
    "the budget only if that pays, and a chunk that was leased for max isn't leased again at once",
  "the proposal was never written for today's io_uring: the costs of its checks and lookups are assumptions, and " +
    "named so",
  "starting a child waits for no I/O, and the child calls exec before the parent stores again, so nothing is " +
    "copied on write later",
];

export interface PointReport {
  readonly values: Point["values"];
  readonly plan: Point["plan"];
  readonly designs: readonly Figures[];
}

export interface StudyReport {
  readonly format: typeof WHAT_IF_FORMAT;
  readonly engine: string;
  readonly title: string;
  readonly seed: number;
  readonly swept: readonly string[];
  readonly points: readonly PointReport[];
  /** Bytes of this computer's memory that the largest simulated machine took. */
  readonly simulatedInBytes: number;
  readonly notModelled: readonly string[];
  readonly costs: typeof COSTS;
}

export interface StudyOptions {
  readonly engine: string;
  readonly seed: number;
  /** Asked between two runs; true stops the study. */
  stopped?(): boolean;
  progress?(done: number, of: number): void;
  /** Lets the caller's event loop turn, between two runs. */
  turn?(): Promise<void>;
}

/** Returns null if it was stopped. */
export async function runStudy(study: Study, options: StudyOptions): Promise<StudyReport | null> {
  const points: PointReport[] = [];
  const runs = study.points.length * DESIGNS.length;
  let done = 0;
  for (const { values, plan } of study.points) {
    const designs: Figures[] = [];
    for (const design of DESIGNS) {
      if (options.stopped?.() === true) return null;
      designs.push(simulateDesign(plan, design, options.seed));
      options.progress?.(++done, runs);
      await options.turn?.();
    }
    points.push({ values, plan, designs });
  }
  const all = points.flatMap(({ designs }) => designs);
  return {
    format: WHAT_IF_FORMAT,
    engine: options.engine,
    title: study.title,
    seed: options.seed,
    swept: study.swept,
    points,
    simulatedInBytes: Math.max(...all.map(({ simulatedInBytes }) => simulatedInBytes)),
    notModelled: NOT_MODELLED,
    costs: COSTS,
  };
}
