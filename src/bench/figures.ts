/** What is measured: the shape of the JSON, and of what the processes of a run tell each other. Units are in the names. */

/** Why a figure isn't there. */
export interface Skipped {
  readonly skipped: string;
}

export type Maybe<T> = T | Skipped;

export function isSkipped(value: unknown): value is Skipped {
  return typeof value === "object" && value !== null && "skipped" in value;
}

/** Of every sampled request in all rounds. */
export interface LatencyFigures {
  readonly samples: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
}

/** One slice of a load. */
export interface LoadFigures {
  readonly requests: number;
  readonly elapsedMs: number;
  readonly cpuUs: number;
  /** Sampled requests whose data was looked at, and those of them whose data hadn't arrived. */
  readonly readsChecked: number;
  readonly readsLost: number;
  /** So far, over all slices of this kind. */
  readonly latency: LatencyFigures;
  readonly storm: StormFigures | null;
  readonly ran: Ran;
}

/** A load over all its rounds: medians of the slices, sums of the counts. */
export interface LoadSummary {
  readonly requestsPerSecond: number;
  readonly mibPerSecond: number;
  readonly cpuUsPerRequest: number;
  readonly latency: LatencyFigures;
  readonly requests: number;
  readonly readsChecked: number;
  readonly readsLost: number;
  readonly roundsRequestsPerSecond: readonly number[];
}

export const STORM_OPERATIONS = ["discard", "pageOut", "collapse"] as const;
export type StormOperation = (typeof STORM_OPERATIONS)[number];

export interface OperationFigures {
  readonly operations: number;
  readonly pagesAsked: number;
  readonly pagesDone: number;
  readonly pagesRefused: number;
  readonly waitP50Ms: number;
  readonly waitP99Ms: number;
  readonly waitMaxMs: number;
}

/** So far, over all slices. */
export type StormFigures = Readonly<Record<StormOperation, Maybe<OperationFigures>>>;

export interface StormSummary extends LoadSummary {
  /** Of the throughput without a storm. */
  readonly throughputKept: number;
  readonly operations: StormFigures;
}

/** Blocks of 4 KiB read into memory, and how many of them weren't there afterwards. */
export interface LossFigures {
  readonly blocksRead: number;
  readonly blocksLost: number;
  readonly bytesLost: number;
}

export interface LossesFigures {
  readonly afterDiscard: Maybe<LossFigures>;
  readonly afterReclaim: Maybe<LossFigures>;
}

export interface RestFigures {
  readonly pinnedBytesUnderLoad: number;
  /** `afterMs` after the last request. */
  readonly pinnedBytesAtRest: number;
  readonly afterMs: number;
  /** The longest that one registration lasted; null: for ever. */
  readonly residencyMaxMs: number | null;
}

export interface SpawnFigures {
  readonly bufferBytes: number;
  readonly pinnedBytes: number;
  readonly medianMs: number;
  readonly samplesMs: readonly number[];
  readonly degraded: readonly string[];
}

/** What really ran, whatever was asked for. */
export interface Ran {
  readonly scheme: string;
  readonly pin: string;
  /** Around the page cache. */
  readonly direct: boolean;
  readonly kernel: string;
  readonly filesystem: string;
  /** Share of the requests that went by a registration. */
  readonly registeredShare: number;
  readonly degraded: readonly string[];
}

export interface Row {
  readonly name: string;
  readonly label: string;
  readonly note: string;
  /** What was asked for; null: node:fs. */
  readonly pin: string | null;
  readonly ran: Maybe<Ran>;
  readonly read4KiB: Maybe<LoadSummary>;
  readonly read128KiB: Maybe<LoadSummary>;
  readonly storm4KiB: Maybe<StormSummary>;
  readonly lostAfterDiscard: Maybe<LossFigures>;
  readonly lostAfterReclaim: Maybe<LossFigures>;
  readonly rest: Maybe<RestFigures>;
  readonly spawn: Maybe<SpawnFigures>;
}

export interface Machine {
  readonly kernel: string;
  readonly arch: string;
  readonly node: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly memoryAvailableBytes: number;
  readonly user: number;
  /** What this user may pin; null: as much as there is. */
  readonly memlockBytes: number | null;
  readonly ioUringDisabled: number | null;
  readonly hugePages: string | null;
  readonly numaNodes: number;
  readonly swap: "active" | "temporary" | "none";
  /** Why there is no swap. */
  readonly swapReason: string | null;
}

export interface Report {
  readonly pinless: string;
  readonly machine: Machine;
  readonly settings: {
    readonly file: string;
    readonly fileBytes: number;
    readonly filesystem: string;
    readonly inFlight: number;
    readonly sliceMs: number;
    readonly rounds: number;
    readonly stormEveryMs: number;
    readonly seconds: number;
  };
  readonly rows: readonly Row[];
  readonly verdict: readonly string[];
  readonly elapsedSeconds: number;
}
