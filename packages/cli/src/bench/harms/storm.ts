/** A storm of memory operations on the arena that a load reads into. */

import { setTimeout as sleep } from "node:timers/promises";
import type { Arena, OperationReport } from "pinless";
import {
  type BenchOperationFigures,
  type Maybe,
  STORM_OPERATIONS,
  type StormFigures,
  type StormOperation,
} from "../report-schema.js";
import { WaitDistribution } from "./waits.js";

/** Reason when swap made by others disappears during the run. */
const SWAP_GONE = "the swap was switched off meanwhile";

export function isNoSwap(error: unknown): boolean {
  return (error as { code?: unknown }).code === "ERR_PINLESS_NO_SWAP";
}

function isNoHugePages(error: unknown): boolean {
  return (error as { code?: unknown }).code === "ERR_PINLESS_NO_HUGE_PAGES";
}

/** Figures of one kind of operation. */
export class OperationCounts {
  /** Reason why there are no more of them, or null. */
  gone: string | null = null;
  operations = 0;
  pagesAsked = 0;
  pagesDone = 0;
  pagesRefused = 0;
  readonly waits = new WaitDistribution();

  add(report: OperationReport): void {
    this.operations++;
    this.pagesAsked += report.pages;
    this.pagesDone += report.done;
    this.pagesRefused += report.busy;
    this.waits.add(report.waited);
  }

  figures(): Maybe<BenchOperationFigures> {
    if (this.operations === 0) return { skipped: this.gone ?? "there was no time for one" };
    const { operations, pagesAsked, pagesDone, pagesRefused } = this;
    const { p50Ms, p99Ms, maxMs } = this.waits.figures();
    return { operations, pagesAsked, pagesDone, pagesRefused, waitP50Ms: p50Ms, waitP99Ms: p99Ms, waitMaxMs: maxMs };
  }
}

export type StormTallies = Readonly<Record<StormOperation, OperationCounts>> & { readonly waits: WaitDistribution };

export function newTallies(): StormTallies {
  return {
    discard: new OperationCounts(),
    pageOut: new OperationCounts(),
    collapse: new OperationCounts(),
    waits: new WaitDistribution(),
  };
}

export function stormFigures(tallies: StormTallies, noSwap: string | null): StormFigures {
  return {
    discard: tallies.discard.figures(),
    pageOut: noSwap === null ? tallies.pageOut.figures() : { skipped: noSwap },
    collapse: tallies.collapse.figures(),
  };
}

/**
 * Runs an operation every `everyMs` until `stop()` is called. A quarter of the chunks is discarded, and only the others
 * are paged out and collapsed: a discard takes the pages away from a lifetime registration, so that later operations
 * would find nothing pinned.
 */
export function startStorm(
  arena: Arena,
  chunks: readonly Uint8Array[],
  everyMs: number,
  noSwap: string | null,
  tallies: StormTallies,
): { stop(): Promise<void> } {
  const kept = Math.floor((chunks.length * 3) / 4);
  const kinds = STORM_OPERATIONS.filter((kind) => kind !== "pageOut" || noSwap === null);
  let stopped = false;
  const blow = async (): Promise<void> => {
    for (let n = 0; !stopped; n++) {
      const began = performance.now();
      const kind = kinds[n % kinds.length]!;
      // Continues where the last slice ended.
      const turn = tallies[kind].operations;
      const chunk = chunks[kind === "discard" ? kept + (turn % (chunks.length - kept)) : turn % kept]!;
      try {
        const report = await arena[kind](chunk);
        tallies[kind].add(report);
        tallies.waits.add(report.waited);
      } catch (error) {
        if (!isNoSwap(error) && !isNoHugePages(error)) throw error;
        kinds.splice(kinds.indexOf(kind), 1);
        tallies[kind].gone = isNoSwap(error) ? SWAP_GONE : (error as Error).message;
      }
      await sleep(Math.max(0, everyMs - (performance.now() - began)));
    }
  };
  const over = blow();
  // `stop()` reports a failure; this avoids an unhandledRejection until then.
  over.catch(() => {});
  return {
    stop() {
      stopped = true;
      return over;
    },
  };
}
