/** Figures of one design at one point of a what-if. */

import type { HugePages } from "./blocks.js";
import type { DesignName } from "./designs.js";
import type { Rated } from "./event-rates.js";
import type { Quantile } from "./latency-histogram.js";

export interface OperationFigures {
  /**
   * Operations begun, and how many of them were done, or refused for pins or I/O in flight. The others had nothing to
   * do.
   */
  readonly asked: number;
  readonly done: number;
  readonly refused: number;
  readonly pagesRefused: number;
}

export interface Figures {
  readonly design: DesignName;
  /** Kind of page references that the design has with this scheme. */
  readonly how: string;
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly mibPerSecond: number;
  readonly latency: Quantile;
  readonly cpuUsPerRequest: number;
  /** Share of the threads' processor time that was used. */
  readonly cpuShare: number;
  /** Time before the first request. */
  readonly startMs: number;
  readonly operations: Readonly<Partial<Record<Rated, OperationFigures>>>;
  /** Waiting times of operations, for I/O or for another operation. */
  readonly blocked: Quantile;
  /** Times to start a child process. */
  readonly fork: Quantile;
  readonly pinnedPages: { readonly mean: number; readonly most: number; readonly atRest: number };
  readonly hugePages: { readonly underLoad: HugePages; readonly atRest: HugePages };
  readonly revalidations: number;
  readonly revalidationUs: number;
  readonly leases: { readonly taken: number; readonly givenBack: number; readonly us: number };
  readonly filtered: number;
  /** Waiting times of device writes, or of the copying of their data, for a range under writeback. */
  readonly writebackWaits: Quantile;
  readonly readsLost: number;
  readonly unsafeWrites: number;
  readonly swappedIn: number;
  /** Memory of this computer that the simulated machine took. */
  readonly simulatedInBytes: number;
}
