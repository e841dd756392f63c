/** A whole what-if: every design at every point of the sweep. */

import { COSTS } from "./costs.js";
import { DESIGNS } from "./designs.js";
import type { Point, Study } from "./plan.js";
import { simulateDesign } from "./run-design.js";
import type { Figures } from "./what-if-figures.js";

export const WHAT_IF_FORMAT = "pinless-what-if-1";

/** What the model does not model: part of every report. */
export const NOT_MODELLED = [
  "time is elementary steps that were measured on one machine (Linux 6.18, x86-64, 2 cores), added up; caches, TLBs, locks and interrupts have no cost of their own",
  "memory is areas of 2 MiB that say how many pages of each kind they hold; whose page is met is drawn; the free lists' and the LRU's order isn't there",
  "the kernel's threads have processors of their own and do one operation at a time (compaction and reclaim: a thread for each node), and a refused one isn't tried again",
  "aio and direct take the processor time that the engine's schemes take, all of it on the thread that submits (direct's is libuv's pool)",
  "NUMA nodes have no distance: moving a page costs, and gains nothing; nor does a huge page's smaller TLB footprint",
  "compaction never gives up; huge pages that can be had are those of one pass of its two scanners",
  "swap is as fast as the device; a range is swapped and comes back as a whole",
  "pinless gives leases back for its own clocks, its budget and announced operations only: not yet for pressure on memory, as the engine does",
  "pinless's leases are of 2 MiB and 512 MiB at most, and beyond that the least recently used one goes, one a millisecond: the engine has larger ones in large arenas, up to 8 GiB, takes and evicts one beyond the budget only where that pays, and lets a chunk rest that was leased for max",
  "the proposal was never written for io_uring as it is today: what its checks and lookups cost is assumed, and says so",
  "starting a child waits for no I/O, and the child calls exec before the parent stores again: later copies on write aren't there",
] as const;

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
  /** Bytes of this machine that the largest of the simulated ones took. */
  readonly simulatedInBytes: number;
  readonly notModelled: readonly string[];
  readonly costs: typeof COSTS;
}

export interface StudyOptions {
  readonly engine: string;
  readonly seed: number;
  /** Asked between two runs; true: no more. */
  stopped?(): boolean;
  progress?(done: number, of: number): void;
  /** Gives the caller's event loop a turn, between two runs. */
  turn?(): Promise<void>;
}

/** Null: it was stopped. */
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
