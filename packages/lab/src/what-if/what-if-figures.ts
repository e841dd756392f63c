/** What one design came to at one point of a what-if. */

import type { HugePages } from "./blocks.js";
import type { DesignName } from "./designs.js";
import type { Rated } from "./event-rates.js";
import type { Quantile } from "./latency-histogram.js";

export interface OperationFigures {
  /** Begun; of these, done, and refused for pins or I/O in flight. The others found nothing to do. */
  readonly asked: number;
  readonly done: number;
  readonly refused: number;
  readonly pagesRefused: number;
}

export interface Figures {
  readonly design: DesignName;
  /** How it holds, or doesn't hold, its pages with this scheme. */
  readonly how: string;
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly mibPerSecond: number;
  readonly latency: Quantile;
  readonly cpuUsPerRequest: number;
  /** Of the threads' processors. */
  readonly cpuShare: number;
  /** Before the first request. */
  readonly startMs: number;
  readonly operations: Readonly<Partial<Record<Rated, OperationFigures>>>;
  /** How long operations waited for I/O, or for another operation. */
  readonly blocked: Quantile;
  /** How long starting a child took. */
  readonly fork: Quantile;
  readonly pinnedPages: { readonly mean: number; readonly most: number; readonly atRest: number };
  readonly hugePages: { readonly underLoad: HugePages; readonly atRest: HugePages };
  readonly revalidations: number;
  readonly revalidationUs: number;
  readonly leases: { readonly taken: number; readonly givenBack: number; readonly us: number };
  readonly filtered: number;
  /** How long device writes, or their data's copies, waited for a range that was under writeback. */
  readonly writebackWaits: Quantile;
  readonly readsLost: number;
  readonly unsafeWrites: number;
  readonly swappedIn: number;
  /** Of the machine that simulates. */
  readonly simulatedInBytes: number;
}
