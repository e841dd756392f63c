/** Types of the report's JSON, and of the messages between the processes of a run. Units are in the names. */

/** Reason why a figure is missing. */
export interface Skipped {
  readonly skipped: string;
}

export type Maybe<T> = T | Skipped;

export function isSkipped(value: unknown): value is Skipped {
  return typeof value === "object" && value !== null && "skipped" in value;
}

/** Latencies of the sampled requests in all rounds. */
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
  /** Sampled requests that were verified, and those of them whose data was missing. */
  readonly readsChecked: number;
  readonly readsLost: number;
  /** Over all slices of this kind so far. */
  readonly latency: LatencyFigures;
  readonly storm: StormFigures | null;
  /** Over all storms so far. */
  readonly waits: WaitFigures | null;
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

export interface BenchOperationFigures {
  readonly operations: number;
  readonly pagesAsked: number;
  readonly pagesDone: number;
  readonly pagesRefused: number;
  readonly waitP50Ms: number;
  readonly waitP99Ms: number;
  readonly waitMaxMs: number;
}

/** Waits of memory operations of all kinds for I/O. */
export interface WaitFigures {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Buckets in ascending order, each without what is in those before it. The last one has no bound: null. */
  readonly buckets: readonly { readonly belowMs: number | null; readonly count: number }[];
}

/** Operations over all slices so far, by kind. */
export type StormFigures = Readonly<Record<StormOperation, Maybe<BenchOperationFigures>>>;

export interface StormSummary extends LoadSummary {
  /** Throughput as a fraction of that without a storm. */
  readonly throughputKept: number;
  readonly operations: StormFigures;
  readonly waits: WaitFigures;
}

/** Blocks of 4 KiB read into memory, and those of them that weren't there afterwards. */
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
  /** Pinned bytes `afterMs` after the last request. */
  readonly pinnedBytesAtRest: number;
  readonly afterMs: number;
  /** Longest life of a registration; null means for ever. */
  readonly residencyMaxMs: number | null;
}

export interface SpawnFigures {
  readonly bufferBytes: number;
  readonly pinnedBytes: number;
  readonly medianMs: number;
  readonly samplesMs: readonly number[];
  readonly degraded: readonly string[];
}

/** Cost of re-validation: figures with invalidations of the memory in use, less those with invalidations elsewhere. */
export interface RevalidationFigures {
  /** Invalidations of the memory in use, one at a time. */
  readonly invalidations: number;
  /** Leases taken because of them. */
  readonly leasesTaken: number;
  /** Added time of the reads after one: the difference of the medians, or 0 within their noise. */
  readonly usPerInvalidation: number;
  /** The same for each lease taken; null if none was. */
  readonly usPerLease: number | null;
  /** Reads not done because of one, with `IN_FLIGHT` in flight all the time; 0 within the noise. */
  readonly requestsFewerPerInvalidation: number;
  /** /proc/vmstat pgmigrate_success of the whole host, during these invalidations and during those elsewhere. */
  readonly hostPagesMigrated: number;
  readonly hostPagesMigratedElsewhere: number;
}

/** Pages to be migrated to another NUMA node while reads are in flight. */
export interface MigrationFigures extends BenchOperationFigures {
  readonly nodes: readonly number[];
}

/** Huge pages that the host could still get while buffers lay scattered over its memory (harms/host-huge-pages.ts). */
export interface HostHugeRow {
  readonly name: string;
  readonly label: string;
  readonly note: string;
  readonly figures: Maybe<HostHugeFigures>;
}

export interface HostHugeFigures {
  /** Pin mode that really ran; null without an engine. */
  readonly pin: string | null;
  readonly bufferBytes: number;
  readonly pinnedBytes: number;
  /** Areas of 2 MiB that contained buffers before and after the attempt: the kernel moves what it can. */
  readonly blocksBefore: number;
  readonly blocksAfter: number;
  readonly hugePagesAsked: number;
  readonly hugePagesGot: number;
  readonly missingBytes: number;
  readonly elapsedMs: number;
  /** Durations of requests for `stepPages` huge pages each. */
  readonly stepPages: number;
  readonly stepP50Ms: number;
  readonly stepMaxMs: number;
  /** Counters in /proc/vmstat of the whole host during that time. */
  readonly compactStalls: number;
  readonly compactFails: number;
  readonly hostPagesMigrated: number;
}

export interface HostHuge {
  /** Piece of memory over which the buffers are scattered. */
  readonly regionBytes: number;
  readonly rows: readonly HostHugeRow[];
}

/** The configuration that really ran, whatever was requested. */
export interface Ran {
  readonly scheme: string;
  readonly pin: string;
  /** True for O_DIRECT. */
  readonly direct: boolean;
  readonly kernel: string;
  readonly filesystem: string;
  /** Fraction of the requests that used a registration. */
  readonly registeredShare: number;
  /** Fraction of the arena that was in huge pages when it was made; null without an arena. */
  readonly hugeShare: number | null;
  readonly degraded: readonly string[];
}

export interface Row {
  readonly name: string;
  readonly label: string;
  readonly note: string;
  /** Requested scheme; null for node:fs. */
  readonly scheme: string | null;
  readonly pin: string | null;
  readonly pages: string | null;
  readonly ran: Maybe<Ran>;
  readonly read4KiB: Maybe<LoadSummary>;
  readonly read128KiB: Maybe<LoadSummary>;
  readonly storm4KiB: Maybe<StormSummary>;
  readonly lostAfterDiscard: Maybe<LossFigures>;
  readonly lostAfterReclaim: Maybe<LossFigures>;
  readonly rest: Maybe<RestFigures>;
  readonly spawn: Maybe<SpawnFigures>;
  readonly revalidation: Maybe<RevalidationFigures>;
  readonly migration: Maybe<MigrationFigures>;
}

export interface MachineFacts {
  readonly kernel: string;
  readonly arch: string;
  readonly node: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly memoryAvailableBytes: number;
  readonly user: number;
  /** Bytes that this user may pin; null if unlimited. */
  readonly memlockBytes: number | null;
  readonly ioUringDisabled: number | null;
  readonly hugePages: string | null;
  readonly numaNodes: number;
  readonly swap: "active" | "temporary" | "none";
  /** Reason why there is no swap. */
  readonly swapReason: string | null;
}

/** Version of the report's format. */
export const FORMAT = 2;

export interface Report {
  readonly pinless: string;
  readonly format: typeof FORMAT;
  readonly machine: MachineFacts;
  readonly settings: {
    readonly file: string;
    readonly fileBytes: number;
    readonly filesystem: string;
    readonly inFlight: number;
    readonly sliceMs: number;
    readonly rounds: number;
    readonly stormEveryMs: number;
    readonly seconds: number;
    readonly quick: boolean;
  };
  readonly rows: readonly Row[];
  readonly hostHugePages: Maybe<HostHuge>;
  readonly verdict: readonly string[];
  readonly elapsedSeconds: number;
}
